//! The index follows the feeds that this process adds to, and now and then those that others left behind; vectors follow the index.

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

/// How long after the last work it looks for what others left.
const LOOK: Duration = Duration::from_secs(30);
/// How many tenants are read at a time.
const PAGE: i32 = 1_000;

/// Starts the lanes that keep the indexes of words up, and as many that keep vectors up with them, until the store is gone.
///
/// A tenant has one turn at a time, and ends it after some of its work: so one whose embedder is slow, or whose index is far behind,
/// takes one lane, and the others go round among the rest.
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

/// Keeps the indexes of words up. The first lane also looks for what others left.
async fn follow(
    store: Weak<Inner>,
    (to_index, to_embed): (Arc<TenantQueue>, Arc<TenantQueue>),
    first: bool,
) {
    let mut after = Uuid::nil();
    loop {
        let grown = to_index.next(LOOK).await;
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

/// Keeps vectors up with the indexes: it may take long, and fail for hours. The first lane looks at all tenants first.
async fn embed(store: Weak<Inner>, to_embed: Arc<TenantQueue>, first: bool) {
    if first
        && let Some(inner) = store.upgrade()
        && let Err(error) = all(&inner, &to_embed).await
    {
        tracing::warn!(%error, "nobody knows whose texts are not embedded");
    }
    loop {
        let next = to_embed.next(LOOK).await;
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
    tracing::warn!(%tenant, %error, ?wait, "the index fell behind");
}

/// Has every tenant looked at, for the embedder may be another than before.
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
    // Where several processes start at once, each begins elsewhere, and finds done what others did.
    to_embed.begin_after(TenantId::from_bytes(seal::token()?));
    Ok(())
}

/// The next tenant whose index is behind its feed: its process ended, or is busy with it.
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
            tracing::warn!(%error, "nobody knows whose index is behind");
            None
        }
    }
}
