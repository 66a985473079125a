//! The `History` trait: read access to logs, conversations and open items.

use std::{collections::BTreeSet, fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    ChannelKind, ConnectionId, ConversationId, ConversationRef, PersonId, Result, TenantId,
    Timestamp,
    message::DeliveryState,
    turn::{Entry, Event, ItemId, OpenItem, Record},
};

/// The number of rows that the default implementations read at a time.
const PAGE: usize = 256;
/// The interval at which the default [`History::watch`] reads the feed.
const POLL: Duration = Duration::from_millis(500);

/// Reads the conversations that a store keeps.
#[async_trait]
pub trait History: fmt::Debug + Send + Sync + 'static {
    /// Reads a range of a conversation's log. A range beyond the end is truncated; the log of a conversation that does not exist
    /// is empty.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>>;

    /// Reads the messages in a range of a conversation's log. Other records, for which [`Record::says_something`] is false, may
    /// be `None`, as if they could not be read. [`Stored::delivery`] may be missing.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), which is the default implementation.
    async fn read_said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.read(tenant, conversation, range).await
    }

    /// Returns a conversation; `None` if it does not exist.
    ///
    /// # Errors
    /// Any error of the store. The default searches the [list](Self::list).
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

    /// Returns the person behind an address of a channel: the provider's id of the person, such as a Slack user id or the digits
    /// of a phone number. `None` if no message came from the address, or the person was forgotten.
    ///
    /// # Errors
    /// Any error of the store. The default searches the [feed](Self::feed).
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
            let found = page.iter().find_map(|entry| {
                let record = entry.stored.record.as_deref()?;
                let Entry::Event(Event::Received(input)) = &record.entry else {
                    return None;
                };
                let event = &input.event;
                let linked = super::rules::addresses(event).contains(&address);
                let same =
                    event.channel == *channel && (linked || event.sender.id() == Some(address));
                input.persons.first().copied().filter(|_| same)
            });
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Lists the conversations with records that are sealed to a person, because they contain the person's words or were written
    /// with them in view. They are listed by id, after the given one. Those with an unconsumed message of the person may be listed too.
    ///
    /// # Errors
    /// Any error of the store. The default searches the [feed](Self::feed).
    async fn conversations_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>> {
        let (mut cursor, mut found) = (0, BTreeSet::new());
        loop {
            let page = self.feed(tenant, cursor, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(found.into_iter().take(limit).collect());
            };
            cursor = last.cursor;
            found.extend(page.into_iter().filter_map(|entry| {
                let record = entry.stored.record?;
                let later = after.is_none_or(|after| entry.conversation > after);
                (later && record.persons.contains(&person)).then_some(entry.conversation)
            }));
        }
    }

    /// Lists a tenant's conversations after a cursor, most recently active first.
    ///
    /// # Errors
    /// Any error of the store.
    async fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>>;

    /// Lists a tenant's open items by id, which is roughly the order in which they were opened.
    ///
    /// # Errors
    /// Any error of the store.
    async fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>>;

    /// Reads a tenant's records in the order in which they were written, after a cursor (0 is the beginning). Indexes follow this
    /// feed: a record never appears before one that was already returned.
    ///
    /// # Errors
    /// Any error of the store.
    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<FeedEntry>>;

    /// Waits until the [feed](Self::feed) has records after a cursor. May return without cause.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// Any error of the store. The default reads the feed every half second.
    async fn watch(&self, tenant: TenantId, after: u64) -> Result<()> {
        while self.feed(tenant, after, 1).await?.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// A record with its index in a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// Its index in the conversation's log, from 0.
    pub index: u64,
    /// The record; `None` if it can no longer be read.
    pub record: Option<Arc<Record>>,
    /// The delivery state of the message that this record sent first, as returned by [`History::read`].
    pub delivery: Option<DeliveryState>,
}

impl Stored {
    /// Creates a record at an index.
    pub fn new(index: u64, record: Option<impl Into<Arc<Record>>>) -> Self {
        Self {
            index,
            record: record.map(Into::into),
            delivery: None,
        }
    }
}

/// A record of a tenant's feed, see [`History::feed`].
#[derive(Clone, Debug, PartialEq)]
pub struct FeedEntry {
    /// The cursor after this record.
    pub cursor: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// The record.
    pub stored: Stored,
}

/// A conversation without its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConversationSummary {
    /// Its id.
    pub id: ConversationId,
    /// The connection of the conversation.
    pub connection: ConnectionId,
    /// The channel's address of the conversation; `None` if it is direct and its person was forgotten.
    pub place: Option<ConversationRef>,
    /// The length of its log.
    pub len: u64,
    /// The number of events that wait in its inbox.
    pub unconsumed: u64,
    /// When an event was last accepted or a record was last written.
    pub updated_at: Timestamp,
    /// When a team member last wrote in the conversation, unless it was handed back since. The employee is silent until
    /// [`hold_secs`](crate::employee::TurnLimits::hold_secs) later. A message that still waits in the inbox does not count yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Timestamp>,
}

impl ConversationSummary {
    /// Creates the summary of an empty conversation.
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
            held_since: None,
        }
    }

    /// Applies changes to the fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns the cursor of this conversation for [`History::list`].
    pub fn cursor(&self) -> ConversationCursor {
        ConversationCursor {
            updated_at: self.updated_at,
            id: self.id,
        }
    }
}

/// A position in the list of conversations, which is ordered by latest activity and then by highest id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConversationCursor {
    /// When an event was last accepted or a record was last written.
    pub updated_at: Timestamp,
    /// The conversation.
    pub id: ConversationId,
}

/// An open item with its conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemEntry {
    /// The conversation.
    pub conversation: ConversationId,
    /// The item.
    pub item: OpenItem,
}
