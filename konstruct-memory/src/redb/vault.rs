//! A tenant's keys within a transaction. They are rows like all others, and are committed with the data they seal.
//!
//! Unwrapped keys are cached with the row they were unwrapped from, and are valid only while that row exists. An erasure drops
//! all cached keys of persons.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use konstruct_core::{
    ConversationId, Error, ErrorKind, PersonId, Result, TenantId, Timestamp, store::rules,
    turn::Record,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Redb, Shared,
    head::corrupt,
    keys::{self, FORGOTTEN, KEYS, META, PERSON_KEYS, TENANT_KEYS, Table, WORDS},
    log::Written,
    record_cache::RecordCache,
    slices::Erasing,
    snapshot::Rows,
    writer::{Batch, Operation},
};
use crate::{
    compact::{decode, encode_onto},
    seal::{self, KeyId, KeyRing, PersonKey, Place, TenantKey},
};

/// The key ring, the cached tenant keys, and the cached records.
pub(super) struct Keys {
    ring: KeyRing,
    tenants: Mutex<HashMap<TenantId, Unwrapped>>,
    cache: Arc<RecordCache>,
    persons: Arc<Persons>,
}

/// The most cached keys of persons.
const KEPT: usize = 10_000;

/// Keys, each with the row that it was unwrapped from.
type KeptKeys = HashMap<(TenantId, KeyId), (Vec<u8>, PersonKey)>;

/// The cached keys of persons.
#[derive(Debug, Default)]
struct Persons(Mutex<KeptKeys>);

impl Persons {
    fn kept(&self) -> MutexGuard<'_, KeptKeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwrap(&self, tenant: &TenantKey, id: KeyId, row: Vec<u8>) -> Result<PersonKey> {
        let at = (tenant.tenant(), id);
        if let Some((wrapped, key)) = self.kept().get(&at)
            && *wrapped == row
        {
            return Ok(key.clone());
        }
        let (person, wrapped) = row.split_first_chunk().ok_or_else(corrupt)?;
        let key = tenant.unwrap_person(PersonId::from_bytes(*person), id, wrapped)?;
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(at, (row, key.clone()));
        Ok(key)
    }
}

struct Unwrapped {
    /// The row that it was unwrapped from.
    wrapped: Vec<u8>,
    key: Arc<TenantKey>,
}

impl Keys {
    pub(super) fn new(ring: KeyRing) -> Self {
        Self {
            ring,
            tenants: Mutex::default(),
            cache: Arc::default(),
            persons: Arc::default(),
        }
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Unwrapped>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the id of the ring's wrapping key.
    pub(super) fn current_id(&self) -> &str {
        self.ring.current_id()
    }

    /// Drops a tenant's key from memory.
    pub(super) fn forget(&self, tenant: TenantId) {
        self.tenants().remove(&tenant);
    }

    /// Caches the records of a row that was just written.
    pub(super) fn keep_records(&self, written: Written, records: Vec<Record>) {
        written.keep(&self.cache, records);
    }

    /// Drops the cached records, and the keys of persons.
    pub(super) fn forget_persons(&self) {
        self.cache.clear();
        self.persons.kept().clear();
    }

    /// Disables the record cache for a tenant until [`Keys::open_records`]: rows with a destroyed key may still be unchanged.
    pub(super) fn close_records(&self, tenant: TenantId) {
        self.cache.close(tenant);
    }

    pub(super) fn open_records(&self, tenant: TenantId) {
        self.cache.open(tenant);
    }

    fn unwrap(&self, tenant: TenantId, wrapped: Vec<u8>) -> Result<Arc<TenantKey>> {
        if let Some(known) = self.tenants().get(&tenant)
            && known.wrapped == wrapped
        {
            return Ok(Arc::clone(&known.key));
        }
        let key = Arc::new(TenantKey::unwrap(&self.ring, tenant, &wrapped)?);
        let unwrapped = Unwrapped {
            wrapped,
            key: Arc::clone(&key),
        };
        self.tenants().insert(tenant, unwrapped);
        Ok(key)
    }
}

/// A tenant's keys, for one transaction or operation.
#[derive(Debug)]
pub(super) struct Vault {
    pub(super) key: Arc<TenantKey>,
    /// The persons' keys that were looked up: `None` for a missing key.
    known: HashMap<KeyId, Option<PersonKey>>,
    persons: HashMap<PersonId, KeyId>,
    /// When persons were last erased.
    forgotten: HashMap<PersonId, Option<Timestamp>>,
    /// Known entries of persons' words by conversation.
    noted: HashSet<(PersonId, ConversationId)>,
    pub(super) cache: Arc<RecordCache>,
    kept: Arc<Persons>,
}

impl Shared {
    /// Returns a tenant's keys; `None` for a tenant without data.
    pub(super) fn vault(&self, rows: &mut dyn Rows, tenant: TenantId) -> Result<Option<Vault>> {
        rows.get(TENANT_KEYS, tenant.as_bytes())?
            .map(|wrapped| Ok(Vault::new(self.keys.unwrap(tenant, wrapped)?, &self.keys)))
            .transpose()
    }

