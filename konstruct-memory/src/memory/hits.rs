//! Loads hits: their texts and neighbours, in one read.

use std::{collections::HashMap, ops::Range};

use konstruct_core::{
    ConversationId, DocumentId, Hit, Recall, Result, TenantId,
    id::FactId,
    memory::{Fact, Neighbour, Signals, Source, Summary, rules},
    store::Stored,
    turn::{SpokenMessage, spoken_message},
};
use serde::de::DeserializeOwned;

use super::{
    backend::{MemoryBackend, ReadRequest, RowKind, UnitKind},
    knowledge,
    messages::after,
    rank::Ranked,
    settings,
};

/// The number of records that are read after a message. The next message is usually among them, and each must be decrypted.
const NEXT: u64 = 12;
/// The previous message is read together with a message if it is at most this far away.
const BEFORE: u64 = 8;

/// The rows and logs that were read.
pub(super) struct Fetched {
    rows: HashMap<(RowKind, Vec<u8>), Vec<u8>>,
    logs: Vec<(ConversationId, Range<u64>, Vec<Stored>)>,
}

impl Fetched {
    async fn read(
        backend: &dyn MemoryBackend,
        tenant: TenantId,
        mut wanted: ReadRequest,
    ) -> Result<Self> {
        wanted.rows.sort_unstable();
        wanted.rows.dedup();
        let (rows, logs) = backend.read(tenant, &wanted).await?;
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
    pub(super) fn row<T: DeserializeOwned>(&self, kind: RowKind, key: &[u8]) -> Result<Option<T>> {
        let row = self.rows.get(&(kind, key.to_vec()));
        row.map(|row| settings::read(row)).transpose()
    }

    /// Returns the message of a record that was read.
    fn said(&self, conversation: ConversationId, index: u64) -> Option<SpokenMessage> {
        let mut logs = self.logs.iter();
        let (.., log) =
            logs.find(|(of, range, _)| *of == conversation && range.contains(&index))?;
        spoken_message(record_at(log, index)?.record.as_ref()?)
    }

    /// Returns the next message among the records that were read with a message. An error is the index at which to continue.
    fn next(
        &self,
        conversation: ConversationId,
        index: u64,
    ) -> std::result::Result<Option<(u64, SpokenMessage)>, u64> {
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
            .find_map(|stored| Some((stored.index, spoken_message(stored.record.as_ref()?)?)));
        let whole = log.last().is_some_and(|last| last.index + 1 == range.end);
        match found {
            None if whole => Err(range.end),
            found => Ok(found),
        }
    }

    /// Returns the hit for a source; `None` if it is gone.
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
                let fact: Option<Fact> = self.row(RowKind::Fact, id.as_bytes())?;
                Ok(fact.map(rules::fact))
            }
            Source::Summary { conversation, to } => {
                let summary: Option<Summary> =
                    self.row(RowKind::Summary, conversation.as_bytes())?;
                let summary = summary.filter(|summary| summary.to >= to);
                Ok(summary.map(|summary| rules::summary(source, summary)))
            }
            _ => Ok(None),
        }
    }
}

fn record_at(log: &[Stored], index: u64) -> Option<&Stored> {
    log.iter().find(|stored| stored.index == index)
}

/// Requests the content of a source.
fn request(wanted: &mut ReadRequest, source: Source) {
    match source {
        Source::Document { id, version, chunk } => knowledge::request(wanted, (id, version, chunk)),
        Source::Message {
            conversation,
            index,
        } => {
            let end = index.saturating_add(1);
            wanted.logs.push((conversation, index..end));
        }
        Source::Fact { id } => wanted.rows.push((RowKind::Fact, id.as_bytes().to_vec())),
        Source::Summary { conversation, .. } => {
            let key = conversation.as_bytes().to_vec();
            wanted.rows.push((RowKind::Summary, key));
        }
        _ => {}
    }
}

/// Returns the content of these sources.
pub(crate) async fn fetch(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    sources: &[Source],
) -> Result<Vec<Option<Hit>>> {
    let mut wanted = ReadRequest::default();
    for source in sources {
        request(&mut wanted, *source);
    }
    let fetched = Fetched::read(backend, tenant, wanted).await?;
    sources.iter().map(|source| fetched.at(*source)).collect()
}

/// Loads hits in the given order; `None` for content that was erased meanwhile.
pub(super) async fn load(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    ranked: &[Ranked],
    query: &Recall,
) -> Result<Vec<Option<Hit>>> {
    let mut wanted = ReadRequest::default();
    for ranked in ranked {
        request_with_neighbours(&mut wanted, ranked);
    }
    let fetched = Fetched::read(backend, tenant, wanted).await?;
    let mut hits = Vec::with_capacity(ranked.len());
    for ranked in ranked {
        let best = &ranked.best;
        let source = source(ranked);
        let Some(mut hit) = fetched.at(source)? else {
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
                message_neighbours(backend, &fetched, place, (best.about.before, index)).await?
            }
            Source::Document { id, version, chunk } => {
                passage_neighbours(&fetched, (id, version, chunk))?
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

pub(super) fn source(ranked: &Ranked) -> Source {
    let best = &ranked.best;
    match best.about.what {
        UnitKind::Knowledge => Source::Document {
            id: DocumentId::from_bytes(best.unit.item),
            version: best.about.version,
            chunk: best.passage,
        },
        UnitKind::Fact => Source::Fact {
            id: FactId::from_bytes(best.unit.item),
        },
        UnitKind::History => Source::Message {
            conversation: ConversationId::from_bytes(best.unit.group.0),
            index: best.unit.index(),
        },
    }
}

/// Requests a hit and its neighbours.
fn request_with_neighbours(wanted: &mut ReadRequest, ranked: &Ranked) {
    match source(ranked) {
        Source::Document { id, version, chunk } => {
            for chunk in chunk.saturating_sub(1)..=chunk.saturating_add(1) {
                knowledge::request(wanted, (id, version, chunk));
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
        other => request(wanted, other),
    }
}

async fn message_neighbours(
    backend: &dyn MemoryBackend,
    fetched: &Fetched,
    (tenant, conversation): (TenantId, ConversationId),
    (before, index): (Option<u64>, u64),
) -> Result<Vec<Neighbour>> {
    let mut beside = Vec::new();
    if let Some(before) = before
        && let Some(said) = fetched.said(conversation, before)
    {
        beside.push((before, said));
    }
    beside.extend(match fetched.next(conversation, index) {
        Ok(next) => next,
        Err(from) => after(backend, (tenant, conversation), (index, from)).await?,
    });
    let neighbour = |(index, said): (u64, SpokenMessage)| Neighbour {
        source: Source::Message {
            conversation,
            index,
        },
        text: said.text,
    };
    Ok(beside.into_iter().map(neighbour).collect())
}

fn passage_neighbours(
    fetched: &Fetched,
    (id, version, chunk): (DocumentId, u32, u32),
) -> Result<Vec<Neighbour>> {
    let mut neighbours = Vec::new();
    for chunk in chunk.checked_sub(1).into_iter().chain(chunk.checked_add(1)) {
        if let Some(hit) = knowledge::hit(fetched, (id, version, chunk))? {
            neighbours.push(Neighbour {
                source: hit.source,
                text: hit.text,
            });
        }
    }
    Ok(neighbours)
}
