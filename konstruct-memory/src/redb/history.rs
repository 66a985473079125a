//! The index of what was said: it follows the feed, and no append waits for it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use konstruct_core::{
    Body, ConversationId, DocumentId, Error, ErrorKind, Hit, Result, Source, TenantId,
    turn::{Action, Entry, Event, Fed, Input, Record},
};

use super::{
    Redb, Shared,
    append::Counts,
    blocking,
    head::corrupt,
    index::{self, Space, Unit},
    keys::{self, INDEXED, LOG, POSTINGS, SPACES, TENANTS, UNITS},
    snapshot::Rows,
    writer::{Batch, Operation, Writer},
};
use crate::{bm25::Collection, seal::TenantKey};

/// How many records are indexed at a time.
const STEP: usize = 256;

/// What the indexing thread is to do.
#[derive(Debug, Default)]
pub(super) struct Indexer {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    behind: BTreeSet<TenantId>,
    stopped: bool,
}

impl Indexer {
    /// Starts the thread; [`Indexer::stop`] ends it.
    pub(super) fn start(shared: Arc<Shared>, writer: Writer) -> Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("redb-indexer".into())
            .spawn(move || run(&shared, &writer))
            .map_err(|error| Error::internal("the indexer thread did not start").with_source(error))
    }

    /// Notes that a tenant's feed has grown.
    pub(super) fn follow(&self, tenant: TenantId) {
        self.state().behind.insert(tenant);
        self.wake.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a tenant that is behind, the next one after the last; `None` when stopped.
    fn next(&self, last: TenantId) -> Option<TenantId> {
        let mut state = self
            .wake
            .wait_while(self.state(), |state| {
                state.behind.is_empty() && !state.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        let next = state
            .behind
            .range(last..)
            .find(|tenant| **tenant != last)
            .or(state.behind.first())
            .copied()?;
        state.behind.remove(&next);
        Some(next)
    }
}

fn run(shared: &Shared, writer: &Writer) {
    if let Err(error) = shared.find_behind() {
        tracing::warn!(%error, "the index does not know what it has missed");
    }
    let mut last = TenantId::from_bytes([0; 16]);
    while let Some(tenant) = shared.indexer.next(last) {
        last = tenant;
        match shared.index_step(writer, tenant, true) {
            Ok(true) => shared.indexer.follow(tenant),
            Ok(false) => {}
            Err(error) => tracing::warn!(%tenant, %error, "what was said was not indexed"),
        }
    }
}

impl Shared {
    /// Notes the tenants whose index was left behind by the end of the last process.
    fn find_behind(&self) -> Result<()> {
        let mut snapshot = self.snapshot()?;
        let mut feeds = Vec::new();
        snapshot.scan_prefix(TENANTS, &[], &mut |key, row| {
            let tenant = keys::id(key, 0).ok_or_else(corrupt)?;
            feeds.push((TenantId::from_bytes(tenant), Counts::read(row)?.feed));
            Ok(())
        })?;
        for (tenant, feed) in feeds {
            if indexed(&mut snapshot, tenant)? < feed {
                self.indexer.follow(tenant);
            }
        }
        Ok(())
    }

    /// Indexes the next records of a tenant. Returns whether there may be more.
    ///
    /// A patient caller waits for a commit that happens anyway: a turn costs no commit more for being indexed.
    pub(super) fn index_step(
        &self,
        writer: &Writer,
        tenant: TenantId,
        patient: bool,
    ) -> Result<bool> {
        let mut snapshot = self.snapshot()?;
        let after = indexed(&mut snapshot, tenant)?;
        let records = self.feed(&mut snapshot, tenant, after, STEP)?;
        let Some(last) = records.last() else {
            return Ok(false);
        };
        let Some(vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(false);
        };
        let full = records.len() == STEP;
        let step = IndexStep {
            patient,
            full,
            tenant,
            after,
            to: last.cursor,
            units: records
                .iter()
                .filter_map(|fed| Some((fed.cursor, unit_of(&vault.key, fed)?)))
                .collect(),
        };
        // If somebody else was faster, they may have read less.
        let applied = writer.submit_blocking(step)?;
        Ok(!applied || full)
    }

    /// Reads what was said at a place in a conversation.
    pub(super) fn message(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        conversation: ConversationId,
        index: u64,
    ) -> Result<Option<Hit>> {
        let key = keys::item(tenant, conversation, index);
        let Some(row) = rows.get(LOG, &key)? else {
            return Ok(None);
        };
        let Some(mut vault) = self.vault(rows, tenant)? else {
            return Ok(None);
        };
        let record = vault.log_record(rows, &key, &row)?.record;
        Ok(record.as_ref().map(said).and_then(|said| {
            let text = said.text();
            (!text.is_empty()).then(|| Hit {
                name: said.name(),
                ..Hit::new(
                    Source::Message {
                        conversation,
                        index,
                    },
                    text,
                    konstruct_core::Timestamp::from_micros(0),
                )
            })
        }))
    }
}

fn unit_of(key: &TenantKey, fed: &Fed) -> Option<Unit> {
    let said = said(fed.stored.record.as_ref()?);
    let text = said.text();
    let space = Space::conversation(fed.conversation);
    (!text.is_empty()).then(|| {
        let mut unit = Unit::analyse(key, space, &[(&said.name(), &text)]);
        unit.place(u128::from(fed.stored.index).to_be_bytes(), 0);
        unit
    })
}

/// How far of a tenant's feed is indexed.
fn indexed(rows: &mut dyn Rows, tenant: TenantId) -> Result<u64> {
    let row = rows.get(INDEXED, tenant.as_bytes())?;
    Ok(row.and_then(|row| keys::number(&row, 0)).unwrap_or(0))
}

/// Who said what in a record.
#[derive(Debug, Default)]
struct Said<'a> {
    names: Vec<&'a str>,
    texts: Vec<&'a str>,
}

impl Said<'_> {
    /// Who said it; empty where nobody's name is known.
    fn name(&self) -> String {
        self.names.join(", ")
    }

    fn text(&self) -> String {
        self.texts.join("\n")
    }
}

