//! The index follows the feed, and vectors follow the index: in the background, and no reply waits for either.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use konstruct_core::{
    ConversationId, Embedder, Error, ErrorKind, Result, TenantId,
    embed::{EmbedContext, EmbedKind},
    memory::{IndexProgress, Language},
    store::Fed,
    turn::{Entry, Event, Gathered, Record, Said, replaced, said as says},
};

use super::{
    fact, knowledge, said,
    settings::{Settings, Tries, row, settings},
    shelf::{EmbedderKey, Group, Kind, Plan, Shelf, Unit, UnitInfo, UnitKey, VectorPut, What},
    space::{
        ChannelKey, Company, Owner, channel as channel_of, home, note_company, space, started,
    },
    unit,
};
use crate::seal::TenantKey;

/// How many records are indexed at a time.
const STEP: usize = 256;
/// How many times a tenant's records are indexed before others have their turn.
const STEPS: usize = 4;
/// How many units are embedded at a time.
const EMBED: usize = 64;
/// How much of what was said right before is in a message's vector.
const BEFORE: f32 = 0.5;
/// A question whose best passage covers less of its weight has found nothing.
const COVERED: f32 = 0.3;

/// Indexes some of what a tenant's index is behind. Returns whether there may be more.
pub(crate) async fn keep_up_some(shelf: &dyn Shelf, tenant: TenantId) -> Result<bool> {
    for _ in 0..STEPS {
        // Whoever has the turn may keep it for long, and other tenants wait as well.
        let Some(_turn) = shelf.embedding().turn_soon(tenant).await else {
            return Ok(true);
        };
        if !index_step(shelf, tenant, true).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until everything that was written before the call is found.
pub(crate) async fn catch_up(shelf: &dyn Shelf, tenant: TenantId) -> Result<()> {
    loop {
        let _turn = shelf.embedding().turn(tenant).await;
        if !index_step(shelf, tenant, false).await? {
            break;
        }
    }
    embed(shelf, tenant).await
}

/// Returns how far the index has come.
pub(crate) async fn progress(shelf: &dyn Shelf, tenant: TenantId) -> Result<IndexProgress> {
    let Settings { language, indexed } = settings(shelf, tenant).await?;
    let embedder = shelf.embedding().of(language);
    let embedder = embedder.map(|embedder| embedder_key(&**embedder));
    let (passages, embedded) = shelf.counts(tenant, embedder).await?;
    // The last records may be gone with their conversation.
    let behind = !shelf.fed(tenant, indexed, 1).await?.is_empty();
    let records = if behind {
        shelf.last_cursor(tenant).await?
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

/// What vectors of an embedder are kept under.
pub(super) fn embedder_key(embedder: &dyn Embedder) -> EmbedderKey {
    use sha2::{Digest as _, Sha256};
    let name = format!("{}/{}", embedder.id(), embedder.dim());
    let hash = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    EmbedderKey(u64::from_be_bytes(first))
}

/// Indexes the next records of a tenant. Returns whether there may be more. The caller has the tenant's turn, and waited for it before a
/// session takes a connection: who has the turn needs some.
async fn index_step(shelf: &dyn Shelf, tenant: TenantId, patient: bool) -> Result<bool> {
    let mut tries = Tries::default();
    let store = shelf;
    loop {
        let session = store.session(tenant, true).await?;
        let shelf = session.as_deref().unwrap_or(store);
        let mut plan = Plan::on(shelf, tenant).await?;
        let before = settings(shelf, tenant).await?;
        let records = shelf.fed(tenant, before.indexed, STEP).await?;
        let Some(last) = records.last() else {
            return Ok(false);
        };
        let full = records.len() == STEP;
        let key = shelf.tenant_key(tenant).await?;
        let mut reader = Reader {
            shelf,
            tenant,
            key: &key,
            language: before.language,
            said: HashMap::new(),
            companies: BTreeMap::new(),
            homes: HashMap::new(),
        };
        for fed in &records {
            reader.read(&mut plan, fed).await?;
        }
        for (channel, (was, is)) in reader.companies {
            if was != Some(is) {
                note_company(&mut plan, channel, was.unwrap_or_default(), is)?;
            }
        }
        let after = Settings {
            indexed: last.cursor,
            ..before
        };
        plan.put_row(Kind::Settings, Vec::new(), &after, &[])?;
        plan.patient = patient && !full;
        if shelf.commit(tenant, plan).await? {
            return Ok(full);
        }
        tries.again().await?;
    }
}

/// Reads records in the order of the feed.
struct Reader<'a> {
    shelf: &'a dyn Shelf,
    tenant: TenantId,
    key: &'a TenantKey,
    language: Language,
    /// What was said last in each conversation, and where.
    said: HashMap<ConversationId, (u64, Said)>,
    companies: BTreeMap<ChannelKey, (Option<Company>, Company)>,
    homes: HashMap<ConversationId, Option<ChannelKey>>,
}

impl Reader<'_> {
    async fn read(&mut self, plan: &mut Plan, fed: &Fed) -> Result<()> {
        let Some(record) = fed.stored.record.as_ref() else {
            return Ok(());
        };
        let (conversation, index) = (fed.conversation, fed.stored.index);
        if let Entry::Event(Event::Gathered(gathered)) = &record.entry {
            return self.gap(plan, fed, gathered);
        }
        let said = says(record);
        let replaced = replaced(record);
        if said.is_none() && replaced.is_none() && started(record).is_none() {
            return Ok(());
        }
        let Some(channel) = self.channel(plan, conversation, record).await? else {
            return Ok(());
        };
        self.company(channel, record, said.as_ref()).await?;
        let space = space(self.key, What::History, Owner::Channel(channel));
        if let Some(id) = replaced {
            let place = (self.tenant, conversation);
            if let Some(holder) = said::holder(self.shelf, place, index, id).await? {
                let key = history_key(space, conversation, holder);
                plan.put_in.retain(|unit| unit.key != key);
                plan.take_out.push(key);
            }
        }
        if let Some(said) = said {
            let before = self.before(conversation, index).await?;
            let key = history_key(space, conversation, index);
            plan.put_in.push(unit_of(
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

    /// The channel of a conversation; noted when it is first heard of.
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
        let kept: Option<ChannelKey> = row(self.shelf, self.tenant, Kind::Home, id).await?;
        let channel = match (kept, started(record)) {
            (Some(kept), _) => Some(kept),
            (None, Some(started)) => Some(ChannelKey::of(self.key, &channel_of(started))),
            (None, None) => home(self.shelf, self.key, self.tenant, conversation).await?,
        };
        if let Some(channel) = channel.filter(|_| kept.is_none()) {
            plan.put_row(Kind::Home, id.to_vec(), &channel, &[])?;
        }
        self.homes.insert(conversation, channel);
        Ok(channel)
    }

    async fn company(
        &mut self,
        channel: ChannelKey,
        record: &Record,
        said: Option<&Said>,
    ) -> Result<()> {
        if !self.companies.contains_key(&channel) {
            let known = row(self.shelf, self.tenant, Kind::Channel, &channel.0).await?;
            self.companies
                .insert(channel, (known, known.unwrap_or_default()));
        }
        let Some((_, company)) = self.companies.get_mut(&channel) else {
            return Ok(());
        };
        let speaker = said.and_then(|said| said.speaker);
        let kind = match started(record) {
            Some(started) => started.conversation.kind,
            None => konstruct_core::message::ConversationKind::Direct,
        };
        *company = company.and(kind, speaker);
        Ok(())
    }

    async fn before(
        &mut self,
        conversation: ConversationId,
        index: u64,
    ) -> Result<Option<(u64, Said)>> {
        match self.said.get(&conversation) {
            Some(known) => Ok(Some(known.clone())),
            None => said::before(self.shelf, (self.tenant, conversation), index, None).await,
        }
    }

    /// Notes a question that found nothing in the documents.
    fn gap(&self, plan: &mut Plan, fed: &Fed, gathered: &Gathered) -> Result<()> {
        let found = |coverage: f32| coverage >= COVERED;
        if gathered.knowledge.iter().any(|cited| found(cited.coverage)) {
            return Ok(());
        }
        // The last one first.
        let key = (u64::MAX - fed.cursor).to_be_bytes().to_vec();
        let place = (fed.conversation, fed.stored.index);
        plan.put_row(Kind::Gap, key, &place, &[])
    }
}

/// The key of a record's unit.
pub(super) fn history_key(
    space: super::shelf::Space,
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
    said: &Said,
    before: Option<&(u64, Said)>,
) -> Unit {
    let mut persons = said.persons.clone();
    persons.extend(before.iter().flat_map(|(_, before)| &before.persons));
    Unit {
        key: place,
        about: UnitInfo {
            what: What::History,
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

/// Embeds every passage that has no vector of the present embedder.
async fn embed(shelf: &dyn Shelf, tenant: TenantId) -> Result<()> {
    let language = settings(shelf, tenant).await?.language;
    let Some(embedder) = shelf.embedding().of(language) else {
        return Ok(());
    };
    let mut after = None;
    loop {
        after = embed_step(shelf, tenant, (embedder, after)).await?;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Embeds some of the passages that have no vector of the present embedder, from after a unit on. Returns where to continue; `None`
/// when there are no more.
pub(crate) async fn embed_some(
    shelf: &dyn Shelf,
    tenant: TenantId,
    after: Option<UnitKey>,
) -> Result<Option<UnitKey>> {
    let language = settings(shelf, tenant).await?.language;
    match shelf.embedding().of(language) {
        Some(embedder) => embed_step(shelf, tenant, (embedder, after)).await,
        None => Ok(None),
    }
}

async fn embed_step(
    shelf: &dyn Shelf,
    tenant: TenantId,
    (embedder, after): (&Arc<dyn Embedder>, Option<UnitKey>),
) -> Result<Option<UnitKey>> {
    let _alone = shelf.embedding().alone(tenant).await;
    let key = embedder_key(&**embedder);
    let mut tries = Tries::default();
    // The vectors of texts. An embedder takes its time, and much may be said meanwhile: what was paid for is not asked for again.
    let mut known = HashMap::new();
    loop {
        let plan = Plan::on(shelf, tenant).await?;
        let units = shelf.unembedded(tenant, key, after, EMBED).await?;
        let Some(last) = units.last() else {
            return Ok(None);
        };
        let vectors = vectors(shelf, tenant, (embedder, &mut known), &units).await?;
        let plan = Plan { vectors, ..plan };
        if shelf.commit(tenant, plan).await? {
            // A unit whose text is gone has no vector, and must not be asked for again and again.
            return Ok(Some(*last));
        }
        tries.again().await?;
    }
}

/// What is embedded of a unit: for each passage its text, and what was said right before.
#[derive(Default)]
struct Texts {
    passages: Vec<String>,
    before: Option<String>,
}

impl Texts {
    fn of((said, before): said::Spoken) -> Self {
        let parts = unit::parts(&said.text).into_iter();
        Self {
            passages: parts.map(str::to_owned).collect(),
            before: before.map(|before| before.text),
        }
    }
}

async fn vectors(
    shelf: &dyn Shelf,
    tenant: TenantId,
    (embedder, known): (&Arc<dyn Embedder>, &mut HashMap<String, Vec<f32>>),
    units: &[UnitKey],
) -> Result<Vec<VectorPut>> {
    let texts = texts_of(shelf, tenant, units).await?;
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
                "the embedder gave other vectors than were asked for",
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

/// What the ledger calls the embedding of these units: the same after a crash, and nothing of their text.
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

/// A passage's vector with some of what was said right before, of length 1.
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

/// Scales a vector to length 1; one of zeros stays.
pub(super) fn unit_length(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|at| at * at).sum::<f32>().sqrt();
    if length > 0.0 && length.is_finite() {
        for at in &mut vector {
            *at /= length;
        }
    }
    vector
}

/// Reads what is embedded of units: those of messages at once, the others one by one.
async fn texts_of(shelf: &dyn Shelf, tenant: TenantId, units: &[UnitKey]) -> Result<Vec<Texts>> {
    // The id of a document or a fact begins with the time.
    let is_message = |unit: &&UnitKey| unit.item[..8] == [0; 8];
    let messages = units.iter().filter(is_message);
    let places: Vec<_> = messages
        .map(|unit| (ConversationId::from_bytes(unit.group.0), unit.index()))
        .collect();
    let mut spoken = said::with_before(shelf, tenant, &places).await?.into_iter();
    let mut texts = Vec::with_capacity(units.len());
    for unit in units {
        if is_message(&unit) {
            let spoken = spoken.next().flatten();
            texts.push(spoken.map(Texts::of).unwrap_or_default());
            continue;
        }
        let passages = match knowledge::texts(shelf, tenant, unit).await? {
            Some(texts) => texts,
            None => fact::texts(shelf, tenant, unit).await?,
        };
        texts.push(Texts {
            passages,
            before: None,
        });
    }
    Ok(texts)
}
