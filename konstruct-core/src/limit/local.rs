//! A rate limiter for one process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{Decision, Gcra, LimitKey, Quota, RateLimiter};
use crate::{Clock, Result};

/// A rate limiter in memory. A restart resets it.
#[derive(Debug)]
pub struct LocalLimiter {
    clock: Arc<dyn Clock>,
    states: Mutex<States>,
}

#[derive(Debug, Default)]
struct States {
    of: HashMap<LimitKey, Gcra>,
    /// The number of keys at which idle ones are removed.
    sweep_at: usize,
}

/// The fewest keys at which idle ones are removed.
const SWEEP_AT: usize = 10_000;

impl LocalLimiter {
    /// Creates a limiter with a clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            states: Mutex::default(),
        }
    }
}

#[async_trait]
impl RateLimiter for LocalLimiter {
    async fn check(&self, keys: &[(LimitKey, Quota)]) -> Result<Decision> {
        let now = self.clock.now();
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next: Vec<(&LimitKey, Gcra)> = Vec::with_capacity(keys.len());
        let mut refused: Option<Decision> = None;
        for (i, (key, quota)) in keys.iter().enumerate() {
            // A key that occurs twice is counted twice.
            let taken = next.iter().rev().find(|(taken, _)| *taken == key);
            let state = taken
                .map(|(_, state)| *state)
                .or_else(|| states.of.get(key).copied());
            match state.unwrap_or_default().take(*quota, now) {
                Ok(state) => next.push((key, state)),
                Err(wait) => match refused {
                    Some(Decision::Limited { retry_after, .. }) if retry_after >= wait => {}
                    _ => {
                        refused = Some(Decision::Limited {
                            key: i,
                            retry_after: wait,
                        })
                    }
                },
            }
        }
        if let Some(refused) = refused {
            return Ok(refused);
        }
        if states.of.len() >= states.sweep_at.max(SWEEP_AT) {
            states.of.retain(|_, state| !state.is_idle(now));
            // Many busy keys are not searched again for each new one.
            states.sweep_at = states.of.len() * 2;
        }
        for (key, state) in next {
            states.of.insert(key.clone(), state);
        }
        Ok(Decision::Allowed)
    }
}
