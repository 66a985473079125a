//! Wakes workers: immediately in this process, by NOTIFY in others, and by polling as a fallback.
//!
//! A NOTIFY inside a transaction would make all commits wait for each other. One task therefore sends it afterwards, and combines
//! the notifications that arrive while it is busy. If the process dies in between, the other processes poll.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use konstruct_core::Result;
use sqlx::{PgPool, postgres::PgListener};
use tokio::{sync::watch, task::JoinHandle};

use super::error::stored;

/// The channel of the notifications.
const CHANNEL: &str = "konstruct_ready";
/// The minimum interval between notifications of a process.
const GATHER: Duration = Duration::from_millis(5);
/// The interval of polling without notifications.
const POLL: Duration = Duration::from_secs(2);
/// The delay before listening again after the connection was lost.
const REST: Duration = Duration::from_secs(1);

/// Counts changes that may have made a conversation ready.
#[derive(Debug)]
pub(super) struct Wake {
    /// The changes of all processes.
    changes: watch::Sender<u64>,
    /// The changes of this process.
    own: watch::Sender<u64>,
    /// The value of `changes` when a claim last found nothing.
    idle: Mutex<Option<u64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Wake {
    /// Starts to listen and to notify.
    pub(super) async fn start(pool: &PgPool) -> Result<Self> {
        let (changes, own) = (watch::Sender::new(0), watch::Sender::new(0));
        let mut listener = PgListener::connect_with(pool).await.map_err(stored)?;
        listener.listen(CHANNEL).await.map_err(stored)?;
        let tasks = vec![
            tokio::spawn(listen(listener, changes.clone())),
            tokio::spawn(notify(pool.clone(), own.subscribe())),
        ];
        Ok(Self {
            changes,
            own,
            idle: Mutex::default(),
            tasks,
        })
    }

    /// Records that a conversation may have become ready.
    pub(super) fn arrived(&self) {
        self.changes.send_modify(|count| *count += 1);
        self.own.send_modify(|count| *count += 1);
    }

    /// Returns the state; read it before looking for ready conversations.
    pub(super) fn state(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Records that nothing was ready in this state.
    pub(super) fn idle(&self, state: u64) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// Waits until the state differs from the one in which nothing was ready, or for a while.
    pub(super) async fn changed(&self) {
        let mut changes = self.changes.subscribe();
        let state = *changes.borrow_and_update();
        if *self.idle.lock().unwrap_or_else(PoisonError::into_inner) != Some(state) {
            return;
        }
        // The caller looks again after a timeout too.
        let _ = tokio::time::timeout(POLL, changes.changed()).await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Counts the notifications of other processes.
async fn listen(mut listener: PgListener, changes: watch::Sender<u64>) {
    loop {
        // The listener reconnects by itself. Notifications may have been lost meanwhile, so that counts as a change.
        if let Err(error) = listener.try_recv().await {
            tracing::warn!(%error, "lost the connection for notifications; polling instead");
            tokio::time::sleep(REST).await;
        }
        changes.send_modify(|count| *count += 1);
    }
}

/// Notifies other processes of this one's changes.
async fn notify(pool: PgPool, mut own: watch::Receiver<u64>) {
    while own.changed().await.is_ok() {
        let told = sqlx::query("select pg_notify($1, '')")
            .bind(CHANNEL)
            .execute(&pool)
            .await;
        if let Err(error) = told {
            tracing::warn!(%error, "could not notify other processes; they will poll");
        }
        tokio::time::sleep(GATHER).await;
    }
}
