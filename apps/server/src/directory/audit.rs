//! The audit log: who asked for which change. Each entry contains the hash of the one before it, so that a change of the log shows.
//!
//! The key of an entry falls with its number: the newest comes first.

use std::collections::BTreeMap;

use konstruct_admin_api::{AuditEntry, AuditVerification, Role, Who};
use konstruct_core::{Clock as _, ErrorKind, Result, SystemClock, TenantId};
use konstruct_memory::{Expect, RowChange, RowStore};
use sha2::{Digest as _, Sha256};

use super::{decode, encode};

/// Migration 0006 lets nobody change the rows of this table.
const TABLE: &str = "audit";
/// The number of entries that are read at a time.
const PAGE: usize = 500;

/// What an entry says.
#[derive(Clone, Debug)]
pub(crate) struct Audited {
    pub(crate) who: Who,
    pub(crate) role: Role,
    pub(crate) operation: &'static str,
    pub(crate) target: BTreeMap<String, String>,
}

/// The audit logs of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditLog<'a> {
    rows: &'a dyn RowStore,
}

impl<'a> AuditLog<'a> {
    pub(crate) fn new(rows: &'a dyn RowStore) -> Self {
        Self { rows }
    }

    /// Appends an entry to a tenant's log, or to the operator's. Returns its number.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn append(
        self,
        tenant: Option<TenantId>,
        audited: Audited,
        refusal: Option<(u64, u16)>,
    ) -> Result<u64> {
        let mut entry = AuditEntry {
            number: 0,
            at: SystemClock.now().to_string(),
            who: audited.who,
            role: audited.role,
            operation: audited.operation.into(),
            target: audited.target,
            refusal_of: refusal.map(|(number, _)| number),
            status: refusal.map(|(_, status)| status),
            previous: String::new(),
            hash: String::new(),
        };
        loop {
            let newest = self.page(tenant, None, 1).await?.pop();
            entry.number = newest.as_ref().map_or(1, |newest| newest.number + 1);
            entry.previous = newest.map(|newest| newest.hash).unwrap_or_default();
            entry.hash = String::new();
            entry.hash = hash(&entry)?;
            let change = RowChange::put(tenant, TABLE, key(entry.number), encode(&entry)?);
            let change = change.expecting(Expect::Absent);
            if self.rows.write_rows(vec![change]).await? {
                return Ok(entry.number);
            }
        }
    }

    /// Lists entries before a number, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn page(
        self,
        tenant: Option<TenantId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        let after = before.map(key);
        let rows = self
            .rows
            .rows(tenant, TABLE, after.as_deref(), limit)
            .await?;
        rows.iter().map(|(_, bytes)| decode(bytes)).collect()
    }

    /// Checks a log.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn verify(self, tenant: Option<TenantId>) -> Result<AuditVerification> {
        let mut checked = AuditVerification {
            intact: true,
            entries: 0,
            head: String::new(),
            broken_at: None,
        };
        // The number and the hash that the next older entry must have; the number 0 is the beginning of the log.
        let mut expected: Option<(u64, String)> = None;
        let mut before = None;
        loop {
            let page = match self.page(tenant, before, PAGE).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let newest_of_page = expected.as_ref().map_or(0, |(number, _)| *number);
                    checked.broken_at.get_or_insert(newest_of_page);
                    break;
                }
                page => page?,
            };
            let Some(last) = page.last() else { break };
            before = Some(last.number);
            for mut entry in page {
                let (number, stated) = expected.unwrap_or_else(|| {
                    checked.head.clone_from(&entry.hash);
                    (entry.number, entry.hash.clone())
                });
                let found = std::mem::take(&mut entry.hash);
                if entry.number != number || found != stated || found != hash(&entry)? {
                    checked.broken_at.get_or_insert(number);
                }
                checked.entries += 1;
                expected = Some((entry.number.saturating_sub(1), entry.previous));
            }
        }
        if let Some((number, stated)) = expected
            && (number != 0 || !stated.is_empty())
        {
            checked.broken_at.get_or_insert(number);
        }
        checked.intact = checked.broken_at.is_none();
        Ok(checked)
    }
}

fn key(number: u64) -> String {
    format!("{:020}", u64::MAX - number)
}

/// Returns the hash of an entry that has none yet.
fn hash(entry: &AuditEntry) -> Result<String> {
    Ok(hex::encode(Sha256::digest(encode(entry)?)))
}
