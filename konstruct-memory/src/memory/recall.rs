//! Questions: what is searched, and the order of what is found.

use konstruct_core::{Hit, Recall, Result, TenantId};

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

/// Finds what is relevant to a text: the hits of each scope, best first.
pub(crate) async fn recall(store: &dyn Shelf, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
    let nothing = query.scopes.iter().all(|(_, limit)| *limit == 0);
    if nothing || query.text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut session = store.session(tenant, false).await?;
    let mut shelf = session.as_deref().unwrap_or(store);
    let now = shelf.now().await?;
    if !shelf.expired(tenant, now).await?.is_empty() {
        expire(store, tenant).await?;
        session = store.session(tenant, false).await?;
        shelf = session.as_deref().unwrap_or(store);
    }
    let language = settings(shelf, tenant).await?.language;
    let mut vector = None;
    if shelf.embedding().of(language).is_some() {
        // No transaction waits for an embedder.
        drop(session);
        vector = store.embedding().question((tenant, language), &query).await;
        session = store.session(tenant, false).await?;
        shelf = session.as_deref().unwrap_or(store);
    }
    let key = shelf.tenant_key(tenant).await?;
    let seen = space::seen(shelf, &key, tenant, &query.audience).await?;
    let mut stems: Vec<[u8; 16]> = terms(language, &query.text)
        .iter()
        .map(|stem| unit::stem_hash(&key, stem))
        .collect();
    stems.sort_unstable();
    stems.dedup();
    let searches = query.scopes.iter().map(|(scope, limit)| Search {
        places: match limit {
            0 => Vec::new(),
            _ => space::places(&key, &seen, *scope),
        },
        stems: stems.clone(),
        vector: vector.clone(),
        when: query.when.as_ref().map(|when| (when.start, when.end)),
        limit: POOL.max(limit.saturating_mul(4)),
    });
    let found = shelf.search_all(tenant, searches.collect()).await?;
    let ranked = found
        .into_iter()
        .map(|candidates| rank(candidates, now).into_iter());
    shown(shelf, tenant, &query, ranked.collect()).await
}

/// Shows the best of each scope, all of them in one read; what was erased since makes room for the next.
async fn shown(
    shelf: &dyn Shelf,
    tenant: TenantId,
    query: &Recall,
    mut ranked: Vec<std::vec::IntoIter<Ranked>>,
) -> Result<Vec<Hit>> {
    let mut hits: Vec<Vec<Hit>> = vec![Vec::new(); ranked.len()];
    loop {
        let (mut next, mut of): (Vec<Ranked>, Vec<usize>) = (Vec::new(), Vec::new());
        for (at, (_, limit)) in query.scopes.iter().enumerate() {
            let wanted = limit - hits[at].len();
            let more = ranked[at].by_ref().take(wanted);
            next.extend(more);
            of.resize(next.len(), at);
        }
        if next.is_empty() {
            return Ok(hits.into_iter().flatten().collect());
        }
        for (at, hit) in of.into_iter().zip(show(shelf, tenant, &next, query).await?) {
            hits[at].extend(hit);
        }
    }
}

/// Takes out what has expired, so that it neither is found nor counts.
async fn expire(shelf: &dyn Shelf, tenant: TenantId) -> Result<()> {
    let mut tries = Tries::new(shelf, tenant);
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        plan.take_out = shelf.expired(tenant, shelf.now().await?).await?;
        if plan.take_out.is_empty() || shelf.commit(tenant, plan).await? {
            return Ok(());
        }
        tries.again().await?;
    }
}
