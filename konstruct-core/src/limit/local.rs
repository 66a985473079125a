//! A limiter for one process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{Decision, Gcra, LimitKey, Quota, RateLimiter};
use crate::{Clock, Result};

/// Counts in this process's memory. A restart forgets them.
#[derive(Debug)]
pub struct LocalLimiter {
    clock: Arc<dyn Clock>,
    states: Mutex<HashMap<LimitKey, Gcra>>,
}

/// Idle keys are dropped when there are this many.
const SWEEP_AT: usize = 10_000;

impl LocalLimiter {
    /// Makes a limiter that reads this clock.
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
            // A key that is there twice is taken twice.
            let taken = next.iter().rev().find(|(taken, _)| *taken == key);
            let state = taken
                .map(|(_, state)| *state)
                .or_else(|| states.get(key).copied());
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
        if states.len() >= SWEEP_AT {
            states.retain(|_, state| !state.is_idle(now));
        }
        for (key, state) in next {
            states.insert(key.clone(), state);
        }
        Ok(Decision::Allowed)
    }
}
