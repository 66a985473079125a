//! The pool: many deployments behind one backend, which answers even if a provider fails midway.
//!
//! A call goes through these files:
//! * `route` orders the deployments and chooses the next one: first untried ones, then those for which a retry can help.
//! * `bill` reserves the cost of an attempt and settles it, however the attempt ends.
//! * `attempt` sends the request and waits for its first content. Until then another attempt can replace it unnoticed.
//! * `verdict` classifies an error, `breaker` skips failing targets until a probe succeeds, `retry` limits the retries.
//! * `answer` streams the answer after its first content; when the provider breaks off, the call's [`OnBreak`] decides.
//! * `embed` does the same for embedders, in a simpler form.

mod answer;
mod attempt;
mod bill;
mod breaker;
mod deployment;
mod embed;
mod retry;
mod route;
mod verdict;

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
#[cfg(doc)]
use konstruct_core::llm::OnBreak;
use konstruct_core::{
    Error, LlmBackend, Result,
    llm::{Ability, CallContext, ModelInfo, ModelRequest, ModelStream},
};
use tokio::time::{Instant, sleep_until};

#[cfg(any(feature = "openai", feature = "ollama"))]
pub(crate) use self::bill::is_refusal;
use self::{
    answer::AnswerStream,
    attempt::Opened,
    bill::{Bill, Bounds},
    breaker::Breaker,
    deployment::Candidate,
    retry::RetryBudget,
    route::{Route, Step},
};
pub use self::{breaker::BreakerPolicy, deployment::Deployment, embed::EmbedderPool};
use crate::telemetry::{CallMetrics, Observed};

/// Many deployments behind one [`LlmBackend`].
///
/// # What it does
/// * Before the first content of an answer, an error switches to another deployment, invisibly to the caller. The same deployment
///   is retried only if that can help, after a wait, and within a limit. A request that a provider rejects as invalid is tried
///   once with another provider.
/// * After that, [`CallContext::on_break`](konstruct_core::llm::CallContext) decides. A stream never ends without a finish or an error.
/// * Failing targets are skipped until a probe succeeds: a credential after a rejected key or a used-up quota, a deployment after
///   its rate limit or an unknown model, an endpoint after other failures.
/// * The call's budget pays for every attempt: its worst case is reserved, and the reported usage is settled.
///
/// [`stream`](LlmBackend::stream) returns when an answer has started. The pool retries, so its backends must not.
///
/// ```
/// # #[cfg(all(feature = "anthropic", feature = "openai"))] {
/// use konstruct_core::Secret;
/// use konstruct_llm::{Anthropic, Deployment, OpenAi, Pool};
///
/// let pool = Pool::builder()
///     .deployment(Deployment::new("anthropic", Anthropic::new(Secret::new("sk-ant-1"), "claude-haiku-4-5")))
///     .deployment(Deployment::new("openai", OpenAi::new(Secret::new("sk-1"), "gpt-5-mini")).fallback(1))
///     .build()?;
/// # }
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
    info: ModelInfo,
}

/// Builds a [`Pool`].
#[derive(Clone, Debug)]
pub struct PoolBuilder {
    deployments: Vec<Deployment>,
    shared: Vec<Arc<Candidate>>,
    breaker: BreakerPolicy,
    hedge: Option<Duration>,
    metrics: Option<Arc<CallMetrics>>,
    content: bool,
}

struct Inner {
    candidates: Vec<Arc<Candidate>>,
    breaker: BreakerPolicy,
    hedge: Option<Duration>,
    metrics: Option<Arc<CallMetrics>>,
    content: bool,
    /// The state of a random number generator (splitmix64).
    seed: AtomicU64,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .candidates
            .iter()
            .map(|candidate| &candidate.deployment.name);
        f.debug_list().entries(names).finish()
    }
}

impl Pool {
    /// Starts a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            deployments: Vec::new(),
            shared: Vec::new(),
            breaker: BreakerPolicy::default(),
            hedge: None,
            metrics: None,
            content: false,
        }
    }

    /// Starts a pool that first tries the deployments added to it, and then all of this pool's: for example a tenant's own keys
    /// before the shared ones.
    ///
    /// Both pools share the state of this pool's deployments. The added deployments have breakers and a retry budget of their
    /// own. They also skip an endpoint or a credential that is failing in this pool, but never change this pool's state.
    pub fn extend(&self) -> PoolBuilder {
        PoolBuilder {
            deployments: Vec::new(),
            shared: self
                .inner
                .candidates
                .iter()
                .map(Candidate::behind)
                .collect(),
            breaker: self.inner.breaker,
            hedge: self.inner.hedge,
            metrics: self.inner.metrics.clone(),
            content: self.inner.content,
        }
    }
}