fn said(record: &Record) -> Said<'_> {
    match &record.entry {
        Entry::Event(Event::Started(started)) => heard(&started.inputs),
        Entry::Event(Event::Heard { inputs }) => heard(inputs),
        // A later try says the same again.
        Entry::Action(Action::Send {
            attempt: 0..=1,
            text,
            ..
        }) => Said {
            names: Vec::new(),
            texts: vec![text],
        },
        _ => Said::default(),
    }
}

fn heard(inputs: &[Input]) -> Said<'_> {
    let mut said = Said::default();
    for Input { event, .. } in inputs {
        let (Body::Message { content, .. } | Body::Edited { content, .. }) = &event.body else {
            continue;
        };
        if content.text.trim().is_empty() {
            continue;
        }
        said.texts.push(&content.text);
        if let Some(name) = event.sender.name.as_deref()
            && !said.names.contains(&name)
        {
            said.names.push(name);
        }
    }
    said
}

/// Indexes some records, unless somebody else has. Answers whether it did.
struct IndexStep {
    /// Whether nobody waits for it.
    patient: bool,
    /// Whether there may be more.
    full: bool,
    tenant: TenantId,
    after: u64,
    to: u64,
    units: Vec<(u64, Unit)>,
}

impl Operation for IndexStep {
    type Answer = bool;

    fn apply(&mut self, batch: &mut Batch<'_>, _: &Shared) -> Result<bool> {
        let tenant = self.tenant;
        if indexed(batch, tenant)? != self.after {
            return Ok(false);
        }
        let mut sizes: HashMap<[u8; 16], (Space, Collection)> = HashMap::new();
        for (cursor, unit) in &self.units {
            // What was erased since it was read stays gone.
            let record = keys::of(tenant, &[unit.space.as_bytes(), &unit.id[8..]]);
            let row = batch.get(LOG, &record)?;
            if row.and_then(|row| keys::number(&row, 0)) != Some(*cursor) {
                continue;
            }
            unit.put(batch, tenant, false);
            let (_, size) = sizes
                .entry(*unit.space.as_bytes())
                .or_insert((unit.space, Collection::default()));
            size.chunks += unit.size().chunks;
            size.terms += unit.size().terms;
        }
        for (space, size) in sizes.into_values() {
            index::grow(batch, tenant, space, size)?;
        }
        let key = tenant.as_bytes().to_vec();
        batch.put(INDEXED, key, self.to.to_be_bytes());
        Ok(true)
    }

    // Not when there is much to catch up with, for that would take as many commits of others; and not when the store is being
    // closed, for none would come.
    fn rides_along(&self, shared: &Shared) -> bool {
        self.patient && !self.full && !shared.indexer.state().stopped
    }
}

impl Redb {
    /// Throws a tenant's search index away and makes it again: knowledge from the stored passages, at once, and what was said
    /// from the log.
    ///
    /// # Errors
    /// Those of the store; [`ErrorKind::Conflict`] when documents keep changing meanwhile.
    pub async fn rebuild_index(&self, tenant: TenantId) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let (shared, writer) = (&inner.shared, inner.writer()?);
            for _ in 0..8 {
                let units = shared.knowledge_units(tenant)?;
                if writer.submit_blocking(Rebuild { tenant, units })? {
                    while shared.index_step(writer, tenant, false)? {}
                    return Ok(());
                }
            }
            Err(Error::new(
                ErrorKind::Conflict,
                "documents changed while the index was made",
            ))
        })
        .await
    }
}

/// Replaces a tenant's index. Answers whether the documents are still those that were read.
struct Rebuild {
    tenant: TenantId,
    units: HashMap<DocumentId, Unit>,
}

impl Operation for Rebuild {
    type Answer = bool;

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<bool> {
        let tenant = self.tenant;
        let documents = shared.document_list(batch, tenant)?;
        let same = documents.len() == self.units.len()
            && documents.iter().all(|document| {
                self.units
                    .get(&document.id)
                    .is_some_and(|unit| unit.version() == document.version)
            });
        if !same {
            return Ok(false);
        }
        for table in [POSTINGS, UNITS, SPACES, INDEXED] {
            batch.clear(table, tenant.as_bytes().to_vec());
        }
        let mut size = Collection::default();
        for unit in self.units.values() {
            unit.put(batch, tenant, true);
            size.chunks += unit.size().chunks;
            size.terms += unit.size().terms;
        }
        index::set_size(batch, tenant, Space::KNOWLEDGE, size);
        Ok(true)
    }
}
