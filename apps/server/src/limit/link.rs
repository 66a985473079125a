//! The connection to Redis, which is given up at the first failure and restored in the background.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};

/// How long a decision may take. A slower Redis is treated as absent.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection that several tasks use at the same time.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    state: Mutex<State>,
}

enum State {
    Up {
        connection: MultiplexedConnection,
        /// Distinguishes this connection from earlier ones.
        number: u64,
    },
    Down {
        number: u64,
        try_at: Instant,
        connecting: bool,
    },
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Up { .. } => "Up",
            Self::Down { .. } => "Down",
        })
    }
}

impl Link {
    /// Connects, or tries again later.
    pub(super) async fn open(client: Client) -> Arc<Self> {
        let link = Arc::new(Self {
            client,
            state: Mutex::new(State::Down {
                number: 0,
                try_at: Instant::now(),
                connecting: true,
            }),
        });
        if let Err(error) = link.connect().await {
            warn(&error);
        }
        link
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection and its number; `None` while there is none. Never waits.
    pub(super) fn get(self: &Arc<Self>) -> Option<(MultiplexedConnection, u64)> {
        match &mut *self.lock() {
            State::Up { connection, number } => return Some((connection.clone(), *number)),
            State::Down {
                try_at, connecting, ..
            } => {
                if *connecting || *try_at > Instant::now() {
                    return None;
                }
                *connecting = true;
            }
        }
        let link = Arc::clone(self);
        tokio::spawn(async move {
            if link.connect().await.is_ok() {
                tracing::info!("Redis answers again; the processes share their rate limits");
            }
        });
        None
    }

    async fn connect(&self) -> Result<(), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connected = async {
            let mut connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            redis::cmd("PING")
                .query_async::<()>(&mut connection)
                .await?;
            Ok(connection)
        }
        .await;
        let mut state = self.lock();
        let (State::Up { number, .. } | State::Down { number, .. }) = *state;
        match connected {
            Ok(connection) => {
                let number = number + 1;
                *state = State::Up { connection, number };
                Ok(())
            }
            Err(error) => {
                *state = State::Down {
                    number,
                    try_at: Instant::now() + PAUSE,
                    connecting: false,
                };
                Err(error)
            }
        }
    }

    /// Gives up a connection that failed. Reports only the first failure.
    pub(super) fn failed(&self, failed: u64, error: &RedisError) {
        let mut state = self.lock();
        if matches!(&*state, State::Up { number, .. } if *number == failed) {
            *state = State::Down {
                number: failed,
                try_at: Instant::now() + PAUSE,
                connecting: false,
            };
            warn(error);
        }
    }
}

fn warn(error: &RedisError) {
    // The text of the error may contain the URL.
    tracing::warn!(kind = ?error.kind(), timeout = error.is_timeout(), "Redis does not answer; until it does, each process limits rates on its own");
}
