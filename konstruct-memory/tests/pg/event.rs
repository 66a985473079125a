//! Test records.

use std::collections::BTreeSet;

use konstruct_core::{
    Timestamp, TurnId,
    turn::{Cause, Entry, Event, RECORD_VERSION, Record},
};

/// Returns a record that is a message.
pub(crate) fn record(text: &str) -> Record {
    Record {
        v: RECORD_VERSION,
        turn: TurnId::from_bytes([7; 16]),
        at: Timestamp::from_secs(1_767_225_600),
        cause: Cause::Vendor,
        persons: BTreeSet::new(),
        entry: Entry::Event(Event::ToolReturned {
            id: "call".into(),
            content: text.into(),
            error: false,
        }),
    }
}
