//! Tenants.

use konstruct_core::{
    Clock as _, Depth, Erase, Error, ErrorKind, Result, SystemClock, TenantId, Timestamp,
};
use konstruct_memory::{Expect, RowChange, RowStore};
use serde::{Deserialize, Serialize};

use super::{Job, ServerDirectory, Work, decode, encode};

const TABLE: &str = "tenants";

/// A tenant: one business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, 1 to 100 characters.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its cancellation, if it is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// How long its conversations' words are kept, once that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// How long a tenant keeps its conversations' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// The version of the setting, from 1.
    pub version: u32,
    /// How many days they are kept; `None` for as long as the tenant.
    pub days: Option<u16>,
    /// When older words are erased next.
    pub next_at: Timestamp,
}

/// The cancellation of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// When the tenant was cancelled.
    pub at: Timestamp,
    /// When the tenant is erased.
    pub erase_at: Timestamp,
    /// When its connections are next disconnected at the vendors; `None` once nothing is left to do.
    pub disconnect_at: Option<Timestamp>,
}

impl Tenant {
    /// Returns the jobs of a tenant, which change with it.
    fn jobs(&self) -> Vec<Job> {
        let job = |due, work| Job {
            due,
            tenant: self.id,
            work,
        };
        let Some(cancellation) = self.cancellation else {
            let retention = self.retention.filter(|it| it.days.is_some());
            let retain = retention.map(|it| job(it.next_at, Work::Retain));
            return retain.into_iter().collect();
        };
        let disconnect = cancellation.disconnect_at;
        let disconnect = disconnect.map(|due| job(due, Work::Disconnect));
        let erase = job(cancellation.erase_at, Work::Erase);
        disconnect.into_iter().chain([erase]).collect()
    }

    /// Returns whether a job is one of the tenant's, and not of an earlier state of it.
    pub(crate) fn has(&self, job: &Job) -> bool {
        self.jobs().contains(job)
    }
}

/// Lists tenants after an id.
///
/// # Errors
/// Those of the store.
pub(crate) async fn tenants(
    rows: &dyn RowStore,
    after: Option<TenantId>,
    limit: usize,
) -> Result<Vec<Tenant>> {
    let after = after.map(|id| id.to_string());
    let page = rows.rows(None, TABLE, after.as_deref(), limit).await?;
    page.iter().map(|(_, bytes)| decode(bytes)).collect()
}

impl ServerDirectory {
    /// Adds a tenant.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an invalid name, and those of the store.
    pub async fn add_tenant(&self, id: TenantId, name: &str) -> Result<Tenant> {
        let name = name.trim();
        if !(1..=100).contains(&name.chars().count()) {
            return Err(Error::invalid("name", "must be 1 to 100 characters"));
        }
        let tenant = Tenant {
            id,
            name: name.into(),
            created_at: SystemClock.now(),
            cancellation: None,
            retention: None,
        };
        let change = RowChange::put(None, TABLE, id.to_string(), encode(&tenant)?);
        let change = change.expecting(Expect::Absent);
        if self.rows.write_rows(vec![change]).await? {
            Ok(tenant)
        } else {
            Err(Error::new(
                ErrorKind::Conflict,
                "id: a tenant with this id already exists",
            )
            .with_field("id"))
        }
    }

    /// Returns a tenant.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn tenant(&self, id: TenantId) -> Result<Tenant> {
        self.read(None, TABLE, &id.to_string())
            .await?
            .ok_or_else(|| Error::not_found("tenant"))
    }

    /// Changes a tenant, and with it its jobs.
    ///
    /// # Errors
    /// Those of `change`, [`ErrorKind::NotFound`], and those of the store.
    pub(crate) async fn change_tenant(
        &self,
        id: TenantId,
        change: impl Fn(&mut Tenant) -> Result<()>,
    ) -> Result<Tenant> {
        let key = id.to_string();
        loop {
            let row = self.rows.get_row(None, TABLE, &key).await?;
            let row = row.ok_or_else(|| Error::not_found("tenant"))?;
            let before: Tenant = decode(&row)?;
            let mut tenant = before.clone();
            change(&mut tenant)?;
            if tenant == before {
                return Ok(tenant);
            }
            let put = RowChange::put(None, TABLE, key.clone(), encode(&tenant)?);
            let mut changes = vec![put.expecting(Expect::Exact(row))];
            let jobs = tenant.jobs();
            let old = before.jobs().into_iter();
            let outdated = old.filter(|job| !jobs.contains(job));
            changes.extend(outdated.map(|job| job.delete()));
            for job in &jobs {
                changes.push(job.put()?);
            }
            if self.rows.write_rows(changes).await? {
                return Ok(tenant);
            }
        }
    }

    /// Returns whether a tenant is cancelled. One that does not exist is not.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn is_cancelled(&self, id: TenantId) -> Result<bool> {
        let tenant: Option<Tenant> = self.read(None, TABLE, &id.to_string()).await?;
        Ok(tenant.is_some_and(|tenant| tenant.cancellation.is_some()))
    }

    /// Lists tenants after an id, for the operator.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tenants(&self, after: Option<TenantId>, limit: usize) -> Result<Vec<Tenant>> {
        tenants(&*self.rows, after, limit).await
    }

    /// Removes a tenant with all its data. Its accounts are removed first, so that no new events arrive.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub async fn remove_tenant(&self, id: TenantId) -> Result<()> {
        let tenant = self.tenant(id).await?;
        for connection in self.connections(id).await? {
            self.disconnect(id, connection.id).await?;
        }
        self.drop_crawls_of(id).await?;
        self.forget_members(id).await?;
        self.journal
            .erase(id, Erase::Tenant, Depth::Logical)
            .await?;
        self.forget_models(id);
        // The jobs go with the tenant: after a crash before this, the one that erases it does so again.
        let jobs = tenant.jobs();
        let mut changes = vec![RowChange::delete(None, TABLE, id.to_string())];
        changes.extend(jobs.iter().map(Job::delete));
        self.rows.write_rows(changes).await.map(drop)
    }
}
