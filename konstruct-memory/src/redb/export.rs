//! Exporting all that the journal keeps of a tenant, from one snapshot.

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{ConversationId, Error, ErrorKind, Result, TenantId, turn::Exported};
use tokio::sync::mpsc;

use super::{
    Inner,
    budget::{self, Budget},
    head::{corrupt, decode},
    keys::{self, BUDGETS, HEADS, INBOX, LEDGER, LOG},
    snapshot::{Rows as _, Snapshot},
};

/// How many items wait for a slow reader.
const AHEAD: usize = 64;

/// Streams a tenant's data. The store stays open until the stream is gone.
pub(super) fn export(
    inner: std::sync::Arc<Inner>,
    tenant: TenantId,
) -> Result<BoxStream<'static, Result<Exported>>> {
    let mut snapshot = inner.shared.snapshot()?;
    let (items, taken) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut give = |item| items.blocking_send(Ok(item)).map_err(|_| cancelled());
        let outcome = walk(&inner, &mut snapshot, tenant, &mut give);
        // Before the stream ends: whoever has read it to its end may close the store.
        drop((snapshot, inner));
        if let Err(error) = outcome
            && error.kind() != ErrorKind::Cancelled
        {
            // Nobody may be there to hear it.
            let _ = items.blocking_send(Err(error));
        }
    });
    let stream = stream::unfold(taken, async |mut taken| {
        taken.recv().await.map(|item| (item, taken))
    });
    Ok(stream.boxed())
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "nobody reads the export")
}

fn walk(
    inner: &Inner,
    snapshot: &mut Snapshot,
    tenant: TenantId,
    give: &mut dyn FnMut(Exported) -> Result<()>,
) -> Result<()> {
    let shared = &inner.shared;
    let mut heads = Vec::new();
    snapshot.scan_prefix(HEADS, tenant.as_bytes(), &mut |key, row| {
        let id = keys::id(key, 16).ok_or_else(corrupt)?;
        heads.push((ConversationId::from_bytes(id), decode(row)?));
        Ok(())
    })?;
    for (id, head) in heads {
        give(Exported::Conversation(
            shared.summary(snapshot, tenant, id, &head)?,
        ))?;
        let prefix = keys::conversation(tenant, id);
        snapshot.scan_prefix(LOG, &prefix, &mut |key, row| {
            give(Exported::Record(shared.log_record(tenant, key, row)?))
        })?;
        snapshot.scan_prefix(INBOX, &prefix, &mut |key, row| {
            give(Exported::Inbox(shared.inbox_item(tenant, key, row)?))
        })?;
    }
    snapshot.scan_prefix(
        LEDGER,
        tenant.as_bytes(),
        &mut |key, row| match shared.unseal(tenant, (LEDGER, key), row)? {
            Some(row) => give(Exported::Ledger(row)),
            None => Ok(()),
        },
    )?;
    snapshot.scan_prefix(BUDGETS, tenant.as_bytes(), &mut |key, row| {
        let Budget { spent, reserved } = Budget::read(row)?;
        give(Exported::Budget {
            month: budget::month_name(budget::month_of_key(key)?),
            spent,
            reserved,
        })
    })
}
