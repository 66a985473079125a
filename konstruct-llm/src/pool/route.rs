//! Selects and orders the deployments that a call may use.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
    time::Duration,
};

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{CallContext, ModelRequest, Part},
};
use tokio::time::Instant;

use super::{
    deployment::{Candidate, Permits},
    retry::{self, RetryBudget},
    verdict::{Next, Verdict},
};

/// The path of one call through the pool: the candidates, the attempts so far, and their outcomes.
pub(super) struct Route {
    /// The best first.
    order: Vec<Arc<Candidate>>,
    /// By index in `order`.
    tried: BTreeMap<usize, Tried>,
    /// Indexes that must not be tried again.
    out: HashSet<usize>,
    /// The pools whose retry budgets have counted this call, by the number of pools that extend them.
    counted: HashSet<u32>,
    /// The number of attempts made.
    pub(super) attempts: u32,
    failures: Vec<(String, Error)>,
    /// Indexes whose provider rejected the request as invalid.
    invalid: Vec<usize>,
}

/// Whether it cannot read the request's reasoning, whether it is for another purpose, its place, and its random score; lower is
/// better.
type Ranked<'a> = (bool, bool, (u32, u32), f64, &'a Arc<Candidate>);

#[derive(Debug, Default)]
struct Tried {
    times: u32,
    again: Option<Instant>,
}

/// What to do next.
pub(super) enum Step {
    /// Try this candidate, at this index.
    Ask(usize, Arc<Candidate>, Permits),
    /// Wait, because a candidate becomes available at this time.
    Wait(Instant),
    /// No candidate is left.
    Over,
}

