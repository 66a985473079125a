//! A backend in memory that scores everything for every question: the reference for stores.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{future::BoxFuture, stream::BoxStream};
use konstruct_core::{
    Clock, ConversationId, Depth, Embedder, Erase, PersonId, Result, TenantId, Timestamp,
    memory::ErasureReceipt,
    message::RoutedEvent,
    store::{
        Accepted, Append, AppendOutcome, Archive, Claim, ClaimRequest, Claimed, Exported,
        FeedEntry, History as _, Loaded, Mailbox, Store, Stored,
    },
    testkit::ReferenceStore,
};

use super::{
    MemoryEmbedder,
    backend::{
        Candidate, EmbedderKey, MemoryBackend, Plan, RowKind, RowPut, Search, Unit, UnitKey,
    },
    forget, fuse, memory_store, unknown_person,
};
use crate::{
    bm25::{Collection, Posting},
    seal::{KeyRing, TenantKey},
};

/// A memory over a [`ReferenceStore`] that scores everything for every question: the reference that stores are compared with. It
/// is not persistent.
#[derive(Clone)]
pub struct Oracle {
    store: ReferenceStore,
    clock: Arc<dyn Clock>,
    ring: KeyRing,
    embedder: Arc<MemoryEmbedder>,
    tenants: Arc<Mutex<HashMap<TenantId, Tenant>>>,
}

#[derive(Default)]
struct Tenant {
    key: Option<Arc<TenantKey>>,
    revision: u64,
    rows: BTreeMap<(RowKind, Vec<u8>), RowPut>,
    units: BTreeMap<UnitKey, Unit>,
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oracle").finish_non_exhaustive()
    }
}

impl Oracle {
    /// Creates an empty memory with a clock.
    ///
    /// # Errors
    /// The system has no randomness for a key.
    pub fn new(clock: Arc<dyn Clock>, embedder: Option<Arc<dyn Embedder>>) -> Result<Self> {
        Ok(Self {
            store: ReferenceStore::new(Arc::clone(&clock)),
            clock,
            ring: KeyRing::generate()?,
            embedder: Arc::new(MemoryEmbedder::new(embedder)),
            tenants: Arc::default(),
        })
    }

