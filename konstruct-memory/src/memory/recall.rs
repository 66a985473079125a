//! Questions: what is searched, and what a hit shows.

use futures_util::future::try_join_all;
use konstruct_core::{
    ConversationId, DocumentId, EmbedKind, Fact, FactId, Hit, Language, Neighbour, PersonId,
    Recall, Result, Signals, Source, Summary, TenantId, turn::Said,
};

use super::{
    follow::{embedder_key, embedder_of, unit_length},
    knowledge,
    rank::{Ranked, rank},
    said,
    settings::{Tries, row, settings},
    shelf::{EmbedderKey, Kind, Plan, Search, Shelf, What},
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
    expire(shelf, tenant).await?;
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
        vector: question(shelf, language, &query.text).await,
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
        // All at once: a store that is far away is waited for once. What was erased since it was found is left out.
        let shown = next.iter().map(|ranked| hit(shelf, tenant, ranked, &query));
        hits.extend(try_join_all(shown).await?.into_iter().flatten());
    }
    Ok(hits)
}

/// Takes out what has expired, so that it neither is found nor counts.
async fn expire(shelf: &dyn Shelf, tenant: TenantId) -> Result<()> {
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

/// The question's vector. Without one, what is found by its words is found.
async fn question(
    shelf: &dyn Shelf,
    language: Language,
    text: &str,
) -> Option<(EmbedderKey, Vec<f32>)> {
    let embedder = embedder_of(shelf, language)?;
    match embedder.embed(EmbedKind::Query, &[text]).await {
        Ok(vectors) => {
            let vector = vectors
                .into_iter()
                .next()
                .filter(|vector| vector.len() == embedder.dim())?;
            Some((embedder_key(&*embedder), unit_length(vector)))
        }
        Err(error) => {
            tracing::warn!(%error, "a question was searched by its words alone");
            None
        }
    }
}

async fn hit(
    shelf: &dyn Shelf,
    tenant: TenantId,
    ranked: &Ranked,
    query: &Recall,
) -> Result<Option<Hit>> {
    let best = &ranked.best;
    let source = match best.about.what {
        What::Knowledge => Source::Document {
            id: DocumentId::from_bytes(best.unit.item),
            version: best.about.version,
            chunk: best.passage,
        },
        What::Fact => Source::Fact {
            id: FactId::from_bytes(best.unit.item),
        },
        What::History => Source::Message {
            conversation: ConversationId::from_bytes(best.unit.group.0),
            index: best.unit.index(),
        },
    };
    let Some(mut hit) = at(shelf, tenant, source).await? else {
        return Ok(None);
    };
    hit.score = ranked.score();
    hit.coverage = best.coverage;
    hit.signals = query.explain.then_some(Signals {
        lexical: best.lexical,
        terms: best.stems,
        cosine: best.cosine,
        fused: best.fused,
        context: ranked.context,
    });
    hit.neighbours = neighbours(shelf, tenant, source, best.about.before).await?;
    Ok(Some(hit))
}

async fn neighbours(
    shelf: &dyn Shelf,
    tenant: TenantId,
    source: Source,
    before: Option<u64>,
) -> Result<Vec<Neighbour>> {
    match source {
        Source::Message {
            conversation,
            index,
        } => {
            let place = (tenant, conversation);
            let mut beside = Vec::new();
            if let Some(before) = before
                && let Some(said) = said::at(shelf, place, before).await?
            {
                beside.push((before, said));
            }
            beside.extend(said::after(shelf, place, index).await?);
            let neighbour = |(index, said): (u64, Said)| Neighbour {
                source: Source::Message {
                    conversation,
                    index,
                },
                text: said.text,
            };
            Ok(beside.into_iter().map(neighbour).collect())
        }
        Source::Document { id, version, chunk } => {
            let mut neighbours = Vec::new();
            for chunk in chunk.checked_sub(1).into_iter().chain([chunk + 1]) {
                let source = Source::Document { id, version, chunk };
                if let Some(hit) = knowledge::hit(shelf, tenant, (id, version, chunk)).await? {
                    neighbours.push(Neighbour {
                        source,
                        text: hit.text,
                    });
                }
            }
            Ok(neighbours)
        }
        _ => Ok(Vec::new()),
    }
}

/// Returns what stands at these places.
pub(crate) async fn fetch(
    shelf: &dyn Shelf,
    tenant: TenantId,
    sources: &[Source],
) -> Result<Vec<Option<Hit>>> {
    let mut hits = Vec::with_capacity(sources.len());
    for source in sources {
        hits.push(at(shelf, tenant, *source).await?);
    }
    Ok(hits)
}

async fn at(shelf: &dyn Shelf, tenant: TenantId, source: Source) -> Result<Option<Hit>> {
    match source {
        Source::Document { id, version, chunk } => {
            knowledge::hit(shelf, tenant, (id, version, chunk)).await
        }
        Source::Message {
            conversation,
            index,
        } => {
            let said = said::at(shelf, (tenant, conversation), index).await?;
            Ok(said.map(|said| Hit {
                name: said.name,
                said_by: Some(said.by),
                persons: persons(said.persons),
                ..Hit::new(source, said.text, said.at)
            }))
        }
        Source::Fact { id } => {
            let fact: Option<Fact> = row(shelf, tenant, Kind::Fact, id.as_bytes()).await?;
            Ok(fact.map(|fact| Hit {
                persons: fact.persons,
                learned_from: fact
                    .sources
                    .iter()
                    .map(|quote| Source::Message {
                        conversation: quote.conversation,
                        index: quote.index,
                    })
                    .collect(),
                ..Hit::new(source, fact.text, fact.known_from)
            }))
        }
        Source::Summary { conversation, to } => {
            let id = conversation.as_bytes();
            let summary: Option<Summary> = row(shelf, tenant, Kind::Summary, id).await?;
            let summary = summary.filter(|summary| summary.to >= to);
            Ok(summary.map(|summary| Hit {
                persons: summary.persons,
                ..Hit::new(source, summary.text, summary.made_at)
            }))
        }
        _ => Ok(None),
    }
}

fn persons(persons: std::collections::BTreeSet<PersonId>) -> Vec<PersonId> {
    persons.into_iter().collect()
}