impl PoolBuilder {
    /// Adds a deployment.
    #[must_use]
    pub fn deployment(mut self, deployment: Deployment) -> Self {
        self.deployments.push(deployment);
        self
    }

    /// Sets when breakers open.
    #[must_use]
    pub fn breaker(mut self, policy: BreakerPolicy) -> Self {
        self.breaker = policy;
        self
    }

    /// Enables hedging: starts a second attempt if the first has yielded no content after this time, and uses the faster one.
    /// Both cost money. Without hedging, only one attempt runs at a time.
    #[must_use]
    pub fn hedge(mut self, after: Duration) -> Self {
        self.hedge = Some(after);
        self
    }

    /// Counts the attempts of the deployments added to this builder. A pool that extends another omits their names.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<CallMetrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Records requests and answers in the attempts' spans, see [`Observed::with_content`].
    #[must_use]
    pub fn content_in_spans(mut self) -> Self {
        self.content = true;
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a pool without deployments, or with a duplicate
    /// name.
    pub fn build(self) -> Result<Pool> {
        let mut endpoints: HashMap<String, Arc<Breaker>> = HashMap::new();
        let mut credentials = HashMap::new();
        let retries = Arc::<RetryBudget>::default();
        let shared = &self.shared;
        let read = |deployment: &Deployment| {
            let of = |candidate: &Arc<Candidate>| {
                let endpoint = candidate.deployment.endpoint == deployment.endpoint;
                let credential = candidate.deployment.credential == deployment.credential;
                [
                    endpoint.then(|| Arc::clone(&candidate.endpoint)),
                    credential.then(|| Arc::clone(&candidate.credential)),
                ]
            };
            shared.iter().flat_map(of).flatten().collect()
        };
        let of = |known: &mut HashMap<String, Arc<Breaker>>, name: &String| {
            let new = || Breaker::new(self.breaker);
            Arc::clone(known.entry(name.clone()).or_insert_with(new))
        };
        let observed = |backend: Arc<dyn LlmBackend>| -> Arc<dyn LlmBackend> {
            let mut observed = Observed::new(backend);
            if let Some(metrics) = &self.metrics {
                observed = observed.with_metrics(Arc::clone(metrics));
            }
            if !self.shared.is_empty() {
                observed = observed.without_names();
            }
            Arc::new(if self.content {
                observed.with_content()
            } else {
                observed
            })
        };
        let own = self.deployments.into_iter().map(|mut deployment| {
            deployment.backend = observed(deployment.backend);
            Arc::new(Candidate {
                endpoint: of(&mut endpoints, &deployment.endpoint),
                credential: of(&mut credentials, &deployment.credential),
                own: Breaker::new(self.breaker),
                read: read(&deployment),
                retries: Arc::clone(&retries),
                behind: 0,
                deployment,
            })
        });
        let candidates: Vec<Arc<Candidate>> = own
            .collect::<Vec<_>>()
            .into_iter()
            .chain(self.shared)
            .collect();
        for (at, candidate) in candidates.iter().enumerate() {
            let name = &candidate.deployment.name;
            if candidates[..at]
                .iter()
                .any(|other| other.deployment.name == *name)
            {
                let problem = format!("\"{name}\" is used twice");
                return Err(Error::invalid("deployment.name", problem));
            }
        }
        let info = described(&candidates)?;
        let inner = Inner {
            candidates,
            breaker: self.breaker,
            hedge: self.hedge,
            metrics: self.metrics,
            content: self.content,
            seed: AtomicU64::new(RandomState::new().hash_one(0)),
        };
        Ok(Pool {
            inner: Arc::new(inner),
            info,
        })
    }
}

/// Describes a pool: its first deployment, with the abilities of all, at a price that no known price exceeds.
fn described(candidates: &[Arc<Candidate>]) -> Result<ModelInfo> {
    let first = candidates.iter().min_by_key(|candidate| candidate.place());
    let first = first.ok_or_else(|| Error::invalid("deployment", "a pool needs at least one"))?;
    let mut info = first.info().clone();
    for candidate in candidates {
        let other = candidate.info();
        info.can.extend(&other.can);
        info.price = match (info.price, &other.price) {
            (Some(price), Some(other)) => Some(price.max(other)),
            (price, other) => price.or_else(|| other.clone()),
        };
    }
    // Signed reasoning must go back to the backend that signed it, not to the pool.
    info.origin = None;
    Ok(info)
}

type Attempting = BoxFuture<'static, (usize, Result<Opened>)>;

impl Inner {
    fn chance(&self) -> f64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .seed
            .fetch_add(step, Ordering::Relaxed)
            .wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        route::fraction(z ^ (z >> 31))
    }

