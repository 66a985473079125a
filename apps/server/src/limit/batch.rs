//! Decides the requests that arrive while Redis decides others in one call of the script.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use konstruct_core::{Error, Result, limit::Decision};
use redis::{RedisResult, Script, aio::MultiplexedConnection};
use tokio::sync::oneshot;

use super::link::Link;

/// The most limits of a call. Redis serves nobody else meanwhile, and Lua passes at most 8,000 values to a command.
const LIMITS: usize = 1_000;

/// The length of a period in seconds, and its number: the limits of a period are in one hash.
pub(super) type Period = (i64, i64);

/// A request as the script reads it.
#[derive(Debug, Default)]
pub(super) struct Request {
    limits: u8,
    bytes: Vec<u8>,
}

impl Request {
    /// Creates a request of so many limits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for more than 255.
    pub(super) fn of(limits: usize) -> Result<Self> {
        let limits = u8::try_from(limits).map_err(|_| Error::invalid("keys", "at most 255"))?;
        Ok(Self {
            limits,
            bytes: vec![limits],
        })
    }

    /// Adds a limit: the microseconds between two requests, those that may be used at once, and its field in the hash.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a field of more than 65,535 bytes.
    pub(super) fn push(&mut self, interval: f64, allowance: f64, field: [&[u8]; 2]) -> Result<()> {
        let len = u16::try_from(field[0].len() + field[1].len());
        let len = len.map_err(|_| Error::invalid("keys", "too long"))?;
        self.bytes.extend(interval.to_le_bytes());
        self.bytes.extend(allowance.to_le_bytes());
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(field[0]);
        self.bytes.extend(field[1]);
        Ok(())
    }
}

/// A request that waits for a call.
#[derive(Debug)]
struct Waiting {
    period: Period,
    request: Request,
    answer: oneshot::Sender<Decision>,
}

/// The requests that wait, and whether a task decides them. One call at a time makes the batches large.
#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    calling: bool,
}

/// Decides requests in batches.
#[derive(Debug)]
pub(super) struct Batches {
    link: Arc<Link>,
    script: Script,
    state: Mutex<State>,
}

impl Batches {
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self {
            link,
            script: Script::new(include_str!("gcra.lua")),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides a request. Returns `None` if Redis does not answer.
    pub(super) async fn decide(
        self: &Arc<Self>,
        period: Period,
        request: Request,
    ) -> Option<Decision> {
        self.link.get()?;
        let (answer, decision) = oneshot::channel();
        {
            let mut state = self.state();
            state.waiting.push(Waiting {
                period,
                request,
                answer,
            });
            if !state.calling {
                state.calling = true;
                // A task, because others wait for its calls too: a caller may give up.
                let batches = Arc::clone(self);
                tokio::spawn(async move { batches.call().await });
            }
        }
        decision.await.ok()
    }

    /// Decides the waiting requests until there are none.
    async fn call(&self) {
        loop {
            let batch = {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.calling = false;
                    return;
                }
                take(&mut state.waiting)
            };
            // Without a connection the requests are dropped, which tells their callers.
            let Some((connection, number)) = self.link.get() else {
                continue;
            };
            let mut groups: HashMap<Period, Vec<Waiting>> = HashMap::new();
            for waiting in batch {
                groups.entry(waiting.period).or_default().push(waiting);
            }
            let groups = groups.into_iter();
            join_all(
                groups.map(|(period, requests)| {
                    self.ask(connection.clone(), number, period, requests)
                }),
            )
            .await;
        }
    }

    /// Decides requests of one period, and answers them.
    async fn ask(
        &self,
        mut connection: MultiplexedConnection,
        number: u64,
        period: Period,
        requests: Vec<Waiting>,
    ) {
        let mut call = self.script.prepare_invoke();
        let (secs, nth) = period;
        for nth in [nth, nth - 1, nth - 2] {
            call.key(format!("konstruct:limit:{secs}:{nth}"));
        }
        let bytes = requests.iter().map(|of| of.request.bytes.as_slice());
        call.arg(2 * secs).arg(bytes.collect::<Vec<_>>().concat());
        // Loads the script again if Redis does not know it any more.
        let refused: RedisResult<Vec<(usize, usize, u64)>> =
            call.invoke_async(&mut connection).await;
        match refused {
            Ok(refused) => {
                let mut refused = refused.into_iter().peekable();
                for (nth, waiting) in requests.into_iter().enumerate() {
                    let decision = match refused.next_if(|(refused, ..)| *refused == nth + 1) {
                        Some((_, worst, wait)) => Decision::Limited {
                            key: worst.saturating_sub(1),
                            retry_after: Duration::from_micros(wait),
                        },
                        None => Decision::Allowed,
                    };
                    // Its caller may have given up.
                    let _ = waiting.answer.send(decision);
                }
            }
            Err(error) => self.link.failed(number, &error),
        }
    }
}

/// Takes the first requests, up to the most limits of a call.
fn take(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut limits = 0;
    let fits = waiting.iter().take_while(|waiting| {
        limits += usize::from(waiting.request.limits);
        limits <= LIMITS
    });
    let rest = waiting.split_off(fits.count());
    mem::replace(waiting, rest)
}