    /// Returns a tenant's keys, and creates them if there are none.
    pub(super) fn vault_or_new(&self, batch: &mut Batch<'_>, tenant: TenantId) -> Result<Vault> {
        if let Some(vault) = batch.take_vault(tenant) {
            return Ok(vault);
        }
        if let Some(vault) = self.vault(batch, tenant)? {
            return Ok(vault);
        }
        let (key, wrapped) = TenantKey::generate(&self.keys.ring, tenant)?;
        batch.put(TENANT_KEYS, tenant.as_bytes().to_vec(), wrapped);
        Ok(Vault::new(Arc::new(key), &self.keys))
    }
}

impl Vault {
    fn new(key: Arc<TenantKey>, keys: &Keys) -> Self {
        Self {
            key,
            cache: Arc::clone(&keys.cache),
            kept: Arc::clone(&keys.persons),
            known: HashMap::new(),
            persons: HashMap::new(),
            forgotten: HashMap::new(),
            noted: HashSet::new(),
        }
    }

    pub(super) fn tenant(&self) -> TenantId {
        self.key.tenant()
    }

    /// Returns a key that contains the hash of a name.
    pub(super) fn named(&self, label: &str, name: &[u8]) -> Vec<u8> {
        keys::of(self.tenant(), &[&self.key.hash(label, name)])
    }

    /// Seals a value to its place and to persons. Creates missing keys.
    pub(super) fn seal<T: Serialize>(
        &mut self,
        batch: &mut Batch<'_>,
        persons: &[PersonId],
        place: (Table, &[u8]),
        value: &T,
    ) -> Result<Vec<u8>> {
        let mut row = Vec::new();
        self.seal_onto(batch, persons, place, value, &mut row)?;
        Ok(row)
    }

    /// Appends a sealed value to a row.
    pub(super) fn seal_onto<T: Serialize>(
        &mut self,
        batch: &mut Batch<'_>,
        persons: &[PersonId],
        (table, key): (Table, &[u8]),
        value: &T,
        row: &mut Vec<u8>,
    ) -> Result<()> {
        let keys = self.person_keys(batch, persons)?;
        seal::seal_onto(&self.key, &keys, self.place(table, key), row, |row| {
            encode_onto(value, row)
        })
    }

    /// Appends a sealed value to a row if all persons have a key. Returns whether they do.
    pub(super) fn seal_known<T: Serialize>(
        &mut self,
        rows: &mut dyn Rows,
        persons: &[PersonId],
        (table, key): (Table, &[u8]),
        value: &T,
        row: &mut Vec<u8>,
    ) -> Result<bool> {
        let mut keys = Vec::with_capacity(persons.len());
        for person in persons {
            match self.known_key(rows, *person)? {
                Some(key) => keys.push(key),
                None => return Ok(false),
            }
        }
        seal::seal_onto(&self.key, &keys, self.place(table, key), row, |row| {
            encode_onto(value, row)
        })?;
        Ok(true)
    }

    /// Seals bytes to their place and to persons.
    pub(super) fn seal_bytes(
        &mut self,
        batch: &mut Batch<'_>,
        persons: &[PersonId],
        (table, row): (Table, &[u8]),
        plain: &[u8],
    ) -> Result<Vec<u8>> {
        let keys = self.person_keys(batch, persons)?;
        seal::seal(&self.key, &keys, self.place(table, row), plain)
    }

    fn person_keys(
        &mut self,
        batch: &mut Batch<'_>,
        persons: &[PersonId],
    ) -> Result<Vec<PersonKey>> {
        persons
            .iter()
            .map(|person| self.person_key(batch, *person))
            .collect()
    }

