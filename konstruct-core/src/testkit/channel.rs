//! A channel that does what a test tells it to.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Failure, World};
use crate::{
    Channel, ChannelKind, Clock, Error, ErrorKind, Outgoing, Result,
    channel::{Capabilities, Find, FindQuery, Op, Receipt, Via},
    message::{Attachment, AttachmentKind},
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
    failures: Arc<Mutex<VecDeque<Failure>>>,
    media: Arc<Mutex<HashMap<String, Bytes>>>,
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
            failures: Arc::default(),
            media: Arc::default(),
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
        lock(&self.fates).extend(fates);
    }

    /// Makes the next request fail, whether it sends, asks, shows progress or fetches a file.
    pub fn fail(&self, failure: Failure) {
        lock(&self.failures).push_back(failure);
    }

    /// Stores a file at the provider and returns its attachment, whose digest is its id.
    pub fn put_media(&self, bytes: impl Into<Bytes>) -> Attachment {
        let mut media = lock(&self.media);
        let id = format!("file-{}", media.len() + 1);
        media.insert(id.clone(), bytes.into());
        Attachment {
            kind: AttachmentKind::Document,
            id: id.clone(),
            url: None,
            mime: None,
            name: None,
            size: None,
            sha256: Some(id),
            unavailable: None,
        }
    }

    /// Breaks it: whoever asks is told that nothing ever arrived.
    #[must_use]
    pub fn blind(mut self) -> Self {
        self.blind = true;
        self
    }

    fn fate(&self) -> Fate {
        lock(&self.fates).pop_front().unwrap_or(Fate::Arrives)
    }

    /// Returns the error of a planned failure, if one is planned. `arrive` is performed where the provider carries the request out.
    async fn failure(&self, arrive: impl FnOnce()) -> Result<()> {
        let Some(failure) = lock(&self.failures).pop_front() else {
            return Ok(());
        };
        let arrives = matches!(
            failure,
            Failure::DroppedAfter | Failure::ServerError | Failure::Unreadable
        );
        if arrives {
            arrive();
        }
        Err(match failure {
            Failure::Refused => Error::invalid("text", "the provider refuses it"),
            Failure::Unauthorized => Error::new(ErrorKind::Unauthorized, "token revoked"),
            Failure::Forbidden => Error::new(ErrorKind::Forbidden, "not allowed"),
            Failure::RateLimited(wait) => {
                Error::new(ErrorKind::RateLimited, "too many").with_retry_after(wait)
            }
            Failure::Silent => {
                let give_up = self.clock.now() + self.capabilities.request_timeout;
                self.clock.sleep_until(give_up).await;
                Error::new(ErrorKind::Ambiguous, "no answer in time")
            }
            Failure::DroppedBefore
            | Failure::DroppedAfter
            | Failure::ServerError
            | Failure::Unreadable => Error::new(ErrorKind::Ambiguous, "the answer was lost"),
        })
    }

    /// Performs what is best effort: only refused credentials are an error.
    async fn show(&self, can: bool, show: impl FnOnce(&World)) -> Result<Receipt> {
        if !can {
            return Err(Error::new(ErrorKind::Unsupported, "it cannot show that"));
        }
        match self.failure(|| ()).await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => return Err(error),
            Err(_) => {}
            Ok(()) => show(&self.world),
        }
        Ok(Receipt::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let can = &self.capabilities;
        let (to, key, outgoing) = match op {
            Op::Send {
                to,
                key,
                outgoing,
                via,
            } => ((to, via), key, outgoing),
            Op::MarkRead { message, .. } => {
                return self
                    .show(can.read_receipts, |world| world.mark_read(message))
                    .await;
            }
            Op::Progress { .. } => return self.show(can.progress, World::show_progress).await,
        };
        let now = self.clock.now();
        self.failure(|| {
            self.world
                .arrive(key.clone(), outgoing.clone(), to.clone(), now);
        })
        .await?;
        let lost = || Err(Error::new(ErrorKind::Ambiguous, "the answer was lost"));
        match self.fate() {
            Fate::Arrives => Ok(Receipt {
                message: Some(self.world.arrive(key, outgoing, to, now)),
            }),
            Fate::AnswerLost => {
                self.world.arrive(key, outgoing, to, now);
                lost()
            }
            Fate::Lost => lost(),
            Fate::Late(after) => {
                self.world.arrive(key, outgoing, to, now + after);
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
        self.failure(|| ()).await?;
        let now = self.clock.now();
        let arrived = self.world.arrived();
        let found = arrived.into_iter().filter(|_| !self.blind).find(|said| {
            said.key == query.key
                && said.to == query.to
                && said.via == Via::Conversation
                && said.at <= now
        });
        Ok(found.map(|said| Receipt {
            message: Some(said.message),
        }))
    }

    async fn fetch_media(&self, attachment: &Attachment, max_bytes: u64) -> Result<Bytes> {
        self.failure(|| ()).await?;
        let bytes = lock(&self.media).get(&attachment.id).cloned();
        let bytes = bytes.ok_or_else(|| Error::not_found("attachment"))?;
        if bytes.len() as u64 > max_bytes {
            return Err(Error::new(ErrorKind::TooLarge, "larger than asked for"));
        }
        if attachment
            .sha256
            .as_ref()
            .is_some_and(|digest| *digest != attachment.id)
        {
            return Err(Error::new(ErrorKind::Corrupt, "not the digest announced"));
        }
        Ok(bytes)
    }
}
