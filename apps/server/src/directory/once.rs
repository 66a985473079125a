//! Requests with an `Idempotency-Key`, and their answers.

use std::time::Duration;

use konstruct_core::{Clock as _, Result, SystemClock, TenantId, Timestamp};
use konstruct_memory::{Expect, RowChange};
use serde::{Deserialize, Serialize};

use super::{ServerDirectory, decode, encode};

const TABLE: &str = "requests";
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The number of rows that a new request looks at for old ones to delete, so that at most about a quarter of the rows are old.
const SWEPT: usize = 4;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) etag: Option<String>,
    /// `None` if it is too large, or must not be kept.
    pub(crate) body: Option<String>,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is new, and this process may carry it out.
    New,
    /// Its key belongs to another request.
    Other,
    /// It is being carried out.
    Running,
    /// It was carried out.
    Answered(Answer),
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    /// The hash of the request.
    asked: String,
    /// When the row is of no more use: for a request without an answer, when it can no longer be running.
    until: Timestamp,
    answer: Option<Answer>,
}

impl ServerDirectory {
    /// Begins a request, unless it runs or was answered. `expired` is when it can no longer be running.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn begin_once(
        &self,
        tenant: Option<TenantId>,
        key: &str,
        asked: &str,
        expired: Timestamp,
    ) -> Result<Kept> {
        let row = Row {
            asked: asked.into(),
            until: expired,
            answer: None,
        };
        let row = encode(&row)?;
        loop {
            let known = self.rows.get_row(tenant, TABLE, key).await?;
            let expect = match known {
                None => Expect::Absent,
                Some(bytes) => {
                    let known: Row = decode(&bytes)?;
                    if known.until > SystemClock.now() {
                        return Ok(match known.answer {
                            _ if known.asked != asked => Kept::Other,
                            None => Kept::Running,
                            Some(answer) => Kept::Answered(answer),
                        });
                    }
                    Expect::Exact(bytes)
                }
            };
            let change = RowChange::put(tenant, TABLE, key, row.clone()).expecting(expect);
            if self.rows.write_rows(vec![change]).await? {
                self.sweep_requests(tenant, key).await?;
                return Ok(Kept::New);
            }
        }
    }

    /// Keeps the answer of a request; without one, it may be sent again.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn end_once(
        &self,
        tenant: Option<TenantId>,
        key: &str,
        asked: &str,
        answer: Option<Answer>,
    ) -> Result<()> {
        let Some(answer) = answer else {
            return self.rows.delete_row(tenant, TABLE, key).await.map(drop);
        };
        let row = Row {
            asked: asked.into(),
            until: SystemClock.now() + KEPT,
            answer: Some(answer),
        };
        self.rows.put_row(tenant, TABLE, key, &encode(&row)?).await
    }

    /// Deletes some old rows. Keys are hashes, so each new one begins at a random place.
    async fn sweep_requests(&self, tenant: Option<TenantId>, key: &str) -> Result<()> {
        let now = SystemClock.now();
        for (key, bytes) in self.rows.rows(tenant, TABLE, Some(key), SWEPT).await? {
            let row: Row = decode(&bytes)?;
            if row.until <= now {
                let change = RowChange::delete(tenant, TABLE, key).expecting(Expect::Exact(bytes));
                self.rows.write_rows(vec![change]).await?;
            }
        }
        Ok(())
    }
}
