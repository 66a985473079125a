//! Questions: what is searched, and the order of what is found.

use konstruct_core::{Hit, Recall, Result, TenantId, Timestamp};

use super::{
    rank::{Ranked, rank},
    settings::{Tries, settings},
    shelf::{Plan, Search, Shelf},
    shown::show,
    space, unit,
};
use crate::analyze::terms;

/// The second look chooses among so many passages, and more when more hits are wanted.
const POOL: usize = 64;

/// Finds what bears on a text, best first.
pub(crate) async fn recall(shelf: &dyn Shelf, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
    if query.limit == 0 || query.text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let now = shelf.now().await?;
    expire(shelf, tenant, now).await?;
    let key = shelf.tenant_key(tenant).await?;
    let places = space::places(shelf, &key, tenant, (query.audience, query.scope)).await?;
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let language = settings(shelf, tenant).await?.language;
    let mut stems: Vec<[u8; 16]> = terms(language, &query.text)
        .iter()
        .map(|stem| unit::stem_hash(&key, stem))
        .collect();
    stems.sort_unstable();
    stems.dedup();
    let search = Search {
        places,
        stems,
        vector: shelf.embedding().question((tenant, language), &query).await,
        when: query.when.as_ref().map(|when| (when.start, when.end)),
        limit: POOL.max(query.limit.saturating_mul(4)),
    };
    let candidates = shelf.search(tenant, search).await?;
    let mut hits = Vec::with_capacity(query.limit);
    let mut ranked = rank(candidates, now).into_iter();
    while hits.len() < query.limit {
        let next: Vec<Ranked> = ranked.by_ref().take(query.limit - hits.len()).collect();
        if next.is_empty() {
            break;
        }
        hits.extend(show(shelf, tenant, &next, &query).await?);
    }
    Ok(hits)
}

/// Takes out what has expired, so that it neither is found nor counts.
async fn expire(shelf: &dyn Shelf, tenant: TenantId, now: Timestamp) -> Result<()> {
    // Mostly nothing has, and this one look is all that it costs.
    if shelf.expired(tenant, now).await?.is_empty() {
        return Ok(());
    }
    let mut tries = Tries::default();
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        plan.take_out = shelf.expired(tenant, shelf.now().await?).await?;
        if plan.take_out.is_empty() || shelf.commit(tenant, plan).await? {
            return Ok(());
        }
        tries.again()?;
    }
}
