//! A channel that does what a test tells it to.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::World;
use crate::{
    Channel, ChannelKind, Clock, Error, ErrorKind, Outgoing, Result,
    channel::{Capabilities, Find, FindQuery, Op, Receipt},
    message::Attachment,
    outgoing::Rendered,
};

/// What becomes of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It arrives, and the provider says so.
    Arrives,
    /// It arrives, and the answer is lost.
    AnswerLost,
    /// It is lost, and nobody knows.
    Lost,
    /// The answer never comes, and it arrives so long after the request began.
    Late(Duration),
    /// The provider is not to be reached.
    Unreachable,
    /// The provider asks to wait so long.
    Limited(Duration),
    /// The provider refuses it for good.
    Refused,
    /// The provider refuses the credentials of the connection.
    Unauthorized,
}

/// A channel whose provider is a [`World`]: sends meet their fates in order, and arrive when there are no more.
#[derive(Clone, Debug)]
pub struct ScriptedChannel {
    world: World,
    clock: Arc<dyn Clock>,
    capabilities: Capabilities,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    blind: bool,
}

impl ScriptedChannel {
    /// Makes a channel that takes 1,000 characters a message.
    pub fn new(world: World, clock: Arc<dyn Clock>, find: Find) -> Self {
        Self {
            world,
            clock,
            capabilities: Capabilities::new(find, 1_000),
            fates: Arc::default(),
            blind: false,
        }
    }

    /// Changes what it can do.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.capabilities);
        self
    }

    /// Plans what becomes of the next sends, after those that are planned already.
    pub fn plan(&self, fates: impl IntoIterator<Item = Fate>) {
        let mut planned = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        planned.extend(fates);
    }

    /// Breaks it: whoever asks is told that nothing ever arrived.
    #[must_use]
    pub fn blind(mut self) -> Self {
        self.blind = true;
        self
    }

    fn fate(&self) -> Fate {
        let mut fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        fates.pop_front().unwrap_or(Fate::Arrives)
    }
}

#[async_trait]
impl Channel for ScriptedChannel {
    fn kind(&self) -> ChannelKind {
        ChannelKind::new("scripted")
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        Rendered::plain(outgoing, self.capabilities.max_text, max_parts)
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        let (to, key, text) = match op {
            Op::Send { to, key, outgoing } => (to, key, outgoing.text),
            Op::MarkRead { message, .. } => {
                self.world.mark_read(message);
                return Ok(Receipt::default());
            }
            Op::Progress { .. } => {
                self.world.show_progress();
                return Ok(Receipt::default());
            }
        };
        let now = self.clock.now();
        let lost = || Err(Error::new(ErrorKind::Ambiguous, "the answer was lost"));
        match self.fate() {
            Fate::Arrives => Ok(Receipt {
                message: Some(self.world.arrive(key, text, to, now)),
            }),
            Fate::AnswerLost => {
                self.world.arrive(key, text, to, now);
                lost()
            }
            Fate::Lost => lost(),
            Fate::Late(after) => {
                self.world.arrive(key, text, to, now + after);
                pending().await
            }
            Fate::Unreachable => Err(Error::new(ErrorKind::Unavailable, "not to be reached")),
            Fate::Limited(wait) => {
                Err(Error::new(ErrorKind::RateLimited, "too many").with_retry_after(wait))
            }
            Fate::Unauthorized => Err(Error::new(ErrorKind::Unauthorized, "token revoked")),
            Fate::Refused => Err(Error::new(ErrorKind::Forbidden, "not allowed")),
        }
    }

    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>> {
        if self.capabilities.find != Find::Query {
            return Err(Error::new(ErrorKind::Unsupported, "it cannot be asked"));
        }
        let now = self.clock.now();
        let arrived = self.world.arrived();
        let found = arrived
            .into_iter()
            .filter(|_| !self.blind)
            .find(|said| said.key == query.key && said.to == query.to && said.at <= now);
        Ok(found.map(|said| Receipt {
            message: Some(said.message),
        }))
    }

    async fn fetch_media(&self, _: &Attachment, _: u64) -> Result<Bytes> {
        Err(Error::not_found("attachment"))
    }
}
