//! What happens in a tenant's conversations, as an app follows it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::select, pin_mut, stream, stream::BoxStream};
use tokio::sync::watch;

use super::Workforce;
use crate::{
    Clock, ConversationId, Result, TenantId, Timestamp, TurnId,
    store::{Fed, Store},
    tool::Effect,
    turn::{Action, CloseReason, Entry, Event, ItemId, OpenItem, Outcome, Said, said},
};

/// How many records are read at once.
const PAGE: usize = 256;
/// How long to wait between two looks at the store, in case another process writes to it.
const LOOK: Duration = Duration::from_secs(1);

/// Something that happened in a conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Activity {
    /// Where to continue after it: the argument of [`Workforce::watch`].
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

/// What happened in a conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ActivityKind {
    /// A person or the employee said something.
    Said(Said),
    /// The model called a tool.
    ToolCalled {
        /// The tool.
        tool: String,
        /// What it does to the world.
        effect: Effect,
    },
    /// An item was opened for a person, or changed.
    ItemOpened(OpenItem),
    /// An open item was closed.
    ItemClosed {
        /// The item.
        item: ItemId,
        /// Why.
        reason: CloseReason,
    },
    /// The turn ended.
    Ended(Outcome),
}

impl Activity {
    fn of(entry: &Fed) -> Option<Self> {
        let record = entry.stored.record.as_deref()?;
        let kind = match &record.entry {
            Entry::Event(Event::Received(_) | Event::Rendered { .. }) => {
                ActivityKind::Said(said(record)?)
            }
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

/// A place in the feed, and what was read from there.
struct Follower {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tenant: TenantId,
    cursor: u64,
    waiting: VecDeque<Activity>,
    processed: watch::Receiver<u64>,
}

impl Follower {
    async fn next(&mut self) -> Result<Activity> {
        loop {
            if let Some(activity) = self.waiting.pop_front() {
                return Ok(activity);
            }
            self.processed.mark_unchanged();
            let page = self.store.feed(self.tenant, self.cursor, PAGE).await?;
            if let Some(last) = page.last() {
                self.cursor = last.cursor;
                self.waiting.extend(page.iter().filter_map(Activity::of));
                continue;
            }
            let look = self.clock.sleep_until(self.clock.now() + LOOK);
            let changed = self.processed.changed();
            pin_mut!(look, changed);
            select(look, changed).await;
        }
    }
}

impl Workforce {
    /// Follows what happens in the conversations: messages, tool calls, open items and the ends of turns, in the order in which
    /// they were recorded, beginning after a cursor (0 is the beginning). The stream waits for more and does not end.
    ///
    /// It reads the durable log, not a notification, so nothing is missed: store [`Activity::cursor`] when an activity is handled, and
    /// continue there after a restart. What happened after the last stored cursor is seen again. What was erased is left out. The work
    /// of this process is seen at once, that of others within a second.
    ///
    /// After an error the stream may be polled again: it reads from the same place.
    ///
    /// ```
    /// use futures_util::StreamExt as _;
    /// use konstruct_core::{Employee, Workforce, testkit::{Answer, ReferenceStore, ScriptedModel}, SystemClock};
    /// use konstruct_core::workforce::ActivityKind;
    /// # use std::sync::Arc;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let workforce = Workforce::builder_on(ReferenceStore::new(Arc::new(SystemClock)))
    /// #     .model(ScriptedModel::new(|_| Answer::text("We open at nine.")))
    /// #     .hire(Employee::builder("Ava").build()?)
    /// #     .build()?;
    /// workforce.ask("user-7", "When do you open?").await?;
    /// let mut activities = workforce.watch(0);
    /// let mut said = Vec::new();
    /// while let Some(activity) = activities.next().await {
    ///     match activity?.kind {
    ///         ActivityKind::Said(message) => said.push(message.text),
    ///         ActivityKind::Ended(_) => break,
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(said, ["When do you open?", "We open at nine."]);
    /// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
    /// ```
    pub fn watch(&self, after: u64) -> BoxStream<'static, Result<Activity>> {
        let driver = self.worker.driver();
        let follower = Follower {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&driver.clock),
            tenant: self.tenant,
            cursor: after,
            waiting: VecDeque::new(),
            processed: driver.processed(),
        };
        stream::unfold(follower, |mut follower| async move {
            let next = follower.next().await;
            if next.is_err() {
                // Whoever polls on does not spin.
                let clock = &follower.clock;
                clock.sleep_until(clock.now() + LOOK).await;
            }
            Some((next, follower))
        })
        .boxed()
    }
}
