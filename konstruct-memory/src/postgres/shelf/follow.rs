//! The index follows the feeds that this process adds to, and now and then those that others left behind; vectors follow the index.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use konstruct_core::{Error, Result, TenantId};
use uuid::Uuid;

use super::super::{Inner, error::stored, fed::Fed};
use crate::{memory, seal};

/// How long after the last work it looks for what others left.
const LOOK: Duration = Duration::from_secs(30);
/// How many tenants are read at a time.
const PAGE: i32 = 1_000;

/// Keeps the indexes of words up until the store is gone.
pub(in crate::postgres) async fn follow(store: Weak<Inner>, (fed, vectors): (Arc<Fed>, Arc<Fed>)) {
    let mut after = Uuid::nil();
    loop {
        let grown = fed.next(LOOK).await;
        let Some(inner) = store.upgrade() else {
            return;
        };
        let left = match grown {
            Some(tenant) => Some(tenant),
            None => left_behind(&inner, &mut after).await,
        };
        let Some(tenant) = left else { continue };
        match memory::keep_up(&*inner, tenant).await {
            Ok(()) => {
                fed.turns().done(tenant);
                vectors.grew(tenant);
            }
            Err(error) => fell_behind(&fed, tenant, &error),
        }
    }
}

/// Keeps vectors up with the indexes until the store is gone: it may take long, and fail for hours.
pub(in crate::postgres) async fn embed(store: Weak<Inner>, vectors: Arc<Fed>) {
    if let Some(inner) = store.upgrade()
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
            vectors.turns().done(tenant);
            continue;
        }
        match memory::embed(&*inner, tenant).await {
            Ok(()) => vectors.turns().done(tenant),
            Err(error) => fell_behind(&vectors, tenant, &error),
        }
    }
}

fn fell_behind(fed: &Fed, tenant: TenantId, error: &Error) {
    let wait = fed.turns().failed(tenant, Instant::now());
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
    vectors
        .turns()
        .begin_after(TenantId::from_bytes(seal::token()?));
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
