//! Waking workers: at once in this process, by NOTIFY in the others, and by looking now and then if all else fails.
//!
//! A NOTIFY in a transaction would have all commits wait for each other. So it is sent afterwards and by one task, which gathers
//! what comes in while it is busy. If the process dies in between, the others look by themselves.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use konstruct_core::Result;
use sqlx::{PgPool, postgres::PgListener};
use tokio::{sync::watch, task::JoinHandle};

use super::error::stored;

/// What is listened to.
const CHANNEL: &str = "konstruct_ready";
/// At most so often a process says that something is ready.
const GATHER: Duration = Duration::from_millis(5);
/// How often a worker looks although nothing was heard.
const LOOK: Duration = Duration::from_secs(2);
/// How long to wait before listening again after the connection was lost.
const REST: Duration = Duration::from_secs(1);

/// Counts what may have made something ready.
#[derive(Debug)]
pub(super) struct Wake {
    /// Everything that was done or heard of.
    changes: watch::Sender<u64>,
    /// What this process did.
    own: watch::Sender<u64>,
    /// The state of `changes` when a claim last found nothing.
    idle: Mutex<Option<u64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Wake {
    /// Begins to listen and to tell.
    pub(super) async fn start(pool: &PgPool) -> Result<Self> {
        let (changes, own) = (watch::Sender::new(0), watch::Sender::new(0));
        let mut listener = PgListener::connect_with(pool).await.map_err(stored)?;
        listener.listen(CHANNEL).await.map_err(stored)?;
        let tasks = vec![
            tokio::spawn(listen(listener, changes.clone())),
            tokio::spawn(tell(pool.clone(), own.subscribe())),
        ];
        Ok(Self {
            changes,
            own,
            idle: Mutex::default(),
            tasks,
        })
    }

    /// Says that something may have become ready.
    pub(super) fn arrived(&self) {
        self.changes.send_modify(|count| *count += 1);
        self.own.send_modify(|count| *count += 1);
    }

    /// Returns the state, to be taken before one looks for something ready.
    pub(super) fn state(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Notes that nothing was ready in this state.
    pub(super) fn idle(&self, state: u64) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// Waits until the state is not the one in which nothing was ready, or for a while.
    pub(super) async fn changed(&self) {
        let mut changes = self.changes.subscribe();
        let state = *changes.borrow_and_update();
        if *self.idle.lock().unwrap_or_else(PoisonError::into_inner) != Some(state) {
            return;
        }
        // Late or never: the caller looks either way.
        let _ = tokio::time::timeout(LOOK, changes.changed()).await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Counts what other processes do.
async fn listen(mut listener: PgListener, changes: watch::Sender<u64>) {
    loop {
        // It connects again by itself; what was said in the meantime is lost, so that counts as a change.
        if let Err(error) = listener.try_recv().await {
            tracing::warn!(%error, "the database does not tell of changes: looking instead");
            tokio::time::sleep(REST).await;
        }
        changes.send_modify(|count| *count += 1);
    }
}

/// Tells other processes what this one did.
async fn tell(pool: PgPool, mut own: watch::Receiver<u64>) {
    while own.changed().await.is_ok() {
        let told = sqlx::query("select pg_notify($1, '')")
            .bind(CHANNEL)
            .execute(&pool)
            .await;
        if let Err(error) = told {
            tracing::warn!(%error, "other processes were not told of changes: they look by themselves");
        }
        tokio::time::sleep(GATHER).await;
    }
}
