//! Background lanes that index the feeds of this process, now and then those that other processes left behind, and embed what is
//! indexed.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Weak},
    time::Duration,
};

use konstruct_core::{Error, Result, TenantId};
use uuid::Uuid;

use super::super::{Inner, error::stored};
use crate::{
    memory::{self, TenantQueue},
    seal,
};

/// The idle time after which the first lane looks for feeds that others left behind.
const POLL: Duration = Duration::from_secs(30);
/// The number of tenants read at a time.
const PAGE: i32 = 1_000;

/// Starts the lanes for indexing, and as many for embedding. They run until the store is dropped.
///
/// A tenant has one turn at a time, and ends it after a part of its work. A tenant with a slow embedder, or with much to index,
/// occupies one lane while the other lanes serve the other tenants.
pub(in crate::postgres) fn start(inner: &Arc<Inner>, lanes: NonZeroUsize) {
    let (to_index, to_embed) = (&inner.to_index, &inner.to_embed);
    for lane in 0..lanes.get() {
        let queues = (Arc::clone(to_index), Arc::clone(to_embed));
        tokio::spawn(follow(Arc::downgrade(inner), queues, lane == 0));
        tokio::spawn(embed(
            Arc::downgrade(inner),
            Arc::clone(to_embed),
            lane == 0,
        ));
    }
}

/// Indexes the feeds of queued tenants. The first lane also looks for feeds that others left behind.
async fn follow(
    store: Weak<Inner>,
    (to_index, to_embed): (Arc<TenantQueue>, Arc<TenantQueue>),
    first: bool,
) {
    let mut after = Uuid::nil();
    loop {
        let grown = to_index.next(POLL).await;
        let Some(inner) = store.upgrade() else {
            return;
        };
        let left = match grown {
            None if first => left_behind(&inner, &mut after).await,
            grown => grown,
        };
        let Some(tenant) = left else { continue };
        if grown.is_none() && !to_index.begin(tenant) {
            continue;
        }
        match memory::keep_up_some(&*inner, tenant).await {
            Ok(true) => {
                to_index.requeue(tenant, None);
                to_embed.notify(tenant);
            }
            Ok(false) => {
                to_index.done(tenant);
                to_embed.notify(tenant);
            }
            Err(error) => fell_behind(&to_index, tenant, &error),
        }
    }
}

/// Embeds the indexed units of queued tenants. This may take long or fail for hours. The first lane begins by queueing all
/// tenants.
async fn embed(store: Weak<Inner>, to_embed: Arc<TenantQueue>, first: bool) {
    if first
        && let Some(inner) = store.upgrade()
        && let Err(error) = all(&inner, &to_embed).await
    {
        tracing::warn!(%error, "could not list the tenants for embedding");
    }
    loop {
        let next = to_embed.next(POLL).await;
        let Some(inner) = store.upgrade() else {
            return;
        };
        let Some(tenant) = next else { continue };
        if !inner.embedder.is_configured() {
            to_embed.done(tenant);
            continue;
        }
        let place = to_embed.resume_after(tenant);
        match memory::embed_some(&*inner, tenant, place).await {
            Ok(None) => to_embed.done(tenant),
            Ok(place) => to_embed.requeue(tenant, place),
            Err(error) => fell_behind(&to_embed, tenant, &error),
        }
    }
}

fn fell_behind(queue: &TenantQueue, tenant: TenantId, error: &Error) {
    let wait = queue.failed(tenant);
    tracing::warn!(%tenant, %error, ?wait, "could not update the index; it will be retried");
}

/// Queues every tenant, because the embedder may have changed.
async fn all(inner: &Inner, to_embed: &TenantQueue) -> Result<()> {
    if !inner.embedder.is_configured() {
        return Ok(());
    }
    let mut after = Uuid::nil();
    loop {
        let page: Vec<Uuid> = sqlx::query_scalar("select konstruct.tenants($1, $2)")
            .bind(after)
            .bind(PAGE)
            .fetch_all(&inner.db.pool)
            .await
            .map_err(stored)?;
        let Some(last) = page.last() else {
            break;
        };
        after = *last;
        let tenants = page.iter().map(|it| TenantId::from_bytes(*it.as_bytes()));
        tenants.for_each(|tenant| to_embed.notify(tenant));
    }
    // Each of several starting processes begins at a random tenant, and skips what the others have done.
    to_embed.begin_after(TenantId::from_bytes(seal::token()?));
    Ok(())
}

/// Returns the next tenant whose index is behind its feed: its process ended, or is busy with it.
async fn left_behind(inner: &Inner, after: &mut Uuid) -> Option<TenantId> {
    let found: std::result::Result<Option<Uuid>, _> =
        sqlx::query_scalar("select konstruct.behind($1, 1)")
            .bind(*after)
            .fetch_optional(&inner.db.pool)
            .await;
    match found {
        Ok(found) => {
            *after = found.unwrap_or(Uuid::nil());
            found.map(|tenant| TenantId::from_bytes(*tenant.as_bytes()))
        }
        Err(error) => {
            tracing::warn!(%error, "could not read which tenants' indexes are behind");
            None
        }
    }
}
