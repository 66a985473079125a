//! Helpers for the tests of both stores: a message, and the claim of a ready conversation.

pub(crate) mod rows;
pub(crate) mod shares;

use std::time::Duration;

use konstruct_core::{
    AccountId, ChannelKind, ConnectionId, ConversationRef, Inbound, Timestamp,
    id::WorkerId,
    message::{Actor, Body, Content, IdKind, RoutedEvent},
    store::{Claim, ClaimRequest, Mailbox},
};

/// Returns a message in a place, with its ids.
pub(crate) fn message(connection: ConnectionId, place: &str, id: &str, text: &str) -> RoutedEvent {
    RoutedEvent {
        connection,
        event: Inbound::new(
            ChannelKind::SLACK,
            AccountId("T1".into()),
            id,
            Timestamp::from_secs(1_767_225_600),
            Body::Message {
                message: id.into(),
                content: Content::text(text),
            },
        )
        .with_logical_id(format!("l-{id}"))
        .in_conversation(ConversationRef::direct(place))
        .sent_by(Actor::human(IdKind::SlackUser, "U1")),
    }
}

/// Claims a ready conversation, if there is one for a new worker.
pub(crate) async fn claimed(store: &(impl Mailbox + ?Sized), lease: Duration) -> Option<Claim> {
    let request = ClaimRequest::new(WorkerId::new(), lease);
    store.claim(request).await.unwrap().conversation()
}
