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
    memory::{self, Fed},
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
    let (fed, vectors) = (&inner.fed, &inner.vectors);
    for lane in 0..lanes.get() {
        let fed = (Arc::clone(fed), Arc::clone(vectors));
        tokio::spawn(follow(Arc::downgrade(inner), fed, lane == 0));
        tokio::spawn(embed(Arc::downgrade(inner), Arc::clone(vectors), lane == 0));
    }
}

/// Keeps the indexes of words up. The first lane also looks for what others left.
async fn follow(store: Weak<Inner>, (fed, vectors): (Arc<Fed>, Arc<Fed>), first: bool) {
    let mut after = Uuid::nil();
    loop {
        let grown = fed.next(LOOK).await;
        let Some(inner) = store.upgrade() else {
            return;
        };
        let left = match grown {
            None if first => left_behind(&inner, &mut after).await,
            grown => grown,
        };
        let Some(tenant) = left else { continue };
        if grown.is_none() && !fed.begin(tenant) {
            continue;
        }
        match memory::keep_up_some(&*inner, tenant).await {
            Ok(true) => {
                fed.interrupt(tenant, None);
                vectors.grew(tenant);
            }
            Ok(false) => {
                fed.done(tenant);
                vectors.grew(tenant);
            }
            Err(error) => fell_behind(&fed, tenant, &error),
        }
    }
}

/// Keeps vectors up with the indexes: it may take long, and fail for hours. The first lane looks at all tenants first.
async fn embed(store: Weak<Inner>, vectors: Arc<Fed>, first: bool) {
    if first
        && let Some(inner) = store.upgrade()
        && let Err(error) = all(&inner, &vectors).await
    {
        tracing::warn!(%error, "nobody knows whose texts are not embedded");
    }
    loop {
        let next = vectors.next(LOOK).await;
        let Some(inner) = store.upgrade() else {
            return;
        };
        let Some(tenant) = next else { continue };
        if !inner.embedding.is_there() {
            vectors.done(tenant);
            continue;
        }
        let place = vectors.place(tenant);
        match memory::embed_some(&*inner, tenant, place).await {
            Ok(None) => vectors.done(tenant),
            Ok(place) => vectors.interrupt(tenant, place),
            Err(error) => fell_behind(&vectors, tenant, &error),
        }
    }
}

fn fell_behind(fed: &Fed, tenant: TenantId, error: &Error) {
    let wait = fed.failed(tenant);
    tracing::warn!(%tenant, %error, ?wait, "the index fell behind");
}

/// Has every tenant looked at, for the embedder may be another than before.
async fn all(inner: &Inner, vectors: &Fed) -> Result<()> {
    if !inner.embedding.is_there() {
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
        tenants.for_each(|tenant| vectors.grew(tenant));
    }
    // Where several processes start at once, each begins elsewhere, and finds done what others did.
    vectors.begin_after(TenantId::from_bytes(seal::token()?));
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