impl Route {
    /// Orders the deployments for a call: by whether they signed the request's reasoning, by purpose, by fallback place, and
    /// randomly by weight. Calls of one conversation use the same order, which keeps the provider's prompt cache warm.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if no deployment has the abilities that the request needs.
    pub(super) fn plan(
        candidates: &[Arc<Candidate>],
        request: &ModelRequest,
        call: &CallContext,
        mut chance: impl FnMut() -> f64,
    ) -> Result<Self> {
        let needs = request.needs();
        let origins: HashSet<&str> = origins(request).collect();
        let mut ranked: Vec<Ranked<'_>> = Vec::new();
        for candidate in candidates {
            let deployment = &candidate.deployment;
            let info = candidate.info();
            if !needs.is_subset(&info.can) || deployment.weight == 0 {
                continue;
            }
            let foreign = !origins.is_empty()
                && !info
                    .origin
                    .as_deref()
                    .is_some_and(|origin| origins.contains(origin));
            let purpose =
                deployment.purposes.is_empty() || deployment.purposes.contains(&call.purpose);
            let luck = match &call.conversation {
                Some(conversation) => hashed(&(conversation, &deployment.name)),
                None => chance(),
            };
            // Weighted rendezvous hashing: ordered by exponentially distributed scores.
            let score = -luck.max(f64::MIN_POSITIVE).ln() / f64::from(deployment.weight);
            ranked.push((foreign, !purpose, candidate.place(), score, candidate));
        }
        if ranked.is_empty() {
            let missing: Vec<String> = needs.iter().map(|need| format!("{need:?}")).collect();
            let message = format!(
                "no deployment has all of these abilities: {}",
                missing.join(", ")
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        ranked.sort_by(|a, b| {
            (a.0, a.1, a.2)
                .cmp(&(b.0, b.1, b.2))
                .then(a.3.total_cmp(&b.3))
        });
        Ok(Self {
            order: ranked
                .into_iter()
                .map(|(.., candidate)| Arc::clone(candidate))
                .collect(),
            tried: BTreeMap::new(),
            out: HashSet::new(),
            counted: HashSet::new(),
            attempts: 0,
            failures: Vec::new(),
            invalid: Vec::new(),
        })
    }

    /// Returns the next step. Untried candidates come first, then those that may be retried; `retry` takes a retry from the
    /// candidate's budget.
    pub(super) fn step(
        &self,
        now: Instant,
        total: Instant,
        retry: impl Fn(&RetryBudget) -> bool,
    ) -> Step {
        let open = |place: &usize| !self.out.contains(place);
        let mut soonest: Option<(Instant, usize)> = None;
        let mut consider = |at: Instant, place: usize| {
            if at < total && soonest.is_none_or(|(soonest, _)| at < soonest) {
                soonest = Some((at, place));
            }
        };
        for place in (0..self.order.len()).filter(open) {
            let candidate = &self.order[place];
            match self.tried.get(&place) {
                None => match candidate.opens_at(now) {
                    None => {
                        if let Some(permits) = candidate.permit(now) {
                            return Step::Ask(place, Arc::clone(candidate), permits);
                        }
                        consider(now + Duration::from_millis(50), place);
                    }
                    Some(at) => consider(at, place),
                },
                Some(Tried {
                    again: Some(at), ..
                }) if candidate.retries.has_one() => {
                    consider(candidate.opens_at(now).unwrap_or(now).max(*at), place);
                }
                Some(_) => {}
            }
        }
        let Some((at, place)) = soonest else {
            return Step::Over;
        };
        if at > now {
            return Step::Wait(at);
        }
        let candidate = &self.order[place];
        match candidate.permit(now) {
            Some(permits) if retry(&candidate.retries) => {
                Step::Ask(place, Arc::clone(candidate), permits)
            }
            Some(_) => Step::Over,
            None => Step::Wait(now + Duration::from_millis(50)),
        }
    }

    /// Returns an untried candidate that is available now for a hedge.
    pub(super) fn hedge_candidate(&self, now: Instant) -> Option<(usize, Arc<Candidate>, Permits)> {
        match self.step(now, now, |_| false) {
            Step::Ask(place, candidate, permits) => Some((place, candidate, permits)),
            _ => None,
        }
    }

    /// Records an attempt at this index.
    pub(super) fn started(&mut self, place: usize) {
        self.attempts += 1;
        let candidate = &self.order[place];
        if self.counted.insert(candidate.behind) {
            candidate.retries.call();
        }
        let tried = self.tried.entry(place).or_default();
        tried.times += 1;
        tried.again = None;
    }

    /// Records a failed attempt.
    pub(super) fn failed(&mut self, place: usize, error: Error, now: Instant, chance: f64) {
        let verdict = Verdict::of(&error);
        match verdict.next {
            Next::Nobody => self.restrict_to(|at| at == place),
            Next::OtherProvider => self.rejected_as_invalid(place),
            Next::Larger => self.restrict_to_larger(place),
            Next::OtherCredential => {
                let credential = &self.order[place].deployment.credential;
                let same = (0..self.order.len())
                    .filter(|at| self.order[*at].deployment.credential == *credential);
                self.out.extend(same);
            }
            Next::Other => {}
        }
        let tried = self.tried.entry(place).or_default();
        tried.again = (verdict.again && tried.times < retry::TRIES)
            .then(|| retry::wait(tried.times, verdict.wait, chance))
            .flatten()
            .map(|wait| now + wait);
        self.failures
            .push((self.order[place].deployment.name.clone(), error));
    }

    /// Records that an attempt failed after its first content.
    pub(super) fn failed_later(
        &mut self,
        candidate: &Arc<Candidate>,
        error: Error,
        now: Instant,
        chance: f64,
    ) {
        if let Some(place) = self
            .order
            .iter()
            .position(|known| Arc::ptr_eq(known, candidate))
        {
            self.failed(place, error, now, chance);
        }
    }

    /// Records that the budget rejected an attempt; other candidates may be cheaper.
    pub(super) fn unaffordable(&mut self, place: usize, error: Error) {
        self.out.insert(place);
        self.failures
            .push((self.order[place].deployment.name.clone(), error));
    }

    /// Excludes all other indexes.
    fn restrict_to(&mut self, keep: impl Fn(usize) -> bool) {
        self.out
            .extend((0..self.order.len()).filter(|at| !keep(*at)));
    }

    /// Handles a provider that rejected the request as invalid. The cause may be the provider, such as an empty balance, so one
    /// other provider is tried; if there is none, another credential. If that one rejects it too, the request is at fault.
    fn rejected_as_invalid(&mut self, place: usize) {
        if self.invalid.contains(&place) {
            return;
        }
        self.invalid.push(place);
        if self.invalid.len() > 1 {
            return self.restrict_to(|at| at == place);
        }
        let order = &self.order;
        let provider = |at: usize| !order[at].same_provider(&order[place]);
        let credential =
            |at: usize| order[at].deployment.credential != order[place].deployment.credential;
        let others = (0..order.len()).any(|at| !self.out.contains(&at) && provider(at));
        let keep: HashSet<usize> = (0..order.len())
            .filter(|at| {
                *at == place
                    || if others {
                        provider(*at)
                    } else {
                        credential(*at)
                    }
            })
            .collect();
        self.restrict_to(|at| keep.contains(&at));
    }

    /// Returns the name of the deployment that rejected the request as invalid.
    pub(super) fn rejected_by(&self) -> Option<&str> {
        let place = self.invalid.first()?;
        Some(&self.order[*place].deployment.name)
    }

    fn restrict_to_larger(&mut self, place: usize) {
        let window = |at: usize| self.order[at].info().context_window;
        let full = window(place);
        let smaller: Vec<usize> = (0..self.order.len())
            .filter(|at| match (window(*at), full) {
                (Some(window), Some(full)) => window <= full,
                _ => true,
            })
            .collect();
        self.out.extend(smaller);
    }

    /// Returns the error of a call that no deployment answered: of the last failure's kind, with all failures in its message. A
    /// request that one provider rejected as invalid is not blamed while an untried candidate is left.
    pub(super) fn exhausted(&mut self, now: Instant) -> Error {
        let failures: Vec<String> = self
            .failures
            .iter()
            .map(|(name, error)| format!("{name}: {error}"))
            .collect();
        let opens = self
            .order
            .iter()
            .filter_map(|candidate| candidate.opens_at(now))
            .min();
        let wait = opens.map(|at| at.saturating_duration_since(now));
        let Some((_, last)) = self.failures.pop() else {
            let error = Error::new(
                ErrorKind::Unavailable,
                "every deployment is unavailable after failures",
            );
            return match wait {
                Some(wait) => error.with_retry_after(wait),
                None => error,
            };
        };
        let unasked = (0..self.order.len())
            .any(|place| !self.out.contains(&place) && !self.tried.contains_key(&place));
        let kind = match Verdict::of(&last).next {
            Next::OtherProvider if unasked => ErrorKind::Unavailable,
            _ if failures.len() == 1 => return last,
            _ => last.kind(),
        };
        let error = Error::new(kind, failures.join("; "));
        match last.retry_after().or(wait) {
            Some(wait) => error.with_retry_after(wait).with_source(last),
            None => error.with_source(last),
        }
    }
}

/// Returns the origins of the signed reasoning in a request.
fn origins(request: &ModelRequest) -> impl Iterator<Item = &str> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    parts.filter_map(|part| match part {
        Part::Reasoning { origin, .. } => origin.as_deref(),
        _ => None,
    })
}

/// Hashes a value to a number between 0 and 1.
fn hashed(of: &impl std::hash::Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    fraction(hasher.finish())
}

/// Converts the upper 53 bits to a number between 0 and 1; a double holds 53 bits without rounding.
pub(super) fn fraction(bits: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let numerator = (bits >> 11) as f64;
    numerator * (1.0 / 9_007_199_254_740_992.0)
}
