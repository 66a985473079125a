//! Learning: extracts facts and summaries from conversations, in the background.
//!
//! A pass reads the messages of a conversation since the last pass. Only people's own messages are shown to the model that
//! extracts facts: no recalled passages, tool results or messages of the employee, so that errors do not reinforce themselves. A
//! fact is stored only if the message that it names contains its quote. A fact with the same topic, person and audience is
//! superseded, never overwritten.
//!
//! | file | what |
//! |---|---|
//! | `messages` | the messages to learn from |
//! | `facts`, `summary` | what is learned |
//! | `call` | model calls outside of any turn |
//! | `queue` | which conversation is next |

mod call;
mod facts;
mod messages;
mod queue;
mod summary;

use std::{
    fmt,
    future::Future,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    future::{Either, select},
    pin_mut,
};
use tokio::{sync::Notify, task::JoinSet};

use self::{messages::Messages, queue::Queue};
use crate::{
    ConversationId, Directory, MemoryStore, Result, TenantId, memory::NewSummary, store::Store,
};

/// The default number of conversations that are learned from at a time.
const LANES: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Extracts facts and summaries from conversations.
#[derive(Clone, Debug)]
pub struct Learner {
    store: Arc<dyn Store>,
    memory: Arc<dyn MemoryStore>,
    directory: Arc<dyn Directory>,
    every: u32,
}

/// What a pass learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnReport {
    /// The number of messages in the pass; 0 if there were too few new ones.
    pub messages: u32,
    /// The number of new facts.
    pub facts: u32,
    /// The number of facts that the model made up: their quotes are not in the message, or the message does not exist.
    pub refused: u32,
    /// Whether the summary changed.
    pub summarised: bool,
}

impl Learner {
    /// Creates a learner that starts a pass after every eighth message.
    pub fn new(
        store: Arc<dyn Store>,
        memory: Arc<dyn MemoryStore>,
        directory: Arc<dyn Directory>,
    ) -> Self {
        Self {
            store,
            memory,
            directory,
            every: 8,
        }
    }

    /// Sets after how many new messages a conversation is learned from again.
    #[must_use]
    pub fn with_every(mut self, messages: u32) -> Self {
        self.every = messages.max(1);
        self
    }

    /// Learns from the messages of a conversation since the last pass, if there are enough.
    ///
    /// # Errors
    /// Those of the stores, the directory and the model. The next pass covers the same messages then.
    pub async fn learn(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<LearnReport> {
        // Content that is erased from now on must not return through derived items.
        let mark = self.memory.mark(tenant).await?;
        let before = self.memory.summary(tenant, conversation).await?;
        let from = before.as_ref().map_or(0, |before| before.to);
        let messages = Messages::read(&*self.store, (tenant, conversation), from).await?;
        let mut learned = LearnReport::default();
        if messages.list.len() < self.every as usize {
            return Ok(learned);
        }
        // The sources of new facts must be indexed before they are stored.
        self.memory.catch_up(tenant).await?;
        learned.messages = u32::try_from(messages.list.len()).unwrap_or(u32::MAX);
        let staff = self.directory.staff(tenant, None).await?;
        (learned.facts, learned.refused) = self.facts(tenant, &staff, (&messages, mark)).await?;
        let old = before.as_ref().map_or("", |before| &before.text);
        let text = if old.is_empty() && from > 0 {
            // There is no summary yet, because the whole conversation fitted into the window.
            let all = Messages::read(&*self.store, (tenant, conversation), 0).await?;
            self.summarise(tenant, &staff, old, &all).await?
        } else {
            self.summarise(tenant, &staff, old, &messages).await?
        };
        learned.summarised = text != old;
        let mut persons = messages.persons();
        persons.extend(before.iter().flat_map(|before| &before.persons));
        let summary = NewSummary {
            conversation,
            to: messages.to,
            text,
            persons: persons.into_iter().collect(),
            mark,
        };
        // If a person was forgotten meanwhile, the next pass makes the summary again without them.
        self.memory.put_summary(tenant, summary).await?;
        Ok(learned)
    }

    /// Returns the queue for a driver, and the loop that learns from it. Run the loop next to the worker.
    pub fn into_queue_and_loop(self) -> (LearnQueue, LearnLoop) {
        let queue = Arc::new(SharedQueue::default());
        let learning = LearnLoop {
            learner: self,
            lanes: LANES,
            waiting: Arc::clone(&queue),
        };
        (LearnQueue(queue), learning)
    }
}

/// The queue and its notification, shared by the queue handle and the loop.
#[derive(Debug, Default)]
struct SharedQueue {
    queue: Mutex<Queue>,
    added: Notify,
}

impl SharedQueue {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle that adds conversations to the queue of a [`LearnLoop`].
#[derive(Clone)]
pub struct LearnQueue(Arc<SharedQueue>);

impl fmt::Debug for LearnQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnQueue").finish_non_exhaustive()
    }
}

