//! What a conversation's log leaves open: the turn that goes on, and what the last one carries over.

use super::{
    Action, Carry, Claim, Entry, Journal, Loaded, Outcome, RECORD_VERSION, Record, SilenceReason,
    Stored,
};
use crate::{Result, Timestamp, TurnId};

/// How many records are read at once while a carry is looked for.
const PAGE: u64 = 64;

/// What is open at the end of a log.
pub(super) enum Open {
    /// Nothing.
    None,
    /// A turn, with its records.
    Turn(Vec<Record>),
    /// A turn that cannot be read any more. Its id, if any of its records can.
    Forgotten(Option<TurnId>),
}

/// Returns the turn that is open, if one is.
pub(super) fn turn(loaded: &Loaded) -> Open {
    let records = &loaded.records;
    // A log is loaded from its last checkpoint on, which is the end of a turn even where it cannot be read any more;
    // only a first turn begins with the log.
    let from = match records.iter().rposition(|stored| carried(stored).is_some()) {
        Some(end) => end + 1,
        None => usize::from(records.first().is_some_and(|first| first.index > 0)),
    };
    let open = &records[from..];
    if open.is_empty() {
        return Open::None;
    }
    let whole: Option<Vec<Record>> = open.iter().map(|stored| stored.record.clone()).collect();
    whole.map_or_else(
        || {
            let mut readable = open.iter().filter_map(|stored| stored.record.as_ref());
            Open::Forgotten(readable.next().map(|record| record.turn))
        },
        Open::Turn,
    )
}

/// Returns what the last turn carries over, or the last one that can still be read.
pub(super) async fn carry(journal: &dyn Journal, claim: &Claim, loaded: &Loaded) -> Result<Carry> {
    if let Some(carry) = loaded.records.iter().rev().find_map(carried) {
        return Ok(carry.clone());
    }
    let mut to = loaded.records.first().map_or(0, |first| first.index);
    while to > 0 {
        let from = to.saturating_sub(PAGE);
        let page = journal
            .read(claim.tenant, claim.conversation, from..to)
            .await?;
        if let Some(carry) = page.iter().rev().find_map(carried) {
            return Ok(carry.clone());
        }
        to = from;
    }
    Ok(Carry::default())
}

fn carried(stored: &Stored) -> Option<&Carry> {
    match &stored.record.as_ref()?.entry {
        Entry::Action(Action::Finish { carry, .. }) => Some(carry),
        _ => None,
    }
}

/// Makes the record that ends a turn which cannot be read any more.
pub(super) fn forgotten(turn: Option<TurnId>, at: Timestamp, carry: Carry) -> Record {
    Record {
        v: RECORD_VERSION,
        turn: turn.unwrap_or_else(TurnId::new),
        at,
        persons: carry.persons.clone(),
        entry: Entry::Action(Action::Finish {
            outcome: Outcome::Silent {
                reason: SilenceReason::Forgotten,
            },
            carry,
        }),
    }
}
