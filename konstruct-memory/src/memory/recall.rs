//! Recall: what is searched, and the order of the hits.

use konstruct_core::{
    Hit, Recall, Result, TenantId,
    memory::{Language, Scope},
    text::question_words,
};

use super::{
    backend::{MemoryBackend, Plan, Search, WordStem},
    hits::load,
    rank::{Ranked, rank},
    relevance::rerank,
    settings::{Retries, settings},
    space, unit,
};
use crate::seal::TenantKey;

/// The number of passages that are re-ranked. It grows with the number of requested hits.
const POOL: usize = 64;

/// Finds what is relevant to a text. Returns the hits of each scope, best first.
pub(crate) async fn recall(
    store: &dyn MemoryBackend,
    tenant: TenantId,
    query: Recall,
) -> Result<Vec<Hit>> {
    let nothing = query.scopes.iter().all(|(_, limit)| *limit == 0);
    if nothing || query.text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut session = store.session(tenant, false).await?;
    let mut backend = session.as_deref().unwrap_or(store);
    let now = backend.now().await?;
    if !backend.expired(tenant, now).await?.is_empty() {
        expire(store, tenant).await?;
        session = store.session(tenant, false).await?;
        backend = session.as_deref().unwrap_or(store);
    }
    let language = settings(backend, tenant).await?.language;
    let mut vector = None;
    if backend.embedder().for_language(language).is_some() {
        // Do not hold a transaction open while waiting for the embedder.
        drop(session);
        vector = store.embedder().question((tenant, language), &query).await;
        session = store.session(tenant, false).await?;
        backend = session.as_deref().unwrap_or(store);
    }
    let key = backend.tenant_key(tenant).await?;
    let seen = space::visible_to(backend, &key, tenant, &query.audience).await?;
    let stems = stems(&key, language, &query.text);
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
    let found = backend.search_all(tenant, searches.collect()).await?;
    let mut ranked = Vec::with_capacity(found.len());
    for (candidates, (scope, limit)) in found.into_iter().zip(&query.scopes) {
        let mut best = rank(candidates, now);
        let embedder = backend.embedder().for_language(language);
        if *scope == Scope::KNOWLEDGE
            && let Some(embedder) = embedder.filter(|it| it.embeds_words())
        {
            let place = (tenant, language);
            best = rerank(backend, place, embedder, (&query, *limit), best).await?;
        }
        ranked.push(best.into_iter());
    }
    load_hits(backend, tenant, &query, ranked).await
}

/// Returns the stems of a question.
fn stems(key: &TenantKey, language: Language, question: &str) -> Vec<WordStem> {
    let mut stems: Vec<WordStem> = Vec::new();
    for (word, of) in question_words(language, question).into_iter().enumerate() {
        for term in of.terms {
            let hash = unit::stem_hash(key, &term);
            if stems.iter().all(|known| known.hash != hash) {
                stems.push(WordStem { word, hash });
            }
        }
    }
    stems
}

/// Loads the best hits of each scope in one read. Hits that were erased meanwhile are replaced by the next.
async fn load_hits(
    backend: &dyn MemoryBackend,
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
        for (at, hit) in of
            .into_iter()
            .zip(load(backend, tenant, &next, query).await?)
        {
            hits[at].extend(hit);
        }
    }
}

/// Removes expired units, so that they are neither found nor counted.
async fn expire(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<()> {
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        plan.remove_units = backend.expired(tenant, backend.now().await?).await?;
        if plan.remove_units.is_empty() || backend.commit(tenant, plan).await? {
            return Ok(());
        }
        tries.again().await?;
    }
}
