//! Exports all data of a tenant except the memory, from one snapshot, a page at a time.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{
    Error, ErrorKind, Result, TenantId,
    store::{ConversationSummary, Exported},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Inner, budget,
    claim::{signed, uuid},
    error::stored,
    read,
    tenant::{Mode, TenantTx},
    vault::{KeysById, decode_text, item_row},
};
use crate::seal::TenantKey;

/// The number of rows read at a time, and of items buffered for a slow reader.
const PAGE: usize = 256;

type Items = mpsc::Sender<Result<Exported>>;

/// Streams a tenant's data, until the reader drops the stream.
pub(super) async fn export(
    inner: Arc<Inner>,
    tenant: TenantId,
) -> Result<BoxStream<'static, Result<Exported>>> {
    let tx = inner.db.tenant(tenant, Mode::Snapshot).await?;
    let (items, taken) = mpsc::channel(PAGE);
    tokio::spawn(async move {
        if let Err(error) = walk(&inner, tx, &items).await
            && error.kind() != ErrorKind::Cancelled
        {
            // The reader may be gone.
            let _ = items.send(Err(error)).await;
        }
    });
    let stream = stream::unfold(taken, async |mut taken| {
        taken.recv().await.map(|item| (item, taken))
    });
    Ok(stream.boxed())
}

async fn give(items: &Items, item: Exported) -> Result<()> {
    items
        .send(Ok(item))
        .await
        .map_err(|_| Error::new(ErrorKind::Cancelled, "the reader of the export is gone"))
}

async fn walk(inner: &Inner, mut tx: TenantTx, items: &Items) -> Result<()> {
    let Some(key) = inner.vault.key(&mut tx).await? else {
        return Ok(());
    };
    let mut after = Uuid::nil();
    loop {
        let rows: Vec<read::Head> = sqlx::query_as(
            "select c.conversation, c.connection, c.sealed, m.len, m.updated_at,
                 (select count(*) from konstruct.inbox i where i.tenant = $1 and i.conversation = c.conversation), m.state
             from konstruct.conversations c join konstruct.mailboxes m using (tenant, conversation)
             where c.tenant = $1 and c.conversation > $2 order by c.conversation limit $3",
        )
        .bind(tx.id())
        .bind(after)
        .bind(signed(PAGE as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let Some((last, ..)) = rows.last() else {
            break;
        };
        after = *last;
        for (summary, state) in read::summaries(&mut tx, &key, rows).await? {
            conversation(&mut tx, &key, items, summary, &state).await?;
        }
    }
    ledger(&mut tx, &key, items).await?;
    let budgets: Vec<budget::Row> = sqlx::query_as(
        "select scope, name, until, spent, reserved, cap, level from konstruct.budgets
         where tenant = $1 order by pruned, until, scope",
    )
    .bind(tx.id())
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    for sum in budget::opened(&key, budgets)? {
        give(items, Exported::Budget(sum)).await?;
    }
    tx.commit().await
}

async fn conversation(
    tx: &mut TenantTx,
    key: &TenantKey,
    items: &Items,
    summary: ConversationSummary,
    state: &str,
) -> Result<()> {
    let (conversation, len) = (uuid(summary.id), signed(summary.len));
    give(items, Exported::Conversation(summary)).await?;
    give(items, Exported::State(decode_text(state)?)).await?;
    let mut from = 0;
    while from < len {
        let to = from + signed(PAGE as u64);
        for record in read::log(tx, key, conversation, from..to).await? {
            give(items, Exported::Record(record).without_secrets()).await?;
        }
        from = to;
    }
    let mut after = 0;
    loop {
        let page = read::inbox(tx, key, conversation, after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = signed(last.seq);
        for item in page {
            give(items, Exported::Inbox(item).without_secrets()).await?;
        }
    }
    let open: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "select item, sealed from konstruct.items where tenant = $1 and conversation = $2 order by item",
    )
    .bind(tx.id())
    .bind(conversation)
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    for (id, sealed) in open {
        let row = item_row(conversation, &id);
        if let Some(item) = KeysById::default().open(key, ("items", &row), &sealed)? {
            give(items, Exported::Item(item)).await?;
        }
    }
    Ok(())
}

async fn ledger(tx: &mut TenantTx, key: &TenantKey, items: &Items) -> Result<()> {
    let mut after = 0;
    loop {
        let rows = budget::ledger_rows(tx, key, after, PAGE).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        after = *last;
        for (_, row) in rows {
            give(items, Exported::Ledger(row)).await?;
        }
    }
}
