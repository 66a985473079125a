//! Events and records to write.

use std::collections::BTreeSet;

use konstruct_core::{
    AccountId, Actor, Addressing, Body, ChannelKind, ConnectionId, Content, ConversationRef,
    IdKind, Inbound, RoutedEvent, Timestamp, TurnId,
    turn::{Entry, Event, RECORD_VERSION, Record},
};

/// A message of a place, with its ids.
pub(crate) fn message(connection: ConnectionId, place: &str, id: &str, text: &str) -> RoutedEvent {
    RoutedEvent {
        connection,
        event: Inbound {
            id: id.into(),
            logical_id: format!("logical {id}"),
            channel: ChannelKind::SLACK,
            account: AccountId("T1".into()),
            conversation: Some(ConversationRef::direct(place)),
            sender: Actor::human(IdKind::SlackUser, "U1"),
            occurred_at: Timestamp::from_secs(1_767_225_600),
            redelivery: 0,
            body: Body::Message {
                message: "m".into(),
                content: Content::text(text),
            },
            addressed: Addressing::default(),
            raw: None,
        },
    }
}

/// A record that says something.
pub(crate) fn record(text: &str) -> Record {
    Record {
        v: RECORD_VERSION,
        turn: TurnId::from_bytes([7; 16]),
        at: Timestamp::from_secs(1_767_225_600),
        persons: BTreeSet::new(),
        entry: Entry::Event(Event::ToolReturned {
            id: "call".into(),
            content: text.into(),
            error: false,
        }),
    }
}
