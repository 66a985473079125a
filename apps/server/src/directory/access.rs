//! Ending access: of everybody, and of the operator when the operator's token changes.

use konstruct_core::{Result, Secret, TenantId};

use super::{Principal, ServerDirectory};

/// The tables of the operator whose rows let somebody in.
const TABLES: [&str; 3] = ["sessions", "one_time_codes", "device_codes"];
const INVITATIONS: &str = "invitations";
/// What the operator's token was at the last start, as a keyed hash.
const SEEN: &str = "operator_token";
const KEY: &str = "hash";
/// How many rows are read at a time.
const READ: usize = 200;

impl ServerDirectory {
    /// Ends all sessions, codes and invitations.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn end_all_access(&self) -> Result<()> {
        for table in TABLES {
            self.delete_rows(None, table).await?;
        }
        let mut after = None;
        loop {
            let page = self.tenants(after, READ).await?;
            for tenant in &page {
                self.delete_rows(Some(tenant.id), INVITATIONS).await?;
            }
            match page.last() {
                Some(last) if page.len() == READ => after = Some(last.id),
                _ => return Ok(()),
            }
        }
    }

    async fn delete_rows(&self, tenant: Option<TenantId>, table: &str) -> Result<()> {
        loop {
            let rows = self.rows.rows(tenant, table, None, READ).await?;
            let is_last = rows.len() < READ;
            for (key, _) in rows {
                self.rows.delete_row(tenant, table, &key).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Ends the operator's sessions and codes if the operator's token is another one than at the last start: whoever knew the old
    /// one may have started them.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn note_operator_token(&self, token: &Secret) -> Result<()> {
        let hash = self.keyed_hash(token.expose()).await?.into_bytes();
        let seen = self.rows.get_row(None, SEEN, KEY).await?;
        if seen.as_ref() == Some(&hash) {
            return Ok(());
        }
        if seen.is_some() {
            self.end_sessions(&Principal::Operator, None).await?;
            self.end_codes(&Principal::Operator).await?;
        }
        // Written last: after a crash in between, the next start ends them.
        self.rows.put_row(None, SEEN, KEY, &hash).await
    }
}
