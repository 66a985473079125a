//! Performs the jobs of tenants when they are due, in one process for all.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use konstruct_core::{Clock as _, ErrorKind, Result, SystemClock, Timestamp};
use tokio::sync::Notify;

use crate::{
    App,
    directory::{Job, Lease, Queue, Work},
    offboarding, retention,
};

/// The wait after a job failed.
const RETRY: Duration = Duration::from_secs(30);
/// The number of jobs performed at the same time.
const AT_ONCE: usize = 8;

/// The jobs of tenants that this server performs.
#[derive(Debug)]
pub(crate) struct TenantJobs {
    changed: Notify,
    /// One process performs them for all.
    lease: Lease,
}

impl TenantJobs {
    pub(crate) fn new(lease: Lease) -> Self {
        Self {
            changed: Notify::new(),
            lease,
        }
    }

    /// Looks for jobs that are due.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }
}

/// Performs the jobs that are due until `ended` is ready. A job that is interrupted is performed again.
pub(crate) async fn perform_all(app: Arc<App>, ended: impl Future<Output = ()>) {
    let performing = async {
        loop {
            let next = perform_held(&app).await.unwrap_or_else(|error| {
                tracing::error!(%error, "could not perform the jobs of tenants; trying again");
                Some(SystemClock.now() + RETRY)
            });
            let lease = async {
                // Another process may have added a job, or given the lease up.
                if app.tenant_jobs.lease.is_shared() {
                    tokio::time::sleep(Lease::RENEWED).await;
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                () = app.tenant_jobs.changed.notified() => {}
                () = due(next) => {}
                () = lease => {}
            }
        }
    };
    tokio::select! {
        () = performing => {}
        () = ended => {}
    }
    if let Err(error) = app.tenant_jobs.lease.give_up().await {
        tracing::warn!(%error, "another process can perform the jobs of tenants only after the lease of this one");
    }
}

/// Waits until a time; for ever without one.
async fn due(at: Option<Timestamp>) {
    match at {
        Some(at) => SystemClock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Performs the jobs that are due, if this process holds the lease. Returns when the next one is due.
async fn perform_held(app: &App) -> Result<Option<Timestamp>> {
    if !app.tenant_jobs.lease.take().await? {
        return Ok(None);
    }
    perform_due(app, SystemClock.now()).await
}

/// Performs the jobs that are due at a time. Returns when to look again. Two processes may perform the same job.
///
/// # Errors
/// Those of the store.
pub(crate) async fn perform_due(app: &App, now: Timestamp) -> Result<Option<Timestamp>> {
    let (due, next) = app.directory.due_jobs(Queue::Tenants, now).await?;
    let performed = stream::iter(due).map(|job| async move {
        let performed = perform(app, &job, now).await;
        if let Err(error) = &performed {
            tracing::error!(%error, tenant = %job.tenant, ?job, "a job of a tenant failed; trying again");
        }
        performed.is_ok()
    });
    let all = performed
        .buffer_unordered(AT_ONCE)
        .fold(true, async |all, one| all && one);
    let retry = (!all.await).then(|| now + RETRY);
    // A job may have planned the next one.
    let (_, planned) = app.directory.due_jobs(Queue::Tenants, now).await?;
    Ok(retry.into_iter().chain(next).chain(planned).min())
}

/// Performs a job of its tenant. A job that is outdated is only removed.
async fn perform(app: &App, job: &Job, now: Timestamp) -> Result<()> {
    let known = match app.directory.tenant(job.tenant).await {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        known => Some(known?).filter(|known| known.has(job)),
    };
    let (cancellation, retention) = known.map_or((None, None), |known| {
        (known.cancellation, known.retention.and_then(|it| it.days))
    });
    match (job.work, cancellation, retention) {
        (Work::Disconnect, Some(cancellation), _) => {
            offboarding::disconnect(app, job, cancellation, now).await
        }
        (Work::Erase, Some(_), _) => offboarding::erase(app, job.tenant).await,
        (Work::Retain, _, Some(days)) => retention::perform(app, job, days, now).await,
        // These have a queue of their own.
        (Work::Crawl(_), ..) => Ok(()),
        _ => app.directory.drop_job(job).await,
    }
}
