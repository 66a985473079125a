//! Learning: facts and summaries, made of what was said, off the reply path.
//!
//! A pass looks at what was said in a conversation since the last one. Only people's own words are shown to the model that
//! looks for facts: nothing that was recalled, that a tool returned or that the employee said, so that a mistake does not feed on
//! itself. A fact is kept if its quote really stands in the message that it names. One of the same topic, person and
//! audience is superseded, never overwritten.

mod call;
mod facts;
mod lines;
mod summary;

use std::{fmt, future::Future, sync::Arc};

use futures_util::{
    future::{Either, select},
    pin_mut,
};
use tokio::sync::mpsc;

use self::lines::Lines;
use crate::{ConversationId, Directory, MemoryStore, NewSummary, Result, TenantId, store::Store};

/// How many conversations wait to be learned from; what comes beyond is learned with its next turn.
const WAITING: usize = 1024;

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
        let (lessons, waiting) = mpsc::channel(WAITING);
        let learning = Learning {
            learner: self,
            waiting,
        };
        (Lessons(lessons), learning)
    }
}

/// Where a driver says which conversations were worked.
#[derive(Clone)]
pub struct Lessons(mpsc::Sender<(TenantId, ConversationId)>);

impl fmt::Debug for Lessons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lessons").finish_non_exhaustive()
    }
}

impl Lessons {
    /// Notes that a conversation was worked. When too many wait, it is learned from after its next turn.
    pub fn worked(&self, tenant: TenantId, conversation: ConversationId) {
        let _ = self.0.try_send((tenant, conversation));
    }
}

/// Learns from what was worked, one conversation after the other.
#[derive(Debug)]
pub struct Learning {
    learner: Learner,
    waiting: mpsc::Receiver<(TenantId, ConversationId)>,
}

impl Learning {
    /// Learns until `shutdown` is ready, and finishes the pass that is under way then: its model call may have been made already.
    /// What waits is learned after the next turn.
    ///
    /// # Cancel safety
    /// A pass that is cut off is made again the next time; it may be paid twice.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        pin_mut!(shutdown);
        loop {
            let next = self.waiting.recv();
            pin_mut!(next);
            let (tenant, conversation) = match select(&mut shutdown, next).await {
                Either::Right((Some(next), _)) => next,
                _ => return,
            };
            if let Err(error) = self.learner.learn(tenant, conversation).await {
                tracing::warn!(%tenant, %conversation, %error, "nothing was learned");
            }
        }
    }
}
