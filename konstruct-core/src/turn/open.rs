//! Finds the open turn at the end of a conversation's log.

use super::{
    Action, Cause, Entry, FallbackReason, ItemId, ItemKind, OpenItem, Outcome, RECORD_VERSION,
    Record, SilenceReason,
};
use crate::{
    Timestamp, TurnId,
    store::{Loaded, Stored},
};

/// What is open at the end of a log.
pub(super) enum Open {
    /// No turn is open.
    None,
    /// A turn with its records.
    Turn(Vec<Record>),
    /// A turn with records that can no longer be read, and its id if at least one record can.
    Unreadable(Option<TurnId>),
}

/// Returns the open turn, if there is one.
pub(super) fn turn(loaded: &Loaded) -> Open {
    let records = &loaded.records;
    // A log is loaded from its last checkpoint, which is the end of a turn even if it can no longer be read. Only a first turn
    // begins at index 0.
    let from = match records.iter().rposition(finishes) {
        Some(end) => end + 1,
        None => usize::from(records.first().is_some_and(|first| first.index > 0)),
    };
    let open = &records[from..];
    if open.is_empty() {
        return Open::None;
    }
    let whole: Option<Vec<Record>> = open
        .iter()
        .map(|stored| stored.record.as_deref().cloned())
        .collect();
    whole.map_or_else(
        || {
            let mut readable = open.iter().filter_map(|stored| stored.record.as_ref());
            Open::Unreadable(readable.next().map(|record| record.turn))
        },
        Open::Turn,
    )
}

fn finishes(stored: &Stored) -> bool {
    let entry = stored.record.as_ref().map(|record| &record.entry);
    matches!(entry, Some(Entry::Action(Action::Finish { .. })))
}

/// Returns the records that end a turn without an answer, and an open item if a person must look at it.
pub(super) fn closing_records(
    turn: TurnId,
    at: Timestamp,
    reason: SilenceReason,
    record: u64,
) -> (Vec<Record>, Option<OpenItem>) {
    let by_rule = |entry| Record {
        v: RECORD_VERSION,
        turn,
        at,
        cause: Cause::Rule,
        persons: Default::default(),
        entry: Entry::Action(entry),
    };
    let item = (reason == SilenceReason::Broken).then(|| OpenItem {
        id: ItemId::of(turn, 1),
        kind: ItemKind::Question {
            reason: FallbackReason::Broken,
        },
        turn,
        record,
        opened_at: at,
        tries: 0,
        retry_at: None,
        expires_at: None,
        private: false,
    });
    let opened = item.clone().map(Action::Open).map(by_rule);
    let finish = by_rule(Action::Finish {
        outcome: Outcome::Silent { reason },
    });
    (opened.into_iter().chain([finish]).collect(), item)
}
