//! The index follows the feed, and vectors follow the index. Both run in the background; a reply waits for neither.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use konstruct_core::{
    ConversationId, Embedder, Error, ErrorKind, Result, TenantId,
    embed::{EmbedContext, EmbedKind},
    memory::{IndexProgress, Language},
    store::FeedEntry,
    turn::{Entry, Event, Gathered, Record, SpokenMessage, replaced_message_id, spoken_message},
};

use super::{
    backend::{
        EmbedderKey, Group, MemoryBackend, Plan, RowKind, Unit, UnitInfo, UnitKey, UnitKind,
        VectorPut,
    },
    fact, knowledge, messages,
    settings::{Retries, Settings, row, settings},
    space::{
        ChannelKey, Membership, Owner, channel as channel_of, home, put_membership, space, started,
    },
    unit,
};
use crate::seal::TenantKey;

/// The number of records indexed at a time.
const STEP: usize = 256;
/// The number of such steps for a tenant before other tenants have their turn.
const STEPS: usize = 4;
/// The number of units embedded at a time.
const EMBED: usize = 64;
/// The weight of the previous message in a message's vector.
const BEFORE: f32 = 0.5;
/// A question is unanswered if its best passage covers less of its weight than this.
const COVERED: f32 = 0.3;

/// Indexes some of a tenant's pending records. Returns whether there may be more.
pub(crate) async fn keep_up_some(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<bool> {
    for _ in 0..STEPS {
        // The lock may be held for a long time, and other tenants are waiting too.
        let Some(_turn) = backend.embedder().turn_soon(tenant).await else {
            return Ok(true);
        };
        if !index_step(backend, tenant, true).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until everything written before the call can be found.
pub(crate) async fn catch_up(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<()> {
    loop {
        let _turn = backend.embedder().turn(tenant).await;
        if !index_step(backend, tenant, false).await? {
            break;
        }
    }
    embed(backend, tenant).await
}

/// Returns the progress of the index.
pub(crate) async fn progress(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
) -> Result<IndexProgress> {
    let Settings { language, indexed } = settings(backend, tenant).await?;
    let embedder = backend.embedder().for_language(language);
    let embedder = embedder.map(|embedder| embedder_key(&**embedder));
    let (passages, embedded) = backend.counts(tenant, embedder).await?;
    // The last records may have been erased with their conversation.
    let behind = !backend.feed(tenant, indexed, 1).await?.is_empty();
    let records = if behind {
        backend.last_cursor(tenant).await?
    } else {
        indexed
    };
    Ok(IndexProgress {
        indexed,
        records,
        passages,
        embedded: if embedder.is_some() {
            embedded
        } else {
            passages
        },
    })
}

/// Returns the key under which vectors of an embedder are stored.
pub(super) fn embedder_key(embedder: &dyn Embedder) -> EmbedderKey {
    use sha2::{Digest as _, Sha256};
    let name = format!("{}/{}", embedder.id(), embedder.dim());
    let hash = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    EmbedderKey(u64::from_be_bytes(first))
}

/// Indexes the next records of a tenant. Returns whether there may be more. The caller holds the tenant's lock. It must be
/// acquired before a session takes a connection, because the holder needs connections too.
async fn index_step(backend: &dyn MemoryBackend, tenant: TenantId, patient: bool) -> Result<bool> {
    let mut tries = Retries::default();
    let store = backend;
    loop {
        let session = store.session(tenant, true).await?;
        let backend = session.as_deref().unwrap_or(store);
        let mut plan = Plan::on(backend, tenant).await?;
        let before = settings(backend, tenant).await?;
        let records = backend.feed(tenant, before.indexed, STEP).await?;
        let Some(last) = records.last() else {
            return Ok(false);
        };
        let full = records.len() == STEP;
        let key = backend.tenant_key(tenant).await?;
        let mut indexer = Indexer {
            backend,
            tenant,
            key: &key,
            language: before.language,
            said: HashMap::new(),
            memberships: BTreeMap::new(),
            homes: HashMap::new(),
        };
        for fed in &records {
            indexer.index(&mut plan, fed).await?;
        }
        for (channel, (was, is)) in indexer.memberships {
            if was != Some(is) {
                put_membership(&mut plan, channel, was.unwrap_or_default(), is)?;
            }
        }
        let after = Settings {
            indexed: last.cursor,
            ..before
        };
        plan.put_row(RowKind::Settings, Vec::new(), &after, &[])?;
        plan.patient = patient && !full;
        if backend.commit(tenant, plan).await? {
            return Ok(full);
        }
        tries.again().await?;
    }
}

/// Indexes records in the order of the feed.
struct Indexer<'a> {
    backend: &'a dyn MemoryBackend,
    tenant: TenantId,
    key: &'a TenantKey,
    language: Language,
    /// The last message of each conversation, with its index.
    said: HashMap<ConversationId, (u64, SpokenMessage)>,
    memberships: BTreeMap<ChannelKey, (Option<Membership>, Membership)>,
    homes: HashMap<ConversationId, Option<ChannelKey>>,
}

impl Indexer<'_> {
    async fn index(&mut self, plan: &mut Plan, fed: &FeedEntry) -> Result<()> {
        let Some(record) = fed.stored.record.as_ref() else {
            return Ok(());
        };
        let (conversation, index) = (fed.conversation, fed.stored.index);
        if let Entry::Event(Event::Gathered(gathered)) = &record.entry {
            return self.note_unanswered(plan, fed, gathered);
        }
        let said = spoken_message(record);
        let replaced = replaced_message_id(record);
        if said.is_none() && replaced.is_none() && started(record).is_none() {
            return Ok(());
        }
        let Some(channel) = self.channel(plan, conversation, record).await? else {
            return Ok(());
        };
        self.membership(channel, record, said.as_ref()).await?;
        let space = space(self.key, UnitKind::History, Owner::Channel(channel));
        if let Some(id) = replaced {
            let place = (self.tenant, conversation);
            for holder in messages::holders(self.backend, place, index, id).await? {
                let key = history_key(space, conversation, holder);
                plan.add_units.retain(|unit| unit.key != key);
                plan.remove_units.push(key);
            }
        }
        if let Some(said) = said {
            let before = self.before(conversation, index).await?;
            let key = history_key(space, conversation, index);
            plan.add_units.push(unit_of(
                self.key,
                self.language,
                key,
                &said,
                before.as_ref(),
            ));
            self.said.insert(conversation, (index, said));
        }
        Ok(())
    }

    /// Returns the channel of a conversation. Stores it the first time.
    async fn channel(
        &mut self,
        plan: &mut Plan,
        conversation: ConversationId,
        record: &Record,
    ) -> Result<Option<ChannelKey>> {
        if let Some(known) = self.homes.get(&conversation) {
            return Ok(*known);
        }
        let id = conversation.as_bytes();
        let kept: Option<ChannelKey> = row(self.backend, self.tenant, RowKind::Home, id).await?;
        let channel = match (kept, started(record)) {
            (Some(kept), _) => Some(kept),
            (None, Some(started)) => Some(ChannelKey::of(self.key, &channel_of(started))),
            (None, None) => home(self.backend, self.key, self.tenant, conversation).await?,
        };
        if let Some(channel) = channel.filter(|_| kept.is_none()) {
            plan.put_row(RowKind::Home, id.to_vec(), &channel, &[])?;
        }
        self.homes.insert(conversation, channel);
        Ok(channel)
    }

    async fn membership(
        &mut self,
        channel: ChannelKey,
        record: &Record,
        said: Option<&SpokenMessage>,
    ) -> Result<()> {
        if !self.memberships.contains_key(&channel) {
            let known = row(self.backend, self.tenant, RowKind::Channel, &channel.0).await?;
            self.memberships
                .insert(channel, (known, known.unwrap_or_default()));
        }
        let Some((_, membership)) = self.memberships.get_mut(&channel) else {
            return Ok(());
        };
        let speaker = said.and_then(|said| said.speaker);
        let kind = match started(record) {
            Some(started) => started.conversation.kind,
            None => konstruct_core::message::ConversationKind::Direct,
        };
        *membership = membership.and(kind, speaker);
        Ok(())
    }

    async fn before(
        &mut self,
        conversation: ConversationId,
        index: u64,
    ) -> Result<Option<(u64, SpokenMessage)>> {
        match self.said.get(&conversation) {
            Some(known) => Ok(Some(known.clone())),
            None => messages::before(self.backend, (self.tenant, conversation), index, None).await,
        }
    }

    /// Stores a question that the documents did not answer.
    fn note_unanswered(&self, plan: &mut Plan, fed: &FeedEntry, gathered: &Gathered) -> Result<()> {
        let found = |coverage: f32| coverage >= COVERED;
        if gathered.knowledge.iter().any(|cited| found(cited.coverage)) {
            return Ok(());
        }
        // Newest first.
        let key = (u64::MAX - fed.cursor).to_be_bytes().to_vec();
        let place = (fed.conversation, fed.stored.index);
        plan.put_row(RowKind::Gap, key, &place, &[])
    }
}

/// Returns the key of a record's unit.
pub(super) fn history_key(
    space: super::backend::Space,
    conversation: ConversationId,
    index: u64,
) -> UnitKey {
    UnitKey {
        space,
        group: Group::of(conversation),
        item: u128::from(index).to_be_bytes(),
    }
}

/// Analyses a record.
pub(super) fn unit_of(
    key: &TenantKey,
    language: Language,
    place: UnitKey,
    said: &SpokenMessage,
    before: Option<&(u64, SpokenMessage)>,
) -> Unit {
    let mut persons = said.persons.clone();
    persons.extend(before.iter().flat_map(|(_, before)| &before.persons));
    Unit {
        key: place,
        about: UnitInfo {
            what: UnitKind::History,
            version: 0,
            at: said.at,
            said_by: Some(said.by),
            persons: persons.into_iter().collect(),
            expires_at: None,
            before: before.map(|(index, _)| *index),
        },
        passages: unit::message(key, language, said, before.map(|(_, said)| said)),
    }
}

/// Embeds every passage that has no vector of the current embedder.
async fn embed(backend: &dyn MemoryBackend, tenant: TenantId) -> Result<()> {
    let language = settings(backend, tenant).await?.language;
    let Some(embedder) = backend.embedder().for_language(language) else {
        return Ok(());
    };
    let mut after = None;
    loop {
        after = embed_step(backend, tenant, (embedder, after)).await?;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Embeds some of the passages that have no vector of the current embedder, starting after a unit. Returns where to continue, or
/// `None` at the end.
pub(crate) async fn embed_some(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    after: Option<UnitKey>,
) -> Result<Option<UnitKey>> {
    let language = settings(backend, tenant).await?.language;
    match backend.embedder().for_language(language) {
        Some(embedder) => embed_step(backend, tenant, (embedder, after)).await,
        None => Ok(None),
    }
}

async fn embed_step(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    (embedder, after): (&Arc<dyn Embedder>, Option<UnitKey>),
) -> Result<Option<UnitKey>> {
    let _alone = backend.embedder().alone(tenant).await;
    let key = embedder_key(&**embedder);
    let mut tries = Retries::default();
    // Vectors by text. Embedding takes time and the memory may change meanwhile: vectors that were paid for are reused.
    let mut known = HashMap::new();
    loop {
        let plan = Plan::on(backend, tenant).await?;
        let units = backend.unembedded(tenant, key, after, EMBED).await?;
        let Some(last) = units.last() else {
            return Ok(None);
        };
        let vectors = vectors(backend, tenant, (embedder, &mut known), &units).await?;
        let plan = Plan { vectors, ..plan };
        if backend.commit(tenant, plan).await? {
            // A unit whose text is gone gets no vector. It is skipped, so that it is not tried forever.
            return Ok(Some(*last));
        }
        tries.again().await?;
    }
}

/// The texts to embed of a unit: each passage, and the previous message.
#[derive(Default)]
struct Texts {
    passages: Vec<String>,
    before: Option<String>,
}

impl Texts {
    fn of((said, before): messages::WithPrevious) -> Self {
        let parts = unit::parts(&said.text).into_iter();
        Self {
            passages: parts.map(str::to_owned).collect(),
            before: before.map(|before| before.text),
        }
    }
}

async fn vectors(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    (embedder, known): (&Arc<dyn Embedder>, &mut HashMap<String, Vec<f32>>),
    units: &[UnitKey],
) -> Result<Vec<VectorPut>> {
    let texts = texts_of(backend, tenant, units).await?;
    let mut wanted: Vec<String> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    for of in &texts {
        for text in of.passages.iter().chain(&of.before) {
            let there = known.contains_key(text) || text.trim().is_empty();
            if !there && seen.insert(text.clone()) {
                wanted.push(text.clone());
            }
        }
    }
    if !wanted.is_empty() {
        let context = EmbedContext::new(tenant, EmbedKind::Document, call(&**embedder, units));
        let borrowed: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let embedded = embedder.embed(&context, &borrowed).await?;
        let dim = embedder.dim();
        if embedded.len() != wanted.len() || embedded.iter().any(|one| one.len() != dim) {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the embedder returned the wrong number or dimension of vectors",
            ));
        }
        known.extend(wanted.into_iter().zip(embedded));
    }
    let vector = |text: &str| known.get(text);
    let mut put = Vec::new();
    for (unit, texts) in units.iter().zip(&texts) {
        let before = texts.before.as_deref().and_then(vector);
        for (passage, text) in (0..).zip(&texts.passages) {
            let Some(own) = vector(text) else { continue };
            put.push(VectorPut {
                unit: *unit,
                passage,
                embedder: embedder_key(&**embedder),
                vector: mixed(own, before),
            });
        }
    }
    Ok(put)
}

/// Returns the call id for the ledger. It is the same after a crash, and reveals nothing of the text.
fn call(embedder: &dyn Embedder, units: &[UnitKey]) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new().chain_update(embedder_key(embedder).0.to_be_bytes());
    for unit in units {
        hash.update(unit.space.0);
        hash.update(unit.group.0);
        hash.update(unit.item);
    }
    format!("embed.{}", hex::encode(&hash.finalize()[..16]))
}

/// Returns a passage's vector with a share of the previous message's vector, normalised to length 1.
fn mixed(own: &[f32], before: Option<&Vec<f32>>) -> Vec<f32> {
    let mut own = unit_length(own.to_vec());
    if let Some(before) = before {
        let before = unit_length(before.clone());
        for (own, before) in own.iter_mut().zip(&before) {
            *own += BEFORE * before;
        }
    }
    unit_length(own)
}

/// Scales a vector to length 1. A zero vector is returned unchanged.
pub(super) fn unit_length(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|at| at * at).sum::<f32>().sqrt();
    if length > 0.0 && length.is_finite() {
        for at in &mut vector {
            *at /= length;
        }
    }
    vector
}

/// Reads the texts to embed of units: messages in one read, others one by one.
async fn texts_of(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    units: &[UnitKey],
) -> Result<Vec<Texts>> {
    // Ids of documents and facts begin with a timestamp.
    let is_message = |unit: &&UnitKey| unit.item[..8] == [0; 8];
    let messages = units.iter().filter(is_message);
    let places: Vec<_> = messages
        .map(|unit| (ConversationId::from_bytes(unit.group.0), unit.index()))
        .collect();
    let mut spoken = messages::with_before(backend, tenant, &places)
        .await?
        .into_iter();
    let mut texts = Vec::with_capacity(units.len());
    for unit in units {
        if is_message(&unit) {
            let spoken = spoken.next().flatten();
            texts.push(spoken.map(Texts::of).unwrap_or_default());
            continue;
        }
        let passages = match knowledge::texts(backend, tenant, unit).await? {
            Some(texts) => texts,
            None => fact::texts(backend, tenant, unit).await?,
        };
        texts.push(Texts {
            passages,
            before: None,
        });
    }
    Ok(texts)
}
