//! Exports all data of a tenant except the memory, from one snapshot.

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{ConversationId, Error, ErrorKind, Result, TenantId, store::Exported};
use tokio::sync::mpsc;

use super::{
    Inner, budget,
    head::{Head, corrupt},
    keys::{self, HEADS, INBOX, LEDGER, LOG, Table},
    log::Filter,
    snapshot::{Rows as _, Snapshot},
};

/// The number of items buffered for a slow reader.
const AHEAD: usize = 64;
/// The number of rows read at a time.
const PAGE: usize = 256;

/// Streams a tenant's data. The store stays open until the stream is dropped.
pub(super) fn export(
    inner: std::sync::Arc<Inner>,
    tenant: TenantId,
) -> Result<BoxStream<'static, Result<Exported>>> {
    let mut snapshot = inner.shared.snapshot()?;
    let (items, taken) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut give = |item| items.blocking_send(Ok(item)).map_err(|_| cancelled());
        let outcome = walk(&inner, &mut snapshot, tenant, &mut give);
        // Before the stream ends, because a reader at its end may close the store.
        drop((snapshot, inner));
        if let Err(error) = outcome
            && error.kind() != ErrorKind::Cancelled
        {
            // The reader may be gone.
            let _ = items.blocking_send(Err(error));
        }
    });
    let stream = stream::unfold(taken, async |mut taken| {
        taken.recv().await.map(|item| (item, taken))
    });
    Ok(stream.boxed())
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the reader of the export is gone")
}

fn walk(
    inner: &Inner,
    snapshot: &mut Snapshot,
    tenant: TenantId,
    give: &mut dyn FnMut(Exported) -> Result<()>,
) -> Result<()> {
    let Some(mut vault) = inner.shared.vault(snapshot, tenant)? else {
        return Ok(());
    };
    for (key, row) in snapshot.all(HEADS, tenant.as_bytes())? {
        let id = ConversationId::from_bytes(keys::id(&key, 16).ok_or_else(corrupt)?);
        let head = Head::read(&row)?;
        give(Exported::Conversation(vault.summary(snapshot, id, &head)?))?;
        give(Exported::State(head.state.clone()))?;
        let prefix = keys::conversation(tenant, id);
        pages(snapshot, LOG, &prefix, &mut |rows, key, row| {
            let mut records = Vec::new();
            vault.read_row(
                rows,
                (key, row),
                (&(0..u64::MAX), Filter::All),
                &mut records,
            )?;
            records
                .into_iter()
                .map(|record| Exported::Record(record).without_secrets())
                .try_for_each(&mut *give)
        })?;
        pages(snapshot, INBOX, &prefix, &mut |rows, key, row| {
            give(Exported::Inbox(vault.inbox_item(rows, key, row)?).without_secrets())
        })?;
        for item in vault.items(snapshot, id, &head)? {
            give(Exported::Item(item))?;
        }
    }
    pages(
        snapshot,
        LEDGER,
        tenant.as_bytes(),
        &mut |rows, key, row| match vault.open(rows, (LEDGER, key), row)? {
            Some(row) => give(Exported::Ledger(row)),
            None => Ok(()),
        },
    )?;
    for sum in budget::sums(snapshot, &mut vault, None)? {
        give(Exported::Budget(sum))?;
    }
    Ok(())
}

/// Called for each row of a page.
type Each<'a> = dyn FnMut(&mut Snapshot, &[u8], &[u8]) -> Result<()> + 'a;

/// Visits every key with a prefix, a page at a time.
fn pages(snapshot: &mut Snapshot, table: Table, prefix: &[u8], each: &mut Each<'_>) -> Result<()> {
    let (mut from, end) = (prefix.to_vec(), keys::end(prefix));
    loop {
        let page = snapshot.page(table, &from, &end, PAGE)?;
        for (key, row) in &page {
            each(snapshot, key, row)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => {
                from.clone_from(last);
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}