    /// Runs a task with the backend.
    async fn with_backend<T>(
        &self,
        work: impl FnOnce(Arc<dyn MemoryBackend>) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        work(Arc::new(self.clone())).await
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    fn apply(&mut self, plan: Plan) {
        self.revision += 1;
        if plan.clear_index {
            self.units.clear();
        }
        for key in &plan.remove {
            self.rows.remove(key);
        }
        for (kind, prefix) in &plan.clear {
            self.rows
                .retain(|(of, key), _| of != kind || !key.starts_with(prefix));
        }
        for key in &plan.remove_units {
            self.units.remove(key);
        }
        for (space, group) in &plan.remove_groups {
            self.units
                .retain(|key, _| key.space != *space || key.group != *group);
        }
        for row in plan.put {
            self.rows.insert((row.kind, row.key.clone()), row);
        }
        for unit in plan.add_units {
            self.units.insert(unit.key, unit);
        }
        for put in plan.vectors {
            let passage = self
                .units
                .get_mut(&put.unit)
                .and_then(|unit| unit.passages.get_mut(put.passage as usize));
            if let Some(passage) = passage {
                passage.vector = Some((put.embedder, put.vector));
            }
        }
    }

    fn search(&self, search: &Search) -> Vec<Candidate> {
        let mut size = Collection::default();
        let mut stems: Vec<_> = search
            .stems
            .iter()
            .map(|stem| fuse::Postings {
                stem: *stem,
                passages: Vec::new(),
            })
            .collect();
        let mut cosines: HashMap<(UnitKey, u32), f32> = HashMap::new();
        for place in &search.places {
            let seen = |key: &UnitKey| {
                key.space == place.space && place.group.is_none_or(|group| group == key.group)
            };
            for unit in self.units.values().filter(|unit| seen(&unit.key)) {
                for (chunk, passage) in (0_u32..).zip(&unit.passages) {
                    size.chunks += 1;
                    size.terms += u64::from(passage.terms);
                    for stem in &passage.stems {
                        let wanted = stems
                            .iter_mut()
                            .find(|wanted| wanted.stem.hash == stem.hash);
                        if let Some(wanted) = wanted {
                            let posting = Posting {
                                text: stem.text,
                                heading: stem.heading,
                                terms: passage.terms,
                            };
                            wanted.passages.push(((unit.key, chunk), posting));
                        }
                    }
                    if let (Some((wanted, question)), Some((embedder, vector))) =
                        (&search.vector, &passage.vector)
                        && wanted == embedder
                    {
                        let cosine = question.iter().zip(vector).map(|(a, b)| a * b).sum();
                        cosines.insert((unit.key, chunk), cosine);
                    }
                }
            }
        }
        let mut lexical: HashMap<_, fuse::Lexical> = HashMap::new();
        fuse::lexical(size, stems, |passage, stem| {
            lexical.entry(passage).or_default().add(stem);
        });
        let words = fuse::Distribution::of(lexical.values().map(|one| one.score), size.chunks);
        let meaning = fuse::Distribution::of(cosines.values().copied(), cosines.len() as u64);
        let mut found: Vec<Candidate> = Vec::new();
        let keys = lexical.keys().chain(cosines.keys());
        let keys: std::collections::BTreeSet<_> = keys.copied().collect();
        for (key, passage) in keys {
            let about = self.units[&key].about.clone();
            let timed = search
                .places
                .iter()
                .any(|place| place.space == key.space && place.timed);
            if let Some((from, to)) = search.when.filter(|_| timed)
                && !(from..to).contains(&about.at)
            {
                continue;
            }
            let by_words = lexical.get(&(key, passage)).copied().unwrap_or_default();
            let cosine = cosines.get(&(key, passage)).copied();
            found.push(Candidate {
                unit: key,
                passage,
                about,
                lexical: by_words.score,
                coverage: by_words.coverage,
                stems: by_words.stems,
                cosine,
                words: words.z(by_words.score),
                fused: words.z(by_words.score) + cosine.map_or(0.0, |cosine| meaning.z(cosine)),
            });
        }
        // Candidates are in key order, and the sort is stable.
        found.sort_by(|a, b| b.fused.total_cmp(&a.fused));
        found.truncate(search.limit);
        found
    }
}

#[async_trait]
impl MemoryBackend for Oracle {
    fn embedder(&self) -> &MemoryEmbedder {
        &self.embedder
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn log(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.store.read(tenant, conversation, range).await
    }

    async fn said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.store.read_said(tenant, conversation, range).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<FeedEntry>> {
        self.store.feed(tenant, after, limit).await
    }

    async fn tenant_key(&self, tenant: TenantId) -> Result<Arc<TenantKey>> {
        let mut tenants = self.tenants();
        let own = tenants.entry(tenant).or_default();
        if let Some(key) = &own.key {
            return Ok(Arc::clone(key));
        }
        let (key, _) = TenantKey::generate(&self.ring, tenant)?;
        Ok(Arc::clone(own.key.insert(Arc::new(key))))
    }

    async fn revision(&self, tenant: TenantId) -> Result<u64> {
        Ok(self.tenants().get(&tenant).map_or(0, |own| own.revision))
    }

    async fn get(&self, tenant: TenantId, kind: RowKind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let tenants = self.tenants();
        let row = tenants
            .get(&tenant)
            .and_then(|own| own.rows.get(&(kind, key.to_vec())));
        Ok(row.map(|row| row.value.clone()))
    }

    async fn scan(
        &self,
        tenant: TenantId,
        kind: RowKind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let tenants = self.tenants();
        let Some(own) = tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        let rows = own.rows.iter().filter(|((of, key), _)| {
            *of == kind
                && key.starts_with(prefix)
                && after.is_none_or(|after| key.as_slice() > after)
        });
        Ok(rows
            .take(limit)
            .map(|((_, key), row)| (key.clone(), row.value.clone()))
            .collect())
    }

    async fn commit(&self, tenant: TenantId, plan: Plan) -> Result<bool> {
        let mut tenants = self.tenants();
        let own = tenants.entry(tenant).or_default();
        let present = own.revision == plan.revision;
        let mut persons = plan.put.iter().flat_map(|row| &row.persons);
        if present && !persons.all(|person| self.store.knows(tenant, *person)) {
            return Err(unknown_person());
        }
        if present {
            own.apply(plan);
        }
        Ok(present)
    }

    async fn search(&self, tenant: TenantId, search: Search) -> Result<Vec<Candidate>> {
        Ok(self
            .tenants()
            .get(&tenant)
            .map(|own| own.search(&search))
            .unwrap_or_default())
    }

    async fn unembedded(
        &self,
        tenant: TenantId,
        embedder: EmbedderKey,
        after: Option<UnitKey>,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        let tenants = self.tenants();
        let Some(own) = tenants.get(&tenant) else {
            return Ok(Vec::new());
        };
        let without = |unit: &&Unit| {
            let has = |of: &(EmbedderKey, Vec<f32>)| of.0 == embedder;
            let lacks = unit
                .passages
                .iter()
                .any(|passage| !passage.vector.as_ref().is_some_and(has));
            lacks && after.is_none_or(|after| unit.key > after)
        };
        let units = own.units.values().filter(without);
        Ok(units.take(limit).map(|unit| unit.key).collect())
    }

    async fn units_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        limit: usize,
    ) -> Result<Vec<UnitKey>> {
        let tenants = self.tenants();
        let units = tenants.get(&tenant).map(|own| own.units.values());
        let units = units.into_iter().flatten();
        Ok(units
            .filter(|unit| unit.about.persons.contains(&person))
            .map(|unit| unit.key)
            .take(limit)
            .collect())
    }

