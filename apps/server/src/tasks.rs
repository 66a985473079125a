//! Supervises the server's tasks. A task that ends unexpectedly, for example by a panic, ends the server, and a supervisor
//! restarts it.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use konstruct_core::Error;
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
};

/// The state of the tasks, as `/readyz` reports it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    ended: Mutex<Option<String>>,
    draining: watch::Sender<bool>,
}

impl Health {
    /// Returns the task that ended unexpectedly.
    pub(crate) fn ended(&self) -> Option<String> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.clone()
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Returns whether the server drains, now and later.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }
}

/// Named tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits until a task ends unexpectedly.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn failed(&mut self, health: &Health) -> Error {
        let Some(ended) = self.running.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, how) = match ended {
            Ok((id, ())) => (id, "ended".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        let name = self.names.get(&id).copied().unwrap_or("a task");
        let mut ended = health.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended = Some(name.to_owned());
        Error::internal(format!("the task `{name}` ended unexpectedly: {how}"))
    }

    /// Waits until all tasks have ended, and aborts those that exceed the limit.
    pub(crate) async fn end(mut self, limit: Duration) {
        let all = async {
            while let Some(ended) = self.running.join_next_with_id().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a task failed during the shutdown");
                }
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(
                "aborting tasks that exceeded the shutdown limit; their work is resumed at the next start"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_named() {
        let (mut tasks, health) = (Tasks::default(), Health::default());
        tasks.spawn("other", std::future::pending());
        tasks.spawn("worker", async { panic!("on purpose") });
        let error = tasks.failed(&health).await;
        assert!(error.message().contains("`worker`"), "{error}");
        assert_eq!(health.ended().as_deref(), Some("worker"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_shutdown_waits_for_tasks_within_the_limit() {
        let (done, mut seen) = tokio::sync::oneshot::channel();
        let mut tasks = Tasks::default();
        tasks.spawn("slow", async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let _ = done.send(());
        });
        tasks.spawn("stuck", std::future::pending());
        tasks.end(Duration::from_secs(10)).await;
        assert!(seen.try_recv().is_ok());
    }
}
