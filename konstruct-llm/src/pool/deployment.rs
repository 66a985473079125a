//! A deployment: a backend in a pool, and what is known of how it does.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use konstruct_core::{
    LlmBackend,
    llm::{ModelInfo, Purpose},
};
use tokio::time::Instant;

use super::{
    breaker::{Breaker, Permit},
    retry::RetryBudget,
    verdict::{Blame, Verdict},
};

/// A backend in a pool: one model at one place with one credential.
///
/// ```
/// use konstruct_core::{Secret, llm::Purpose};
/// use konstruct_llm::{Anthropic, Deployment};
///
/// let model = Anthropic::new(Secret::new("sk-ant-1"), "claude-haiku-4-5");
/// let fast = Deployment::new("haiku", model).for_purpose(Purpose::Fast).weight(3);
/// ```
#[derive(Clone, Debug)]
pub struct Deployment {
    pub(super) name: String,
    pub(super) backend: Arc<dyn LlmBackend>,
    pub(super) weight: u32,
    pub(super) fallback: u32,
    pub(super) purposes: BTreeSet<Purpose>,
    pub(super) endpoint: String,
    pub(super) credential: String,
    pub(super) first_content: Option<Duration>,
    pub(super) idle: Duration,
}

impl Deployment {
    /// A deployment with a name for the operator. Its endpoint is the backend's server and model, its credential the backend's server and
    /// [origin](ModelInfo::origin); where these are unknown, its name is used.
    pub fn new(name: impl Into<String>, backend: impl LlmBackend) -> Self {
        Self::shared(name, Arc::new(backend))
    }

    /// A deployment of a backend that others hold too.
    pub fn shared(name: impl Into<String>, backend: Arc<dyn LlmBackend>) -> Self {
        let name = name.into();
        let info = backend.describe();
        let endpoint = match &info.server {
            Some(server) => format!("{server}/{}", info.model),
            None => name.clone(),
        };
        // A key is one of its server's: two servers may be given the same placeholder.
        let credential = match (&info.server, &info.origin) {
            (Some(server), Some(origin)) => format!("{server}/{origin}"),
            (None, Some(origin)) => origin.clone(),
            (_, None) => name.clone(),
        };
        Self {
            name,
            backend,
            weight: 1,
            fallback: 0,
            purposes: BTreeSet::new(),
            endpoint,
            credential,
            first_content: None,
            idle: Duration::from_secs(60),
        }
    }

    /// Describes its backend.
    pub fn describe(&self) -> &ModelInfo {
        self.backend.describe()
    }

    /// Says how large its share is of the calls that it and its equals get: 1 unless told otherwise.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Makes it a fallback: it is asked when all of a lower place cannot be. The first place is 0.
    #[must_use]
    pub fn fallback(mut self, place: u32) -> Self {
        self.fallback = place;
        self
    }

    /// Says what it is for; it may be said more than once. Without it, it is for every purpose.
    #[must_use]
    pub fn for_purpose(mut self, purpose: Purpose) -> Self {
        self.purposes.insert(purpose);
        self
    }

    /// Names what fails together with it, whoever asks: its server, say.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// Names the credential that it uses: a used-up quota or a revoked key of it counts for all that use it.
    #[must_use]
    pub fn credential(mut self, credential: impl Into<String>) -> Self {
        self.credential = credential.into();
        self
    }

    /// Says how long its first content may take, where the backend has no such bound of its own.
    #[must_use]
    pub fn first_content(mut self, within: Duration) -> Self {
        self.first_content = Some(within);
        self
    }

    /// Says how long it may be silent after that: 60 seconds unless told otherwise.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}

/// A deployment with its breakers. Those of the endpoint and of the credential are shared with others of the same pool that have the same.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) deployment: Deployment,
    /// Bounds repeated tries; shared with the other deployments of the pool that it was made for, not with pools that extend it.
    pub(super) retries: Arc<RetryBudget>,
    /// How many pools extend the one that it was made for: it is asked after what they add.
    pub(super) behind: u32,
    pub(super) endpoint: Arc<Breaker>,
    pub(super) credential: Arc<Breaker>,
    pub(super) own: Arc<Breaker>,
    /// Breakers of the pool that was extended, of the same endpoint or credential. They are read and never written: one tenant's key must
    /// not take a shared model away from others.
    pub(super) read: Vec<Arc<Breaker>>,
}

impl Candidate {
    pub(super) fn info(&self) -> &ModelInfo {
        self.deployment.backend.describe()
    }

    /// Returns its place among the others: the lower, the earlier it is asked.
    pub(super) fn place(&self) -> (u32, u32) {
        (self.behind, self.deployment.fallback)
    }

    /// Returns whether both are asked at the same server; where that is unknown, whether their providers have the same name.
    pub(super) fn same_provider(&self, other: &Self) -> bool {
        let (one, other) = (self.info(), other.info());
        match (&one.server, &other.server) {
            (Some(one), Some(other)) => one == other,
            _ => one.provider == other.provider,
        }
    }

    /// Makes the same for a pool that asks others first.
    pub(super) fn behind(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            deployment: self.deployment.clone(),
            retries: Arc::clone(&self.retries),
            behind: self.behind + 1,
            endpoint: Arc::clone(&self.endpoint),
            credential: Arc::clone(&self.credential),
            own: Arc::clone(&self.own),
            read: self.read.clone(),
        })
    }

    /// Returns when it may be tried; `None` is now.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        let breakers = [&self.own, &self.credential, &self.endpoint];
        let written = breakers.into_iter().map(|breaker| breaker.opens_at(now));
        let read = self.read.iter().map(|breaker| breaker.open_until(now));
        written.chain(read).flatten().max()
    }

    /// Takes the permits to try it.
    pub(super) fn permit(&self, now: Instant) -> Option<Permits> {
        Some(Permits {
            own: self.own.permit(now)?,
            credential: self.credential.permit(now)?,
            endpoint: self.endpoint.permit(now)?,
        })
    }
}

/// The permits to try a deployment. Dropped, they report nothing.
#[derive(Debug)]
pub(super) struct Permits {
    own: Permit,
    credential: Permit,
    endpoint: Permit,
}

impl Permits {
    pub(super) fn succeed(self) {
        self.own.succeed();
        self.credential.succeed();
        self.endpoint.succeed();
    }

    pub(super) fn fail(self, now: Instant, verdict: &Verdict) {
        match verdict.blame {
            Blame::Nothing => {}
            Blame::Credential => self.credential.fail(now, true, verdict.wait),
            Blame::Deployment => self.own.fail(now, true, verdict.wait),
            // A wait that the provider asks for is kept at once.
            Blame::Endpoint => self
                .endpoint
                .fail(now, verdict.wait.is_some(), verdict.wait),
        }
    }
}
