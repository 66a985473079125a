//! What hits show: their texts, and what stands beside them, read in one go.

use std::{collections::HashMap, ops::Range};

use konstruct_core::{
    ConversationId, DocumentId, Hit, Recall, Result, TenantId,
    id::FactId,
    memory::{Fact, Neighbour, Signals, Source, Summary, rules},
    store::Stored,
    turn::{Said, said},
};
use serde::de::DeserializeOwned;

use super::{
    knowledge,
    rank::Ranked,
    said::after,
    settings,
    shelf::{Kind, Shelf, Wanted, What},
};

/// So many records after a message are read with it: what was said next is mostly among them, and each is to be opened.
const NEXT: u64 = 12;
/// What was said right before a message is read with it if it stands so near.
const BEFORE: u64 = 8;

/// What was read of the rows and the logs.
pub(super) struct Opened {
    rows: HashMap<(Kind, Vec<u8>), Vec<u8>>,
    logs: Vec<(ConversationId, Range<u64>, Vec<Stored>)>,
}

impl Opened {
    async fn read(shelf: &dyn Shelf, tenant: TenantId, mut wanted: Wanted) -> Result<Self> {
        wanted.rows.sort_unstable();
        wanted.rows.dedup();
        let (rows, logs) = shelf.read(tenant, &wanted).await?;
        let rows = wanted.rows.into_iter().zip(rows);
        let logs = wanted.logs.into_iter().zip(logs);
        Ok(Self {
            rows: rows.filter_map(|(key, row)| Some((key, row?))).collect(),
            logs: logs
                .map(|((conversation, range), log)| (conversation, range, log))
                .collect(),
        })
    }

    /// Returns a row that was read.
    pub(super) fn row<T: DeserializeOwned>(&self, kind: Kind, key: &[u8]) -> Result<Option<T>> {
        let row = self.rows.get(&(kind, key.to_vec()));
        row.map(|row| settings::read(row)).transpose()
    }

    /// What a record says that was read.
    fn said(&self, conversation: ConversationId, index: u64) -> Option<Said> {
        let mut logs = self.logs.iter();
        let (.., log) =
            logs.find(|(of, range, _)| *of == conversation && range.contains(&index))?;
        said(of_index(log, index)?.record.as_ref()?)
    }

    /// What was said next among the records that were read with a message; an error is where to look on.
    fn next(
        &self,
        conversation: ConversationId,
        index: u64,
    ) -> std::result::Result<Option<(u64, Said)>, u64> {
        let from = index + 1;
        let mut logs = self.logs.iter();
        let Some((_, range, log)) = logs.find(|(of, range, _)| {
            *of == conversation && range.contains(&index) && range.end > from
        }) else {
            return Err(from);
        };
        let found = log
            .iter()
            .filter(|stored| stored.index >= from)
            .find_map(|stored| Some((stored.index, said(stored.record.as_ref()?)?)));
        let whole = log.last().is_some_and(|last| last.index + 1 == range.end);
        match found {
            None if whole => Err(range.end),
            found => Ok(found),
        }
    }

    /// What stands at a place; `None` where that is gone.
    fn at(&self, source: Source) -> Result<Option<Hit>> {
        match source {
            Source::Document { id, version, chunk } => knowledge::hit(self, (id, version, chunk)),
            Source::Message {
                conversation,
                index,
            } => {
                let said = self.said(conversation, index);
                Ok(said.map(|said| rules::message(source, said)))
            }
            Source::Fact { id } => {
                let fact: Option<Fact> = self.row(Kind::Fact, id.as_bytes())?;
                Ok(fact.map(rules::fact))
            }
            Source::Summary { conversation, to } => {
                let summary: Option<Summary> = self.row(Kind::Summary, conversation.as_bytes())?;
                let summary = summary.filter(|summary| summary.to >= to);
                Ok(summary.map(|summary| rules::summary(source, summary)))
            }
            _ => Ok(None),
        }
    }
}

fn of_index(log: &[Stored], index: u64) -> Option<&Stored> {
    log.iter().find(|stored| stored.index == index)
}

/// Wants what stands at a place.
fn want(wanted: &mut Wanted, source: Source) {
    match source {
        Source::Document { id, version, chunk } => knowledge::want(wanted, (id, version, chunk)),
        Source::Message {
            conversation,
            index,
        } => {
            let end = index.saturating_add(1);
            wanted.logs.push((conversation, index..end));
        }
        Source::Fact { id } => wanted.rows.push((Kind::Fact, id.as_bytes().to_vec())),
        Source::Summary { conversation, .. } => {
            let key = conversation.as_bytes().to_vec();
            wanted.rows.push((Kind::Summary, key));
        }
        _ => {}
    }
}