    /// Opens a value; `None` if a person's key is gone.
    pub(super) fn open<T: DeserializeOwned>(
        &mut self,
        rows: &mut dyn Rows,
        place: (Table, &[u8]),
        sealed: &[u8],
    ) -> Result<Option<T>> {
        self.open_bytes(rows, place, sealed)?
            .map(|plain| decode(&plain))
            .transpose()
    }

    /// Opens bytes; `None` if a person's key is gone.
    pub(super) fn open_bytes(
        &mut self,
        rows: &mut dyn Rows,
        (table, row): (Table, &[u8]),
        sealed: &[u8],
    ) -> Result<Option<Bytes>> {
        let mut keys = Vec::new();
        for id in seal::persons(sealed)? {
            match self.key_of(rows, id)? {
                Some(key) => keys.push(key),
                None => return Ok(None),
            }
        }
        seal::open(&self.key, &keys, self.place(table, row), sealed).map(Some)
    }

    /// Returns whether a person has a key.
    pub(super) fn has_key(&self, rows: &mut dyn Rows, person: PersonId) -> Result<bool> {
        let own = keys::of(self.tenant(), &[person.as_bytes()]);
        Ok(self.persons.contains_key(&person) || rows.get(PERSON_KEYS, &own)?.is_some())
    }

    /// Returns whether a key still exists.
    pub(super) fn has_this(&mut self, rows: &mut dyn Rows, id: KeyId) -> Result<bool> {
        Ok(self.key_of(rows, id)?.is_some())
    }

    /// Returns whether a person was erased after this time.
    pub(super) fn was_forgotten(
        &mut self,
        rows: &mut dyn Rows,
        person: PersonId,
        happened: Timestamp,
    ) -> Result<bool> {
        let forgotten = match self.forgotten.get(&person) {
            Some(known) => *known,
            None => {
                let row = rows.get(FORGOTTEN, &keys::of(self.tenant(), &[person.as_bytes()]))?;
                let when = row.map(|row| keys::number(&row, 0).ok_or_else(corrupt));
                let when = when.transpose()?.map(u64::cast_signed);
                *self
                    .forgotten
                    .entry(person)
                    .or_insert(when.map(Timestamp::from_micros))
            }
        };
        Ok(forgotten.is_some_and(|when| rules::came_before(happened, when)))
    }

    /// Records that a conversation may contain a person's words.
    pub(super) fn note_words(
        &mut self,
        batch: &mut Batch<'_>,
        person: PersonId,
        conversation: ConversationId,
    ) -> Result<()> {
        if self.noted.insert((person, conversation)) {
            let key = keys::of(self.tenant(), &[person.as_bytes(), conversation.as_bytes()]);
            if batch.get(WORDS, &key)?.is_none() {
                batch.put(WORDS, key, []);
            }
        }
        Ok(())
    }

    fn place<'a>(&self, table: Table, row: &'a [u8]) -> Place<'a> {
        Place {
            tenant: self.tenant(),
            table: table.name,
            row,
        }
    }

    fn key_of(&mut self, rows: &mut dyn Rows, id: KeyId) -> Result<Option<PersonKey>> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let row = rows.get(KEYS, &keys::of(self.tenant(), &[id.as_bytes()]))?;
        let key = row
            .map(|row| self.kept.unwrap(&self.key, id, row))
            .transpose()?;
        self.known.insert(id, key.clone());
        Ok(key)
    }

    /// Returns a person's key; `None` if there is none yet, or none any more.
    pub(super) fn known_key(
        &mut self,
        rows: &mut dyn Rows,
        person: PersonId,
    ) -> Result<Option<PersonKey>> {
        let id = match self.persons.get(&person) {
            Some(id) => Some(*id),
            None => rows
                .get(PERSON_KEYS, &keys::of(self.tenant(), &[person.as_bytes()]))?
                .map(|row| keys::id(&row, 0).map(KeyId::from_bytes).ok_or_else(corrupt))
                .transpose()?,
        };
        let Some(id) = id else { return Ok(None) };
        let key = self.key_of(rows, id)?;
        if key.is_some() {
            self.persons.insert(person, id);
        }
        Ok(key)
    }

    fn person_key(&mut self, batch: &mut Batch<'_>, person: PersonId) -> Result<PersonKey> {
        if let Some(key) = self.known_key(batch, person)? {
            return Ok(key);
        }
        let key = PersonKey::random()?;
        let mut row = person.as_bytes().to_vec();
        row.extend(self.key.wrap_person(person, &key)?);
        let own = keys::of(self.tenant(), &[person.as_bytes()]);
        batch.put(PERSON_KEYS, own, *key.id.as_bytes());
        batch.put(KEYS, keys::of(self.tenant(), &[key.id.as_bytes()]), row);
        self.persons.insert(person, key.id);
        self.known.insert(key.id, Some(key.clone()));
        Ok(key)
    }
}