impl LearnQueue {
    /// Adds a conversation. Nothing is dropped; a conversation that is already queued is queued only once.
    pub fn push(&self, tenant: TenantId, conversation: ConversationId) {
        self.0.queue().add(tenant, conversation);
        self.0.added.notify_one();
    }
}

/// Learns from queued conversations, a limited number at a time and one at a time of each tenant. A tenant with a slow model or a
/// long queue therefore occupies only one lane; the other tenants share the remaining ones.
#[derive(Debug)]
pub struct LearnLoop {
    learner: Learner,
    lanes: NonZeroUsize,
    waiting: Arc<SharedQueue>,
}

impl LearnLoop {
    /// Sets how many tenants are learned from at a time; the default is 4.
    #[must_use]
    pub fn with_lanes(mut self, lanes: NonZeroUsize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Learns until `shutdown` completes, then finishes the passes in progress, whose model calls may already have been made. A
    /// conversation that is still queued is learned from after its next turn.
    ///
    /// # Cancel safety
    /// An interrupted pass is repeated the next time, and its model calls may be paid for twice.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut passes = JoinSet::new();
        pin_mut!(shutdown);
        loop {
            self.fill(&mut passes);
            let changed = async {
                let added = self.waiting.added.notified();
                if passes.is_empty() {
                    return added.await;
                }
                let ended = passes.join_next();
                pin_mut!(added, ended);
                select(added, ended).await;
            };
            pin_mut!(changed);
            if let Either::Left(_) = select(&mut shutdown, changed).await {
                break;
            }
        }
        while passes.join_next().await.is_some() {}
    }

    /// Learns from everything in the queue, and returns. For tests and batch jobs.
    pub async fn run_until_idle(&self) {
        let mut passes = JoinSet::new();
        loop {
            self.fill(&mut passes);
            if passes.join_next().await.is_none() {
                return;
            }
        }
    }

    /// Starts a pass in every free lane.
    fn fill(&self, passes: &mut JoinSet<()>) {
        while passes.len() < self.lanes.get() {
            let Some(pass) = self.next() else { return };
            passes.spawn(pass.run(self.learner.clone()));
        }
    }

    fn next(&self) -> Option<Pass> {
        let (tenant, conversation) = self.waiting.queue().next()?;
        Some(Pass {
            waiting: Arc::clone(&self.waiting),
            tenant,
            conversation,
        })
    }
}

/// A pass over a conversation. Dropping it, also by a panic, lets the tenant have its next pass.
struct Pass {
    waiting: Arc<SharedQueue>,
    tenant: TenantId,
    conversation: ConversationId,
}

impl Pass {
    async fn run(self, learner: Learner) {
        let (tenant, conversation) = (self.tenant, self.conversation);
        if let Err(error) = learner.learn(tenant, conversation).await {
            tracing::warn!(%tenant, %conversation, %error, "could not learn from a conversation");
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.waiting.queue().done(self.tenant);
    }
}
