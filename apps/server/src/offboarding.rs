//! Cancelled tenants: the employee stops at once, the connections are disconnected at the vendors, and the data is erased after
//! some days, in which the cancellation can be withdrawn.
//!
//! The tenant's row says that it is cancelled, and what is still to do. The jobs are written with it, and each step can be repeated:
//! a process that ends in the middle of one leaves it for the next.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use konstruct_admin_api::{Role, Who};
use konstruct_core::{Depth, Erase, Error, ErrorKind, Result, TenantId, Timestamp};

use crate::{
    App,
    directory::{Audited, Cancellation, Disconnection, Job, Progress, Tenant, may_succeed_later},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The first and the longest wait before a vendor is asked again.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3_600);

/// Cancels a tenant, unless it is: its connections end at once, and its jobs are written.
///
/// # Errors
/// [`ErrorKind::NotFound`], and those of the store.
pub(crate) async fn cancel(app: &App, tenant: TenantId, now: Timestamp) -> Result<Tenant> {
    let days = u32::from(app.config.tenants.erase_after_days.get());
    let cancelled = app.directory.change_tenant(tenant, |tenant| {
        tenant.cancellation.get_or_insert(Cancellation {
            at: now,
            erase_at: now + DAY * days,
            disconnect_at: Some(now),
        });
        Ok(())
    });
    let cancelled = cancelled.await?;
    app.directory.cut_all(tenant, now).await?;
    app.tenant_jobs.wake();
    Ok(cancelled)
}

/// Withdraws the cancellation of a tenant. Its accounts must be connected again.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a tenant that does not exist or is not cancelled, [`ErrorKind::Conflict`] if it is being erased, and
/// those of the store.
pub(crate) async fn withdraw(app: &App, tenant: TenantId, now: Timestamp) -> Result<Tenant> {
    let withdrawn = app.directory.change_tenant(tenant, |tenant| {
        let cancellation = tenant.cancellation.take();
        let cancellation = cancellation.ok_or_else(|| Error::not_found("cancellation"))?;
        if cancellation.erase_at <= now {
            let problem =
                "the time to withdraw the cancellation is over; the tenant is being erased";
            return Err(Error::new(ErrorKind::Conflict, problem));
        }
        Ok(())
    });
    let withdrawn = withdrawn.await?;
    app.directory.drop_disconnections(tenant).await?;
    app.directory.restore_crawls_of(tenant).await?;
    app.crawls.wake();
    Ok(withdrawn)
}

/// Removes a tenant with all its data.
///
/// # Errors
/// [`ErrorKind::NotFound`], and those of the store and of the log of erasures.
pub(crate) async fn remove(app: &App, tenant: TenantId) -> Result<()> {
    let _closing = app.crawls.close(tenant).await;
    let removing = app.directory.remove_tenant(tenant);
    app.erasures
        .run(tenant, Erase::Tenant, Depth::Logical, removing)
        .await
}

/// Asks the vendors to disconnect what is connected, and plans the next request if one of them did not answer.
///
/// # Errors
/// Those of the store; the job is then left for later.
pub(crate) async fn disconnect(
    app: &App,
    job: &Job,
    of: Cancellation,
    now: Timestamp,
) -> Result<()> {
    let (directory, tenant) = (&app.directory, job.tenant);
    // The process that cancelled it may have ended before.
    directory.cut_all(tenant, of.at).await?;
    let mut next: Option<Timestamp> = None;
    for mut known in directory.disconnections(tenant).await? {
        if !known.is_waiting() {
            continue;
        }
        let wait = attempt(app, tenant, &mut known, of.erase_at, now).await;
        directory.keep_disconnection(tenant, &known).await?;
        next = wait.into_iter().chain(next).min();
    }
    let planned = directory.change_tenant(tenant, |tenant| {
        // Another process may have been faster, or the cancellation was withdrawn.
        if tenant.has(job)
            && let Some(cancellation) = &mut tenant.cancellation
        {
            cancellation.disconnect_at = next;
        }
        Ok(())
    });
    match planned.await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        planned => planned.map(drop),
    }
}

/// Asks the vendor once, and notes what it answered. Returns when to ask again.
async fn attempt(
    app: &App,
    tenant: TenantId,
    of: &mut Disconnection,
    erase_at: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let answer = app.directory.disconnect_at_vendor(tenant, of).await;
    let (connection, channel) = (of.connection, of.channel.as_str());
    of.attempts += 1;
    let error = match answer {
        Ok(progress) => {
            tracing::info!(%tenant, %connection, channel, ?progress, "a cancelled tenant is disconnected at the vendor");
            (of.progress, of.detail, of.ended_at) = (progress, None, Some(now));
            return None;
        }
        Err(error) => error,
    };
    of.detail = Some(error.to_string());
    let wait = FIRST_WAIT.saturating_mul(1 << (of.attempts - 1).min(16));
    let wait = wait.min(LONGEST_WAIT);
    let next = now + error.retry_after().unwrap_or_default().max(wait);
    if may_succeed_later(&error) && next < erase_at {
        tracing::warn!(%error, %tenant, %connection, channel, "could not disconnect a cancelled tenant at the vendor; trying again");
        return Some(next);
    }
    tracing::error!(%error, %tenant, %connection, channel, "could not disconnect a cancelled tenant at the vendor; remove the app there");
    (of.progress, of.ended_at) = (Progress::Failed, Some(now));
    None
}

/// Erases a tenant, after the operator's audit log names it.
///
/// # Errors
/// Those of the store and of the log of erasures; the job is then left for later.
pub(crate) async fn erase(app: &App, tenant: TenantId) -> Result<()> {
    let audited = Audited {
        who: Who::Schedule,
        role: Role::Operator,
        operation: "removeTenant",
        target: BTreeMap::from([("tenant".to_owned(), tenant.to_string())]),
    };
    app.directory
        .audit_log()
        .append(None, audited, None)
        .await?;
    tracing::info!(%tenant, "erasing a cancelled tenant");
    match remove(app, tenant).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
