//! Test records.

use konstruct_core::{
    Timestamp, TurnId,
    turn::{Cause, Entry, Event, Record},
};

/// Returns a record that is a message.
pub(crate) fn record(text: &str) -> Record {
    Record::new(
        TurnId::from_bytes([7; 16]),
        Timestamp::from_secs(1_767_225_600),
        Cause::Vendor,
        Entry::Event(Event::ToolReturned {
            id: "call".into(),
            content: text.into(),
            error: false,
        }),
    )
}
