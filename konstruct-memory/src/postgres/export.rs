//! Exporting all that the journal keeps of a tenant, from one snapshot, a page at a time.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{Error, ErrorKind, LedgerRow, NanoUsd, Result, TenantId, turn::Exported};
use tokio::sync::mpsc;

use super::{
    Inner,
    claim::{signed, uuid},
    error::stored,
    read,
    tenant::{Mode, TenantTx},
    vault::{self, Sealed},
};
use crate::seal::TenantKey;

/// How many rows are read at a time, and how many items wait for a slow reader.
const PAGE: usize = 256;

type Items = mpsc::Sender<Result<Exported>>;

/// Streams a tenant's data. A reader that is gone ends it.
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
            // Nobody may be there to hear it.
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
        .map_err(|_| Error::new(ErrorKind::Cancelled, "nobody reads the export"))
}

async fn walk(inner: &Inner, mut tx: TenantTx, items: &Items) -> Result<()> {
    let Some(key) = inner.vault.key(&mut tx).await? else {
        return Ok(());
    };
    let mut after = None;
    loop {
        let page = read::summaries(&mut tx, &key, after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(uuid(last.id));
        for summary in page {
            let (conversation, len) = (uuid(summary.id), signed(summary.len));
            give(items, Exported::Conversation(summary)).await?;
            let mut from = 0;
            while from < len {
                let to = from + signed(PAGE as u64);
                for record in read::log(&mut tx, &key, conversation, from..to).await? {
                    give(items, Exported::Record(record)).await?;
                }
                from = to;
            }
            for item in read::inbox(&mut tx, &key, conversation).await? {
                give(items, Exported::Inbox(item)).await?;
            }
        }
    }
    ledger(&mut tx, &key, items).await?;
    let budgets: Vec<(String, i64, i64)> = sqlx::query_as(
        "select month, spent, reserved from konstruct.budgets where tenant = $1 order by month",
    )
    .bind(tx.id())
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    for (month, spent, reserved) in budgets {
        let budget = Exported::Budget {
            month,
            spent: NanoUsd(spent.cast_unsigned()),
            reserved: NanoUsd(reserved.cast_unsigned()),
        };
        give(items, budget).await?;
    }
    tx.commit().await
}

async fn ledger(tx: &mut TenantTx, key: &TenantKey, items: &Items) -> Result<()> {
    let mut after = 0;
    loop {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "select number, sealed from konstruct.ledger where tenant = $1 and number > $2 order by number limit $3",
        )
        .bind(tx.id())
        .bind(after)
        .bind(signed(PAGE as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        after = *last;
        let sealed: Vec<Sealed> = rows
            .into_iter()
            .map(|(number, sealed)| (number.to_be_bytes().to_vec(), Some(sealed)))
            .collect();
        let rows: Vec<Option<LedgerRow>> = vault::open(tx, key, "ledger", &sealed).await?;
        for row in rows.into_iter().flatten() {
            give(items, Exported::Ledger(row)).await?;
        }
    }
}
