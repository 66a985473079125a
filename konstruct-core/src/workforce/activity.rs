//! A stream of what happens in a tenant's conversations.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{StreamExt as _, stream, stream::BoxStream};

use super::{Workforce, changes::Changes};
use crate::{
    ConversationId, Result, TenantId, Timestamp, TurnId,
    store::{FeedEntry, Store},
    tool::Effect,
    turn::{
        Action, CloseReason, Entry, Event, ItemId, OpenItem, Outcome, SpokenMessage, spoken_message,
    },
};

/// The number of records read at a time.
const PAGE: usize = 256;

/// Something that happened in a conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Activity {
    /// The cursor after this activity, for [`Workforce::watch`].
    pub cursor: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// The turn.
    pub turn: TurnId,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub kind: ActivityKind,
}

/// The kind of activity in a conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ActivityKind {
    /// A person or the employee sent a message.
    Message(SpokenMessage),
    /// The model called a tool.
    ToolCalled {
        /// The tool.
        tool: String,
        /// The tool's effect on the outside world.
        effect: Effect,
    },
    /// An item was opened for a person, or updated.
    ItemOpened(OpenItem),
    /// An open item was closed.
    ItemClosed {
        /// The item.
        item: ItemId,
        /// The reason.
        reason: CloseReason,
    },
    /// The turn ended.
    Ended(Outcome),
}

impl Activity {
    fn of(entry: &FeedEntry) -> Option<Self> {
        let record = entry.stored.record.as_deref()?;
        let kind = match &record.entry {
            Entry::Event(
                Event::Received(_) | Event::AttachmentRead { .. } | Event::Rendered { .. },
            ) => ActivityKind::Message(spoken_message(record)?),
            Entry::Action(Action::CallTool { name, effect, .. }) => ActivityKind::ToolCalled {
                tool: name.clone(),
                effect: *effect,
            },
            Entry::Action(Action::Open(item)) => ActivityKind::ItemOpened(item.clone()),
            Entry::Action(Action::Close { item, reason }) => ActivityKind::ItemClosed {
                item: item.clone(),
                reason: *reason,
            },
            Entry::Action(Action::Finish { outcome }) => ActivityKind::Ended(outcome.clone()),
            _ => return None,
        };
        Some(Self {
            cursor: entry.cursor,
            conversation: entry.conversation,
            turn: record.turn,
            at: record.at,
            kind,
        })
    }
}

/// A cursor in the feed, and the activities that were read but not returned yet.
struct Follower {
    store: Arc<dyn Store>,
    tenant: TenantId,
    cursor: u64,
    waiting: VecDeque<Activity>,
    changes: Changes,
}

impl Follower {
    async fn next(&mut self) -> Result<Activity> {
        loop {
            if let Some(activity) = self.waiting.pop_front() {
                return Ok(activity);
            }
            self.changes.mark_seen();
            let page = self.store.feed(self.tenant, self.cursor, PAGE).await?;
            if let Some(last) = page.last() {
                self.cursor = last.cursor;
                self.waiting.extend(page.iter().filter_map(Activity::of));
                continue;
            }
            self.changes.next().await;
        }
    }
}

impl Workforce {
    /// Returns a stream of what happens in the conversations after a cursor (0 is the beginning): messages, tool calls, open
    /// items and the ends of turns, in the order in which they were recorded. The stream waits for more and does not end.
    ///
    /// The stream reads the durable log and does not depend on notifications, so it misses nothing. Store [`Activity::cursor`]
    /// after handling an activity, and continue there after a restart; activities after the last stored cursor are returned
    /// again. Erased content is omitted. Activities of this process are returned immediately, those of other processes within a
    /// second.
    ///
    /// It follows the tenant of this value. An item with [`retry_at`](crate::turn::OpenItem::retry_at) is retried by the employee
    /// itself. To decide on one, pass an [`ItemEntry`](crate::store::ItemEntry) of the activity's conversation and item to
    /// [`decide`](Workforce::decide).
    ///
    /// After an error the stream can be polled again and continues at the same position.
    ///
    /// ```
    /// use futures_util::StreamExt as _;
    /// use konstruct_core::{Employee, Workforce, testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel}, SystemClock};
    /// use konstruct_core::workforce::ActivityKind;
    /// # use std::sync::Arc;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let workforce = Workforce::builder_without_memory(ReferenceStore::new(Arc::new(SystemClock)))
    /// #     .model(ScriptedModel::new(|_| ScriptedAnswer::text("We open at nine.")))
    /// #     .hire(Employee::builder("Ava").build()?)
    /// #     .build()?;
    /// workforce.ask("user-7", "When do you open?").await?;
    /// let mut activities = workforce.watch(0);
    /// let mut said = Vec::new();
    /// while let Some(activity) = activities.next().await {
    ///     match activity?.kind {
    ///         ActivityKind::Message(message) => said.push(message.text),
    ///         ActivityKind::Ended(_) => break,
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(said, ["When do you open?", "We open at nine."]);
    /// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
    /// ```
    pub fn watch(&self, after: u64) -> BoxStream<'static, Result<Activity>> {
        let follower = Follower {
            store: Arc::clone(&self.store),
            tenant: self.tenant,
            cursor: after,
            waiting: VecDeque::new(),
            changes: Changes::of(&self.worker),
        };
        stream::unfold(follower, |mut follower| async move {
            let next = follower.next().await;
            if next.is_err() {
                // Prevents a caller that polls again from spinning.
                follower.changes.pause().await;
            }
            Some((next, follower))
        })
        .boxed()
    }
}
