//! A pool of embedders: one model on several servers or with several credentials.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use konstruct_core::{Embedder, Error, ErrorKind, Result, embed::EmbedContext, memory::Language};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    breaker::{Breaker, BreakerPolicy},
    retry::{self, RetryBudget},
    verdict::{Blame, Next, Verdict},
};

/// The default limit of a call, including all its attempts.
const TOTAL: Duration = Duration::from_secs(120);

/// Several embedders of one model, tried in order: the next after a failure, and the same again only if that can help, after a
/// wait.
///
/// Vectors of different models are not comparable, so all must have the same [`id`](Embedder::id): for example one model on two
/// servers, or with two keys.
///
/// ```
/// # #[cfg(feature = "openai")] {
/// use konstruct_core::{Embedder, Secret};
/// use konstruct_llm::{EmbedderPool, OpenAiEmbedder};
///
/// let with = |key| OpenAiEmbedder::new(Secret::new(key), "text-embedding-3-small", 512);
/// let pool = EmbedderPool::new(vec![Box::new(with("sk-1")), Box::new(with("sk-2"))])?;
/// assert_eq!(pool.id(), "openai/text-embedding-3-small");
/// # }
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Debug)]
pub struct EmbedderPool {
    members: Vec<(Box<dyn Embedder>, Arc<Breaker>)>,
    retries: RetryBudget,
    total: Duration,
}

impl EmbedderPool {
    /// Creates a pool, with the preferred embedder first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an empty pool, or for embedders whose vectors are not comparable.
    pub fn new(embedders: Vec<Box<dyn Embedder>>) -> Result<Self> {
        let first = embedders
            .first()
            .ok_or_else(|| Error::invalid("embedders", "a pool needs at least one"))?;
        for other in &embedders {
            if (other.id(), other.dim()) != (first.id(), first.dim()) {
                let problem = format!(
                    "{} of {} dimensions and {} of {} are not interchangeable",
                    first.id(),
                    first.dim(),
                    other.id(),
                    other.dim()
                );
                return Err(Error::invalid("embedders", problem));
            }
        }
        let breaker = || Breaker::new(BreakerPolicy::default());
        Ok(Self {
            members: embedders.into_iter().map(|it| (it, breaker())).collect(),
            retries: RetryBudget::default(),
            total: TOTAL,
        })
    }

    /// Sets the limit of a call, including all its attempts; the default is two minutes.
    #[must_use]
    pub fn timeout(mut self, total: Duration) -> Self {
        self.total = total;
        self
    }

    fn primary(&self) -> &dyn Embedder {
        // `new` rejects an empty pool.
        &*self.members[0].0
    }
}

/// The state of a member in one call.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Fresh,
    Again { tries: u32, at: Instant },
    Out,
}

#[async_trait]
impl Embedder for EmbedderPool {
    fn id(&self) -> &str {
        self.primary().id()
    }

    fn dim(&self) -> usize {
        self.primary().dim()
    }

    fn supports(&self, language: Language) -> bool {
        self.members.iter().all(|(it, _)| it.supports(language))
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.retries.call();
        let total = Instant::now() + self.total;
        let mut turns = vec![Turn::Fresh; self.members.len()];
        let mut last = None;
        // How many members rejected the texts as invalid; after the second, the texts are at fault.
        let mut refusals = 0;
        loop {
            let now = Instant::now();
            // The first that may be tried now, or else the one that may be tried soonest; untried members come before failed
            // ones.
            let ready = |at: usize| {
                let opens = self.members[at].1.opens_at(now).unwrap_or(now);
                match turns[at] {
                    Turn::Fresh => Some((opens, false, at)),
                    Turn::Again { at: again, .. } => Some((opens.max(again), true, at)),
                    Turn::Out => None,
                }
            };
            let next = (0..turns.len()).filter_map(ready).min();
            let Some((at, again, place)) = next.filter(|(at, ..)| *at < total) else {
                let none = || {
                    Error::new(
                        ErrorKind::Unavailable,
                        "every embedder is unavailable after failures",
                    )
                };
                return Err(last.unwrap_or_else(none));
            };
            if at > now {
                sleep_until(at).await;
                continue;
            }
            let (embedder, breaker) = &self.members[place];
            let permit = breaker.permit(now);
            let allowed = !again || self.retries.take();
            let (Some(permit), true) = (permit, allowed) else {
                turns[place] = Turn::Out;
                continue;
            };
            let asked = timeout_at(total, embedder.embed(context, texts)).await;
            let late = || Error::new(ErrorKind::Truncated, "the embedder did not respond in time");
            let error = match asked.unwrap_or_else(|_| Err(late())) {
                Ok(vectors) => {
                    permit.succeed();
                    return Ok(vectors);
                }
                Err(error) => error,
            };
            if context.is_refused() {
                return Err(error);
            }
            let verdict = Verdict::of(&error);
            let invalid = verdict.next == Next::OtherProvider && !verdict.again;
            refusals += usize::from(invalid);
            if verdict.next == Next::Nobody || refusals > 1 {
                return Err(error);
            }
            let now = Instant::now();
            match verdict.blame {
                Blame::Nothing => {}
                Blame::Endpoint => permit.fail(now, false, verdict.wait),
                _ => permit.fail(now, true, verdict.wait),
            }
            let tries = match turns[place] {
                Turn::Again { tries, .. } => tries + 1,
                _ => 1,
            };
            let wait = (verdict.again && tries < retry::TRIES)
                .then(|| retry::wait(tries, verdict.wait, 0.5))
                .flatten();
            turns[place] = match wait {
                Some(wait) => Turn::Again {
                    tries,
                    at: now + wait,
                },
                None => Turn::Out,
            };
            last = Some(error);
        }
    }
}
