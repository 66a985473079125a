//! A deployment: a backend in a pool, and its state.

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

/// A backend in a pool: one model on one server with one credential.
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
    /// Creates a deployment with a name for the operator. Its endpoint is the backend's server and model; its credential is the
    /// backend's server and [origin](ModelInfo::origin). If these are unknown, its name is used.
    pub fn new(name: impl Into<String>, backend: impl LlmBackend) -> Self {
        Self::shared(name, Arc::new(backend))
    }

    /// Creates a deployment of a backend that is also used elsewhere.
    pub fn shared(name: impl Into<String>, backend: Arc<dyn LlmBackend>) -> Self {
        let name = name.into();
        let info = backend.describe();
        let endpoint = match &info.server {
            Some(server) => format!("{server}/{}", info.model),
            None => name.clone(),
        };
        // The credential includes the server, because two servers may be configured with the same placeholder key.
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

    /// Sets its share of the calls relative to its equals; the default is 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Makes it a fallback, which is used when all deployments of a lower place are unavailable. The first place is 0.
    #[must_use]
    pub fn fallback(mut self, place: u32) -> Self {
        self.fallback = place;
        self
    }

    /// Adds a purpose. A deployment without one serves every purpose.
    #[must_use]
    pub fn for_purpose(mut self, purpose: Purpose) -> Self {
        self.purposes.insert(purpose);
        self
    }

    /// Names the endpoint. Deployments with the same endpoint, such as a server, fail together.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// Names the credential. A used-up quota or a revoked key counts for all deployments with the same credential.
    #[must_use]
    pub fn credential(mut self, credential: impl Into<String>) -> Self {
        self.credential = credential.into();
        self
    }

    /// Sets the limit for its first content, for backends without such a limit.
    #[must_use]
    pub fn first_content(mut self, within: Duration) -> Self {
        self.first_content = Some(within);
        self
    }

    /// Sets the maximum silence after that; the default is 60 seconds.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}

/// A deployment with its breakers. Deployments of the same pool with the same endpoint or credential share the breakers of these.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) deployment: Deployment,
    /// Limits retries. It is shared with the other deployments of the original pool, and not with pools that extend it.
    pub(super) retries: Arc<RetryBudget>,
    /// How many pools extend the original pool; the deployments that they add are tried first.
    pub(super) behind: u32,
    pub(super) endpoint: Arc<Breaker>,
    pub(super) credential: Arc<Breaker>,
    pub(super) own: Arc<Breaker>,
    /// Breakers of the extended pool with the same endpoint or credential. They are read and never written, because one tenant's
    /// key must not take a shared model away from others.
    pub(super) read: Vec<Arc<Breaker>>,
}

impl Candidate {
    pub(super) fn info(&self) -> &ModelInfo {
        self.deployment.backend.describe()
    }

    /// Returns its place in the order; lower places are tried first.
    pub(super) fn place(&self) -> (u32, u32) {
        (self.behind, self.deployment.fallback)
    }

    /// Returns whether both use the same server; if that is unknown, whether their providers have the same name.
    pub(super) fn same_provider(&self, other: &Self) -> bool {
        let (one, other) = (self.info(), other.info());
        match (&one.server, &other.server) {
            (Some(one), Some(other)) => one == other,
            _ => one.provider == other.provider,
        }
    }

    /// Returns the candidate for a pool that tries others first.
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

    /// Returns when it may be tried; `None` means now.
    pub(super) fn opens_at(&self, now: Instant) -> Option<Instant> {
        let breakers = [&self.own, &self.credential, &self.endpoint];
        let written = breakers.into_iter().map(|breaker| breaker.opens_at(now));
        let read = self.read.iter().map(|breaker| breaker.open_until(now));
        written.chain(read).flatten().max()
    }

    /// Takes the permits for an attempt.
    pub(super) fn permit(&self, now: Instant) -> Option<Permits> {
        Some(Permits {
            own: self.own.permit(now)?,
            credential: self.credential.permit(now)?,
            endpoint: self.endpoint.permit(now)?,
        })
    }
}

/// The permits for an attempt. Dropped permits report nothing.
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
            // A wait that the provider requested takes effect at once.
            Blame::Endpoint => self
                .endpoint
                .fail(now, verdict.wait.is_some(), verdict.wait),
        }
    }
}
