//! The command `verify-audit`.

use konstruct_admin_api::{AuditVerification, Client};
use konstruct_core::{ErrorKind, Result, TenantId};
use konstruct_memory::RowStore;

use crate::{
    backup::running_server,
    config::Config,
    directory::{AuditLog, tenants},
    store::Stores,
};

/// Where the logs are.
enum Logs {
    Store(Stores),
    /// A running server holds the embedded store for itself.
    Server(Client),
}

/// Checks the audit logs of the operator and of all tenants, and shows a line for each. Returns the number of those that were changed.
///
/// # Errors
/// Those of the store, or of the running server that is asked instead, and of `show`.
pub async fn verify_audit(
    config: &Config,
    show: &mut (dyn FnMut(String) -> Result<()> + Send),
) -> Result<usize> {
    let logs = match Stores::open(config, None).await {
        Ok(stores) => Logs::Store(stores),
        Err(error) if error.kind() == ErrorKind::Conflict => Logs::Server(running_server(config)?),
        Err(error) => return Err(error),
    };
    let mut broken = 0;
    let mut after: Option<TenantId> = None;
    let mut checked = |of: String, result: AuditVerification| {
        let AuditVerification { entries, head, .. } = result;
        show(match result.broken_at {
            None if entries == 0 => format!("{of}: empty"),
            None => format!("{of}: intact up to entry {entries}, hash {head}"),
            Some(entry) => {
                broken += 1;
                format!("{of}: entry {entry} was changed or removed")
            }
        })
    };
    checked("operator".into(), logs.verify(None).await?)?;
    loop {
        let page = logs.tenants(after).await?;
        let Some(last) = page.last() else {
            return Ok(broken);
        };
        after = Some(*last);
        for tenant in page {
            let result = logs.verify(Some(tenant)).await?;
            checked(format!("tenant {tenant}"), result)?;
        }
    }
}

impl Logs {
    async fn verify(&self, tenant: Option<TenantId>) -> Result<AuditVerification> {
        match (self, tenant) {
            (Self::Store(stores), _) => AuditLog::new(&*stores.rows).verify(tenant).await,
            (Self::Server(client), None) => client.verify_operator_audit().await,
            (Self::Server(client), Some(tenant)) => client.verify_audit(tenant).await,
        }
    }

    /// Lists some tenants after the given one.
    async fn tenants(&self, after: Option<TenantId>) -> Result<Vec<TenantId>> {
        match self {
            Self::Store(stores) => {
                let rows: &dyn RowStore = &*stores.rows;
                let page = tenants(rows, after, 200).await?;
                Ok(page.into_iter().map(|tenant| tenant.id).collect())
            }
            Self::Server(client) => {
                let after = after.map(|after| after.to_string());
                let page = client.tenants(after.as_deref()).await?;
                Ok(page.items.into_iter().map(|tenant| tenant.id).collect())
            }
        }
    }
}