/// Creates the keys of a new tenant.
pub(super) struct MakeKeys(pub(super) TenantId);

impl Operation for MakeKeys {
    type Output = ();

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.0)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<()> {
        shared.vault_or_new(batch, self.0).map(drop)
    }
}

/// The row of [`META`] with the key ring of a file that was created without one.
const KEPT_RING: &[u8] = b"key_ring";

/// Returns the key ring of a file: the given one, the stored one, or both. A new file without a ring gets one.
///
/// # Errors
/// [`ErrorKind::Unauthorized`] if it lacks a key that the file needs.
pub(super) fn find_ring(given: Option<KeyRing>, batch: &mut Batch<'_>) -> Result<KeyRing> {
    let kept = batch.get(META, KEPT_RING)?.map(kept_ring).transpose()?;
    let wrapped = batch.all(TENANT_KEYS, &[])?;
    let ring = match (given, kept) {
        (Some(given), Some(kept)) => given.with_old(&kept),
        (Some(ring), None) | (None, Some(ring)) => ring,
        (None, None) if wrapped.is_empty() => {
            let ring = KeyRing::generate()?;
            let text = ring.to_secret();
            batch.put(META, KEPT_RING.to_vec(), text.expose().as_bytes());
            ring
        }
        (None, None) => {
            return Err(Error::new(
                ErrorKind::Unauthorized,
                "the file was created with a key ring, and none was given",
            ));
        }
    };
    for (key, wrapped) in wrapped {
        TenantKey::unwrap(&ring, tenant_of(&key)?, &wrapped)?;
    }
    Ok(ring)
}

fn kept_ring(text: Vec<u8>) -> Result<KeyRing> {
    KeyRing::parse(&String::from_utf8(text).map_err(|_| corrupt())?)
}

fn tenant_of(key: &[u8]) -> Result<TenantId> {
    keys::id(key, 0)
        .map(TenantId::from_bytes)
        .ok_or_else(corrupt)
}

/// Wraps every tenant's key with the ring's first key. Removes the stored ring from the file if another one was given.
struct Rewrap;

impl Operation for Rewrap {
    type Output = u64;

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<u64> {
        let ring = &shared.keys.ring;
        let mut many = 0;
        for (key, wrapped) in batch.all(TENANT_KEYS, &[])? {
            let tenant = tenant_of(&key)?;
            let own = TenantKey::unwrap(ring, tenant, &wrapped)?;
            for (at, row) in batch.all(KEYS, tenant.as_bytes())? {
                let id = KeyId::from_bytes(keys::id(&at, 16).ok_or_else(corrupt)?);
                let (person, wrapped) = row.split_first_chunk().ok_or_else(corrupt)?;
                let person = PersonId::from_bytes(*person);
                if let Some(wrapped) = own.rewrap_person(person, id, wrapped)? {
                    batch.put(KEYS, at, [person.as_bytes().as_slice(), &wrapped].concat());
                }
            }
            if let Some(wrapped) = TenantKey::rewrap(ring, tenant, &wrapped)? {
                batch.put(TENANT_KEYS, key, wrapped);
                many += 1;
            }
        }
        if let Some(text) = batch.get(META, KEPT_RING)?
            && kept_ring(text)?.current_id() != ring.current_id()
        {
            batch.delete(META, KEPT_RING.to_vec());
        }
        Ok(many)
    }
}

impl Redb {
    /// Wraps every tenant's and person's key with the first key of the [ring](super::RedbBuilder::key_ring). Returns the number
    /// of tenants whose key was wrapped with another one. Sealed data is unchanged. Afterwards, the ring's other keys are not
    /// needed for this file.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn rewrap_keys(&self) -> Result<u64> {
        self.inner.writer()?.submit(Rewrap).await
    }
}