/// Returns what stands at these places.
pub(crate) async fn fetch(
    shelf: &dyn Shelf,
    tenant: TenantId,
    sources: &[Source],
) -> Result<Vec<Option<Hit>>> {
    let mut wanted = Wanted::default();
    for source in sources {
        want(&mut wanted, *source);
    }
    let opened = Opened::read(shelf, tenant, wanted).await?;
    sources.iter().map(|source| opened.at(*source)).collect()
}

/// Shows what was found, in its order; `None` for what was erased since.
pub(super) async fn show(
    shelf: &dyn Shelf,
    tenant: TenantId,
    ranked: &[Ranked],
    query: &Recall,
) -> Result<Vec<Option<Hit>>> {
    let mut wanted = Wanted::default();
    for ranked in ranked {
        want_around(&mut wanted, ranked);
    }
    let opened = Opened::read(shelf, tenant, wanted).await?;
    let mut hits = Vec::with_capacity(ranked.len());
    for ranked in ranked {
        let best = &ranked.best;
        let source = source(ranked);
        let Some(mut hit) = opened.at(source)? else {
            hits.push(None);
            continue;
        };
        hit.score = rounded(ranked.score());
        hit.coverage = best.coverage;
        hit.signals = query.explain.then_some(Signals {
            lexical: best.lexical,
            terms: best.stems,
            cosine: best.cosine,
            fused: best.fused,
            context: rounded(ranked.context),
        });
        hit.neighbours = match source {
            Source::Message {
                conversation,
                index,
            } => {
                let place = (tenant, conversation);
                said_beside(shelf, &opened, place, (best.about.before, index)).await?
            }
            Source::Document { id, version, chunk } => {
                passages_beside(&opened, (id, version, chunk))?
            }
            _ => Vec::new(),
        };
        hits.push(Some(hit));
    }
    Ok(hits)
}

#[expect(clippy::cast_possible_truncation, reason = "the order is made already")]
fn rounded(score: f64) -> f32 {
    score as f32
}

fn source(ranked: &Ranked) -> Source {
    let best = &ranked.best;
    match best.about.what {
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
    }
}

/// Wants a hit and what stands beside it.
fn want_around(wanted: &mut Wanted, ranked: &Ranked) {
    match source(ranked) {
        Source::Document { id, version, chunk } => {
            for chunk in chunk.saturating_sub(1)..=chunk.saturating_add(1) {
                knowledge::want(wanted, (id, version, chunk));
            }
        }
        Source::Message {
            conversation,
            index,
        } => {
            let mut from = index;
            if let Some(before) = ranked.best.about.before {
                if (index.saturating_sub(BEFORE)..index).contains(&before) {
                    from = before;
                } else {
                    wanted.logs.push((conversation, before..before + 1));
                }
            }
            let end = index.saturating_add(1 + NEXT);
            wanted.logs.push((conversation, from..end));
        }
        other => want(wanted, other),
    }
}

async fn said_beside(
    shelf: &dyn Shelf,
    opened: &Opened,
    (tenant, conversation): (TenantId, ConversationId),
    (before, index): (Option<u64>, u64),
) -> Result<Vec<Neighbour>> {
    let mut beside = Vec::new();
    if let Some(before) = before
        && let Some(said) = opened.said(conversation, before)
    {
        beside.push((before, said));
    }
    beside.extend(match opened.next(conversation, index) {
        Ok(next) => next,
        Err(from) => after(shelf, (tenant, conversation), (index, from)).await?,
    });
    let neighbour = |(index, said): (u64, Said)| Neighbour {
        source: Source::Message {
            conversation,
            index,
        },
        text: said.text,
    };
    Ok(beside.into_iter().map(neighbour).collect())
}

fn passages_beside(
    opened: &Opened,
    (id, version, chunk): (DocumentId, u32, u32),
) -> Result<Vec<Neighbour>> {
    let mut neighbours = Vec::new();
    for chunk in chunk.checked_sub(1).into_iter().chain(chunk.checked_add(1)) {
        if let Some(hit) = knowledge::hit(opened, (id, version, chunk))? {
            neighbours.push(Neighbour {
                source: hit.source,
                text: hit.text,
            });
        }
    }
    Ok(neighbours)
}
