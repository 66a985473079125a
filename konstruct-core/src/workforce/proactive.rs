//! Messages that the employee sends first.

use super::{Workforce, app};
use crate::{
    AccountId, ChannelKind, ConnectionId, ConversationId, ConversationRef, Error, Inbound,
    Outgoing, Result, Timestamp,
    message::{Actor, ActorKind, Body, IdKind},
    store::Accepted,
};

/// A message that the employee sends without being asked ("proactive message", "business-initiated message"), such as a reminder,
/// a finished repair or an approval.
///
/// The turn engine sends it: it is stored, sent in order with the other turns of its conversation, recorded and shown to the
/// model as a message of the employee, and sent at most once. WhatsApp delivers it only within 24 hours of the person's last
/// message; a refused message becomes an open item.
///
/// ```
/// use konstruct_core::{ChannelKind, ConversationRef, ProactiveMessage};
///
/// let ready = ProactiveMessage::new(ChannelKind::WHATSAPP, "106540352242922", ConversationRef::direct("491711234567"),
///     "Your bike is ready.")
///     .for_person("491711234567")
///     .with_id("repair-1042-ready");
/// assert!(format!("{ready:?}").contains("repair-1042-ready"));
/// ```
#[derive(Clone, Debug)]
pub struct ProactiveMessage {
    id: String,
    to: To,
    person: Option<String>,
    outgoing: Outgoing,
    expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum To {
    Conversation(ConversationId),
    Place(ChannelKind, AccountId, ConversationRef),
}

impl ProactiveMessage {
    /// Creates a message to a place of one of the tenant's accounts: a WhatsApp number in digits, or a Slack channel id.
    ///
    /// For a Slack direct message use its `D…` id or [`to_conversation`](Self::to_conversation): a message to a `U…` id would be
    /// another conversation than the one in which the person answers. Replies in the thread below a top-level Slack post belong to
    /// a conversation of their own.
    pub fn new(
        channel: ChannelKind,
        account: impl Into<String>,
        place: ConversationRef,
        what: impl Into<Outgoing>,
    ) -> Self {
        let account = AccountId(account.into());
        Self::of(To::Place(channel, account, place), what.into())
    }

    /// Creates a message to an existing conversation, such as
    /// [`ToolContext::conversation`](crate::tool::ToolContext::conversation).
    pub fn to_conversation(conversation: ConversationId, what: impl Into<Outgoing>) -> Self {
        Self::of(To::Conversation(conversation), what.into())
    }

    fn of(to: To, outgoing: Outgoing) -> Self {
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            to,
            person: None,
            outgoing,
            expires_at: None,
        }
    }

    /// Sets the id. A message with an id that was already sent is not sent again. The default is a random id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the recipient's address (`U77`, a phone number in digits), if the message is for one person. The message is encrypted for
    /// the person, so that forgetting the person removes it. Not needed for an existing conversation.
    #[must_use]
    pub fn for_person(mut self, address: impl Into<String>) -> Self {
        self.person = Some(address.into());
        self
    }

    /// Sets when the message expires. It is not sent later, for example after an outage of the connection.
    #[must_use]
    pub fn expires_at(mut self, time: Timestamp) -> Self {
        self.expires_at = Some(time);
        self
    }
}

impl Workforce {
    /// Sends a message from the employee. When the call returns, the message is stored, and [`run`](Self::run) sends it.
    ///
    /// While a team member holds the conversation, the message does not interrupt them: it is an open item
    /// ([`OpenReason::Held`](crate::turn::OpenReason::Held)) until the conversation is handed back or returns by itself, and is sent
    /// then, unless it has [expired](ProactiveMessage::expires_at). A person can decide to send it at once
    /// ([`Decision::Resend`](crate::message::Decision::Resend)) or to drop it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown account or conversation, or one whose person was
    /// forgotten; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an empty text; and those of the store.
    pub async fn send(&self, message: ProactiveMessage) -> Result<Accepted> {
        self.send_as(message, ActorKind::System).await
    }

    /// Sends a message of a team member, who takes the conversation over: open questions of the conversation are closed, and the
    /// employee is silent there until [`hand_back`](Self::hand_back), or until
    /// [`hold_secs`](crate::employee::TurnLimits::hold_secs) have passed since the last message of a team member. Messages of the
    /// person are recorded meanwhile, and not answered later. An answer that is already being written is still sent.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub async fn reply(&self, message: ProactiveMessage) -> Result<Accepted> {
        self.send_as(message, ActorKind::Operator).await
    }

    /// Returns a conversation to the employee, who answers from the next message on. Has no effect if no team member holds it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown conversation, or one whose person was forgotten, and
    /// those of the store.
    pub async fn hand_back(&self, conversation: ConversationId) -> Result<()> {
        let (connection, channel, place) = self.place(conversation).await?;
        let now = self.worker.driver().clock.now();
        let event = Inbound::handed_back(place, now).on(channel, AccountId::default());
        self.accept_on(connection, event).await.map(drop)
    }

    /// Returns the connection, the channel and the place of an existing conversation.
    async fn place(
        &self,
        id: ConversationId,
    ) -> Result<(ConnectionId, ChannelKind, ConversationRef)> {
        let known = self.store.conversation(self.tenant, id).await?;
        let known = known.ok_or_else(|| Error::not_found("conversation"))?;
        let place = known
            .place
            .ok_or_else(|| Error::not_found("conversation"))?;
        let channel = self.directory.channel(self.tenant, known.connection);
        Ok((known.connection, channel.await?.kind(), place))
    }

    async fn send_as(&self, message: ProactiveMessage, kind: ActorKind) -> Result<Accepted> {
        if message.outgoing.text.trim().is_empty() {
            return Err(Error::invalid("text", "must not be empty"));
        }
        let (connection, channel, account, place) = match message.to {
            To::Conversation(id) => {
                let (connection, channel, place) = self.place(id).await?;
                (connection, channel, AccountId::default(), place)
            }
            To::Place(channel, account, place) => {
                let connection = self.connection(&channel, &account).await?;
                (connection, channel, account, place)
            }
        };
        let body = Body::Proactive {
            outgoing: message.outgoing,
            expires_at: message.expires_at,
        };
        let now = self.worker.driver().clock.now();
        let sender = Actor {
            ids: message
                .person
                .map(|address| (IdKind::Other, address))
                .into_iter()
                .collect(),
            name: None,
            kind,
        };
        let event = Inbound::new(channel, account, message.id, now, body)
            .in_conversation(place)
            .sent_by(sender);
        self.accept_on(connection, event).await
    }

    /// Returns the tenant's connection of an account.
    pub(super) async fn connection(
        &self,
        channel: &ChannelKind,
        account: &AccountId,
    ) -> Result<ConnectionId> {
        if *channel == ChannelKind::APP {
            return Ok(app::connection());
        }
        let route = self.directory.route(channel, account).await?;
        let own = route.filter(|route| route.tenant == self.tenant);
        Ok(own.ok_or_else(|| Error::not_found("account"))?.connection)
    }
}