    async fn expired(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<UnitKey>> {
        let tenants = self.tenants();
        let units = tenants.get(&tenant).map(|own| own.units.values());
        let units = units.into_iter().flatten();
        Ok(units
            .filter(|unit| unit.about.expires_at.is_some_and(|at| at <= now))
            .map(|unit| unit.key)
            .collect())
    }

    async fn counts(&self, tenant: TenantId, embedder: Option<EmbedderKey>) -> Result<(u64, u64)> {
        let tenants = self.tenants();
        let units = tenants.get(&tenant).map(|own| own.units.values());
        let passages: Vec<_> = units
            .into_iter()
            .flatten()
            .flat_map(|unit| &unit.passages)
            .collect();
        let embedded = passages
            .iter()
            .filter(|passage| passage.vector.as_ref().map(|(key, _)| *key) == embedder)
            .count();
        Ok((passages.len() as u64, embedded as u64))
    }

    async fn last_cursor(&self, tenant: TenantId) -> Result<u64> {
        let mut last = 0;
        while let Some(fed) = self.store.feed(tenant, last, 1024).await?.pop() {
            last = fed.cursor;
        }
        Ok(last)
    }

    async fn known(&self, tenant: TenantId, persons: &[PersonId]) -> Result<bool> {
        let mut persons = persons.iter();
        Ok(persons.all(|person| self.store.knows(tenant, *person)))
    }

    async fn erase_with(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        plan: Plan,
    ) -> Result<Option<ErasureReceipt>> {
        if self.revision(tenant).await? != plan.revision {
            return Ok(None);
        }
        let mut receipt = self.store.erase(tenant, what, depth).await?;
        let mut tenants = self.tenants();
        let own = tenants.entry(tenant).or_default();
        match what {
            Erase::Person { person } => {
                let before = own.units.len();
                own.units
                    .retain(|_, unit| !unit.about.persons.contains(&person));
                receipt.passages = (before - own.units.len()) as u64;
                own.rows.retain(|_, row| !row.persons.contains(&person));
                own.apply(plan);
            }
            Erase::Tenant => {
                let units = own.units.values();
                receipt.passages = units.map(|unit| unit.passages.len() as u64).sum();
                tenants.remove(&tenant);
            }
            _ => own.apply(plan),
        }
        Ok(Some(receipt))
    }
}

memory_store!(Oracle);

konstruct_core::forward_history!(Oracle);
konstruct_core::forward_ledger!(Oracle);

impl Oracle {
    fn inner(&self) -> Result<&dyn Store> {
        Ok(&self.store)
    }
}

#[async_trait]
impl Mailbox for Oracle {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        self.store.accept(tenant, events).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.store.claim(request).await
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.store.load(claim).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        self.store.renew(claim, lease).await
    }

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<AppendOutcome> {
        self.store.append(claim, expected_len, append).await
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.store.release(claim, seen).await
    }

    async fn changed(&self) {
        self.store.changed().await;
    }
}

#[async_trait]
impl Archive for Oracle {
    async fn export(&self, tenant: TenantId) -> Result<BoxStream<'static, Result<Exported>>> {
        self.store.export(tenant).await
    }

    async fn import(&self, tenant: TenantId, items: Vec<Exported>) -> Result<()> {
        self.store.import(tenant, items).await
    }

    async fn erase(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        forget(self, tenant, what, depth).await
    }
}
