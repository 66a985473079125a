//! How far the words of a tenant's conversations were erased because of their age.

use konstruct_core::{ConversationId, Result, TenantId};
use konstruct_memory::RowChange;
use serde::{Deserialize, Serialize};

use super::{ServerDirectory, encode};

const CURSORS: &str = "retention_cursors";
const WAITING: &str = "retention_waiting";
const KEY: &str = "feed";

/// An old record that is still needed, which is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) conversation: ConversationId,
    pub(crate) index: u64,
}

impl Waiting {
    fn key(&self) -> String {
        format!("{}/{:020}", self.conversation, self.index)
    }
}

impl ServerDirectory {
    /// Returns the cursor in the tenant's feed before which all records were looked at.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn retention_cursor(&self, tenant: TenantId) -> Result<u64> {
        let cursor = self.read(Some(tenant), CURSORS, KEY).await?;
        Ok(cursor.unwrap_or(0))
    }

    /// Moves the cursor, and adds the records before it that are still needed.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn move_retention_cursor(
        &self,
        tenant: TenantId,
        cursor: u64,
        needed: &[Waiting],
    ) -> Result<()> {
        let mut changes = vec![RowChange::put(Some(tenant), CURSORS, KEY, encode(&cursor)?)];
        for waiting in needed {
            let row = encode(waiting)?;
            changes.push(RowChange::put(Some(tenant), WAITING, waiting.key(), row));
        }
        self.rows.write_rows(changes).await.map(drop)
    }

    /// Lists old records that were still needed, in the order of their conversations.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn waiting_records(&self, tenant: TenantId) -> Result<Vec<Waiting>> {
        self.list(Some(tenant), WAITING).await
    }

    /// Removes a record that is not needed any more.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn drop_waiting_record(&self, tenant: TenantId, of: &Waiting) -> Result<()> {
        let key = of.key();
        self.rows.delete_row(Some(tenant), WAITING, &key).await?;
        Ok(())
    }
}
