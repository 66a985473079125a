//! Events and records to write.

use std::collections::BTreeSet;

use konstruct_core::{
    AccountId, Actor, Body, ChannelKind, ConnectionId, Content, ConversationRef, IdKind, Inbound,
    RoutedEvent, Timestamp, TurnId,
    turn::{Cause, Entry, Event, RECORD_VERSION, Record},
};

/// A message of a place, with its ids.
pub(crate) fn message(connection: ConnectionId, place: &str, id: &str, text: &str) -> RoutedEvent {
    RoutedEvent {
        connection,
        event: Inbound::new(
            ChannelKind::SLACK,
            AccountId("T1".into()),
            id,
            Timestamp::from_secs(1_767_225_600),
            Body::Message {
                message: "m".into(),
                content: Content::text(text),
            },
        )
        .with_logical_id(format!("logical {id}"))
        .in_place(ConversationRef::direct(place))
        .sent_by(Actor::human(IdKind::SlackUser, "U1")),
    }
}

/// A record that says something.
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
