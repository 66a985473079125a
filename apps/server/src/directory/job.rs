//! Work that waits for its time: a row of the operator for each job, until it is done.
//!
//! Each queue is a table, whose rows are ordered by their times, so that only what is due is read, however much waits. A job is written in the transaction
//! that changes what it is about, and a process that ends while it works on one leaves its row for the next.

use konstruct_core::{Result, TenantId, Timestamp, id::WebsiteId};
use konstruct_memory::RowChange;
use serde::{Deserialize, Serialize};

use super::{ServerDirectory, decode, encode};

/// How many rows are read at a time.
const READ: usize = 64;

/// Something to do for a tenant at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) due: Timestamp,
    pub(crate) tenant: TenantId,
    pub(crate) work: Work,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// Crawls a website.
    Crawl(WebsiteId),
    /// Disconnects a cancelled tenant at the vendors.
    Disconnect,
    /// Erases a cancelled tenant.
    Erase,
    /// Erases words that are older than the tenant keeps them.
    Retain,
}

/// The jobs that one task performs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Crawls,
    Tenants,
}

impl Queue {
    fn table(self) -> &'static str {
        match self {
            Self::Crawls => "jobs",
            Self::Tenants => "tenant_jobs",
        }
    }
}

impl Job {
    /// Returns the change that adds it, or adds it again.
    pub(super) fn put(&self) -> Result<RowChange> {
        let table = self.queue().table();
        Ok(RowChange::put(None, table, self.key(), encode(self)?))
    }

    /// Returns the change that removes it.
    pub(super) fn delete(&self) -> RowChange {
        RowChange::delete(None, self.queue().table(), self.key())
    }

    fn queue(&self) -> Queue {
        match self.work {
            Work::Crawl(_) => Queue::Crawls,
            Work::Disconnect | Work::Erase | Work::Retain => Queue::Tenants,
        }
    }

    fn key(&self) -> String {
        let work = match self.work {
            Work::Crawl(of) => format!("crawl/{of}"),
            Work::Disconnect => "disconnect".into(),
            Work::Erase => "erase".into(),
            Work::Retain => "retain".into(),
        };
        format!("{}/{}/{work}", moment(self.due), self.tenant)
    }
}

/// Returns a time in the order of texts.
pub(super) fn moment(at: Timestamp) -> String {
    format!("{:020}", at.as_micros().max(0))
}

impl ServerDirectory {
    /// Lists the jobs of a queue that are due, the oldest first. Also returns when the next one is due.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn due_jobs(
        &self,
        queue: Queue,
        now: Timestamp,
    ) -> Result<(Vec<Job>, Option<Timestamp>)> {
        let (mut due, mut after) = (Vec::new(), None::<String>);
        let table = queue.table();
        loop {
            let rows = self.rows.rows(None, table, after.as_deref(), READ).await?;
            let is_last = rows.len() < READ;
            for (key, row) in rows {
                let job: Job = decode(&row)?;
                if job.due > now {
                    return Ok((due, Some(job.due)));
                }
                due.push(job);
                after = Some(key);
            }
            if is_last {
                return Ok((due, None));
            }
        }
    }

    /// Removes a job that is done, or whose subject does not exist.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn drop_job(&self, job: &Job) -> Result<()> {
        self.rows
            .delete_row(None, job.queue().table(), &job.key())
            .await
            .map(drop)
    }
}