    /// Makes attempts until one has yielded content.
    async fn open(
        &self,
        route: &mut Route,
        asked: (&ModelRequest, &CallContext),
        total: Instant,
    ) -> Result<Opened> {
        let mut running: FuturesUnordered<Attempting> = FuturesUnordered::new();
        let mut hedge = self.hedge.map(|after| Instant::now() + after);
        loop {
            if running.is_empty() {
                let now = Instant::now();
                if now >= total {
                    // An attempt without time left would cost money, and be blamed for its silence.
                    return Err(route.exhausted(now));
                }
                match route.step(now, total, RetryBudget::take) {
                    Step::Over => return Err(route.exhausted(now)),
                    Step::Wait(until) => {
                        sleep_until(until).await;
                        continue;
                    }
                    Step::Ask(place, candidate, permits) => {
                        let attempt =
                            self.attempt(route, (place, candidate, permits), asked, total);
                        running.extend(attempt.await);
                        continue;
                    }
                }
            }
            let late = async {
                match hedge {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some((place, outcome)) = running.next() => match outcome {
                    // Attempts still running are dropped, which settles them.
                    Ok(opened) => {
                        if let Some(deployment) = route.rejected_by() {
                            tracing::warn!(
                                deployment,
                                "rejected a request as invalid that another provider accepted; check its balance and its model"
                            );
                        }
                        return Ok(opened);
                    }
                    Err(error) => {
                        let (now, chance) = (Instant::now(), self.chance());
                        route.failed(place, error, now, chance);
                    }
                },
                () = late => {
                    hedge = None;
                    if let Some(another) = route.hedge_candidate(Instant::now())
                        && another.1.retries.take()
                    {
                        running.extend(self.attempt(route, another, asked, total).await);
                    }
                }
            }
        }
    }

    /// Reserves the cost of an attempt and starts it; returns `None` if the budget rejected it.
    async fn attempt(
        &self,
        route: &mut Route,
        (place, candidate, permits): (usize, Arc<Candidate>, deployment::Permits),
        (request, call): (&ModelRequest, &CallContext),
        total: Instant,
    ) -> Option<Attempting> {
        let bounds = Bounds {
            input: request.input_bound(),
            output: u64::from(request.max_tokens),
            thinks: candidate.info().can.contains(&Ability::Reasoning),
        };
        let key = (&*call.idempotency_key, route.attempts);
        let bill = match Bill::open(&call.budget, key, candidate.info(), bounds).await {
            Ok(bill) => bill,
            Err(error) => {
                route.unaffordable(place, error);
                return None;
            }
        };
        route.started(place);
        let asked = (request.clone(), call.clone());
        let attempt = attempt::open(candidate, (permits, bill), asked, total);
        Some(attempt.map(move |outcome| (place, outcome)).boxed())
    }
}

#[async_trait]
impl LlmBackend for Pool {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        if request.max_tokens == 0 {
            return Err(Error::invalid(
                "max_tokens",
                "must be set, because it limits the cost of a call",
            ));
        }
        let inner = Arc::clone(&self.inner);
        let total = Instant::now() + call.timeout;
        let mut route = Route::plan(&inner.candidates, &request, call, || inner.chance())?;
        let opened = inner.open(&mut route, (&request, call), total).await?;
        let answer = AnswerStream::new(inner, (request, call.clone()), (route, total), opened);
        Ok(stream::unfold(answer, AnswerStream::next).boxed())
    }
}
