//! Learning: facts and summaries, made of what was said, off the reply path.
//!
//! A pass looks at what was said in a conversation since the last one. Only people's own words are shown to the model that
//! looks for facts: nothing that was recalled, that a tool returned or that the employee said, so that a mistake does not feed on
//! itself. A fact is kept if its quote really stands in the message that it names. One of the same topic, person and
//! audience is superseded, never overwritten.
//!
//! | file | what |
//! |---|---|
//! | `lines` | what stands of what was said |
//! | `facts`, `summary` | what is made of it |
//! | `call` | a model call that belongs to no turn |
//! | `queue` | whose conversation is next |

mod call;
mod facts;
mod lines;
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

use self::{lines::Lines, queue::Queue};
use crate::{
    ConversationId, Directory, MemoryStore, Result, TenantId, memory::NewSummary, store::Store,
};

/// How many conversations are learned from at a time.
const LANES: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Learns from conversations.
#[derive(Clone, Debug)]
pub struct Learner {
    store: Arc<dyn Store>,
    memory: Arc<dyn MemoryStore>,
    directory: Arc<dyn Directory>,
    every: u32,
}

/// What a pass learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// How many messages it looked at; 0: there were too few new ones.
    pub messages: u32,
    /// How many facts are new.
    pub facts: u32,
    /// How many facts the model made up: no such quote, or nothing to quote.
    pub refused: u32,
    /// Whether the summary reaches further.
    pub summarised: bool,
}

impl Learner {
    /// Makes a learner that looks at a conversation after every eighth message.
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

    /// Says after how many messages a conversation is looked at again.
    #[must_use]
    pub fn with_every(mut self, messages: u32) -> Self {
        self.every = messages.max(1);
        self
    }

    /// Learns from what was said in a conversation since the last time, if it is enough.
    ///
    /// # Errors
    /// Those of the stores and the directory, and of the model: what was to be learned is learned the next time.
    pub async fn learn(&self, tenant: TenantId, conversation: ConversationId) -> Result<Learned> {
        // What is erased from now on must not come back by what is made of it.
        let mark = self.memory.mark(tenant).await?;
        let before = self.memory.summary(tenant, conversation).await?;
        let from = before.as_ref().map_or(0, |before| before.to);
        let lines = Lines::read(&*self.store, (tenant, conversation), from).await?;
        let mut learned = Learned::default();
        if lines.said.len() < self.every as usize {
            return Ok(learned);
        }
        // What a fact quotes must be found by then.
        self.memory.catch_up(tenant).await?;
        learned.messages = u32::try_from(lines.said.len()).unwrap_or(u32::MAX);
        let staff = self.directory.staff(tenant, None).await?;
        (learned.facts, learned.refused) = self.facts(tenant, &staff, (&lines, mark)).await?;
        let old = before.as_ref().map_or("", |before| &before.text);
        let text = if old.is_empty() && from > 0 {
            // Not summarised so far, for the window held all of it.
            let all = Lines::read(&*self.store, (tenant, conversation), 0).await?;
            self.summarise(tenant, &staff, old, &all).await?
        } else {
            self.summarise(tenant, &staff, old, &lines).await?
        };
        learned.summarised = text != old;
        let mut persons = lines.persons();
        persons.extend(before.iter().flat_map(|before| &before.persons));
        let summary = NewSummary {
            conversation,
            to: lines.to,
            text,
            persons: persons.into_iter().collect(),
            mark,
        };
        // If somebody was forgotten meanwhile, it is made again without them.
        self.memory.put_summary(tenant, summary).await?;
        Ok(learned)
    }

    /// Returns where a driver says what was worked, and the learning itself, to be run beside the worker.
    pub fn lessons(self) -> (Lessons, Learning) {
        let queue = Arc::new(Waiting::default());
        let learning = Learning {
            learner: self,
            lanes: LANES,
            waiting: Arc::clone(&queue),
        };
        (Lessons(queue), learning)
    }
}

/// The conversations that wait to be learned from.
#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<Queue>,
    added: Notify,
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a driver says which conversations were worked.
#[derive(Clone)]
pub struct Lessons(Arc<Waiting>);

impl fmt::Debug for Lessons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lessons").finish_non_exhaustive()
    }
}

impl Lessons {
    /// Notes that a conversation was worked. None is dropped; one that waits already waits once.
    pub fn worked(&self, tenant: TenantId, conversation: ConversationId) {
        self.0.queue().add(tenant, conversation);
        self.0.added.notify_one();
    }
}

/// Learns from what was worked: a limited number of conversations at a time, and one at a time of each tenant. So a tenant whose
/// model or embedder is slow, or who has much to be learned from, takes one lane, and the others go round among the rest.
#[derive(Debug)]
pub struct Learning {
    learner: Learner,
    lanes: NonZeroUsize,
    waiting: Arc<Waiting>,
}

impl Learning {
    /// Sets how many tenants' conversations are learned from at a time; the default is 4.
    #[must_use]
    pub fn with_lanes(mut self, lanes: NonZeroUsize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Learns until `shutdown` is ready, and finishes the passes that are under way then: their model calls may have been made
    /// already. What waits is learned after the next turn.
    ///
    /// # Cancel safety
    /// A pass that is cut off is made again the next time; it may be paid twice.
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

    /// Learns from what waits now, and returns. For tests and for jobs.
    pub async fn run_until_idle(&self) {
        let mut passes = JoinSet::new();
        loop {
            self.fill(&mut passes);
            if passes.join_next().await.is_none() {
                return;
            }
        }
    }

    /// Begins as many passes as there are free lanes.
    fn fill(&self, passes: &mut JoinSet<()>) {
        while passes.len() < self.lanes.get() {
            let Some(turn) = self.next() else { return };
            passes.spawn(turn.pass(self.learner.clone()));
        }
    }

    fn next(&self) -> Option<Turn> {
        let (tenant, conversation) = self.waiting.queue().next()?;
        Some(Turn {
            waiting: Arc::clone(&self.waiting),
            tenant,
            conversation,
        })
    }
}

/// A conversation whose turn it is. Its tenant has the next turn when it is dropped, also by a panic.
struct Turn {
    waiting: Arc<Waiting>,
    tenant: TenantId,
    conversation: ConversationId,
}

impl Turn {
    async fn pass(self, learner: Learner) {
        let (tenant, conversation) = (self.tenant, self.conversation);
        if let Err(error) = learner.learn(tenant, conversation).await {
            tracing::warn!(%tenant, %conversation, %error, "nothing was learned");
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.waiting.queue().done(self.tenant);
    }
}
