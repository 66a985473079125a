//! The `History` trait: logs, conversations and open items, as people and indexes read them.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    ChannelKind, ConnectionId, ConversationId, ConversationRef, PersonId, Result, TenantId,
    Timestamp,
    message::DeliveryState,
    turn::{Entry, Event, ItemId, OpenItem, Record},
};

/// How many rows the default implementations read at once.
const PAGE: usize = 256;

/// Reads what a store keeps of conversations.
#[async_trait]
pub trait History: fmt::Debug + Send + Sync + 'static {
    /// Reads a part of a conversation's log. A range beyond the end is cut; a conversation that does not exist has an empty
    /// log.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>>;

    /// Reads a part of a conversation's log for what was said in it. Records that [say nothing](Record::says_something) may be `None`, as if
    /// they could not be opened, and how far messages came need not be told.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), which is what this does where a store does not save anything by it.
    async fn read_said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.read(tenant, conversation, range).await
    }

    /// Returns a conversation; `None` if there is none with this id.
    ///
    /// # Errors
    /// Those of the store. The default searches the [list](Self::list).
    async fn conversation(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<ConversationSummary>> {
        let mut after = None;
        loop {
            let page = self.list(tenant, after, PAGE).await?;
            let Some(last) = page.last().map(ConversationSummary::cursor) else {
                return Ok(None);
            };
            if let Some(found) = page.into_iter().find(|found| found.id == conversation) {
                return Ok(Some(found));
            }
            after = Some(last);
        }
    }

    /// Returns the person whom a channel knows by an address: the provider's id of the person, such as a Slack user id or the digits
    /// of a phone number. `None` if nobody wrote from it, or they were forgotten.
    ///
    /// # Errors
    /// Those of the store. The default searches the [feed](Self::feed).
    async fn person(
        &self,
        tenant: TenantId,
        channel: &ChannelKind,
        address: &str,
    ) -> Result<Option<PersonId>> {
        let mut after = 0;
        loop {
            let page = self.feed(tenant, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(None);
            };
            after = last.cursor;
            let found = page.iter().find_map(|fed| {
                let record = fed.stored.record.as_deref()?;
                let Entry::Event(Event::Received(input)) = &record.entry else {
                    return None;
                };
                let event = &input.event;
                let linked = super::rules::linked(event).is_some_and(|(_, new)| new == address);
                let same =
                    event.channel == *channel && (linked || event.sender.id() == Some(address));
                input.persons.first().copied().filter(|_| same)
            });
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Lists a tenant's conversations, the one with the latest activity first, from after the cursor on.
    ///
    /// # Errors
    /// Those of the store.
    async fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>>;

    /// Lists a tenant's open items by id, which is about the order in which they were opened.
    ///
    /// # Errors
    /// Those of the store.
    async fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>>;

    /// Reads a tenant's records in the order in which they were written, after a cursor (0 is the beginning). What was
    /// answered once is never followed by something that belongs before it: indexes follow this.
    ///
    /// # Errors
    /// Those of the store.
    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>>;
}

/// A record with its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// Its index in the conversation's log, from 0.
    pub index: u64,
    /// The record. `None` if it can no longer be opened.
    pub record: Option<Arc<Record>>,
    /// For the record that first sent a message: how far the message came, as [`History::read`] knows it.
    pub delivery: Option<DeliveryState>,
}

impl Stored {
    /// A record at an index.
    pub fn new(index: u64, record: Option<impl Into<Arc<Record>>>) -> Self {
        Self {
            index,
            record: record.map(Into::into),
            delivery: None,
        }
    }
}

/// A record of a tenant, as its indexes follow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fed {
    /// Where to continue after it.
    pub cursor: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// The record.
    pub stored: Stored,
}

/// A conversation, without its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConversationSummary {
    /// Its id.
    pub id: ConversationId,
    /// The connection that it is held through.
    pub connection: ConnectionId,
    /// What the channel calls it. `None`: the person of a direct conversation was forgotten.
    pub place: Option<ConversationRef>,
    /// The length of its log.
    pub len: u64,
    /// How many events wait in its inbox.
    pub unconsumed: u64,
    /// When something last came in or was written.
    pub updated_at: Timestamp,
}

impl ConversationSummary {
    /// Makes a summary of an empty conversation.
    pub fn new(
        id: ConversationId,
        connection: ConnectionId,
        place: Option<ConversationRef>,
        updated_at: Timestamp,
    ) -> Self {
        Self {
            id,
            connection,
            place,
            len: 0,
            unconsumed: 0,
            updated_at,
        }
    }

    /// Returns it with changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns its place in [`History::list`].
    pub fn cursor(&self) -> ConversationCursor {
        ConversationCursor {
            updated_at: self.updated_at,
            id: self.id,
        }
    }
}

/// A place in the list of conversations, which is ordered by activity: latest first, ties by id, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConversationCursor {
    /// When something last came in or was written.
    pub updated_at: Timestamp,
    /// The conversation.
    pub id: ConversationId,
}

/// An open item and its conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemEntry {
    /// The conversation.
    pub conversation: ConversationId,
    /// The item.
    pub item: OpenItem,
}
