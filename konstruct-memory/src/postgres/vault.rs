//! Keys as rows, and the sealing and opening of all payloads in tables.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use konstruct_core::{Error, PersonId, Result, TenantId};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    error::{corrupt, stored},
    tenant::TenantTx,
};
use crate::{
    compact::{decode, encode_onto},
    seal::{self, KeyId, KeyRing, PersonKey, Place, TenantKey},
};

/// The most cached keys of tenants.
const KEPT: usize = 10_000;

/// Tenants' keys, each with the row that it was unwrapped from.
type Kept = HashMap<TenantId, (Vec<u8>, Arc<TenantKey>)>;

/// The most cached keys of persons.
const KEPT_PERSONS: usize = 50_000;

/// The key ring, and the cache of unwrapped keys.
///
/// Every transaction compares a tenant's key with its row, so that an erasure and a new key, here or by another process, are
/// noticed. A person's key is cached only for sealing: every transaction that writes something sealed with it locks the key's
/// row, and is refused if the key is gone. Cached keys are never used to open anything.
#[derive(Debug)]
pub(super) struct Vault {
    ring: KeyRing,
    kept: Mutex<Kept>,
    persons: Mutex<HashMap<(TenantId, PersonId), PersonKey>>,
}

impl Vault {
    pub(super) fn new(ring: KeyRing) -> Self {
        Self {
            ring,
            kept: Mutex::default(),
            persons: Mutex::default(),
        }
    }

    fn kept_persons(&self) -> MutexGuard<'_, HashMap<(TenantId, PersonId), PersonKey>> {
        self.persons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Caches keys of persons that were read.
    pub(super) fn keep<'a>(
        &self,
        tenant: TenantId,
        keys: impl IntoIterator<Item = (PersonId, &'a PersonKey)>,
    ) {
        let mut kept = self.kept_persons();
        if kept.len() >= KEPT_PERSONS {
            kept.clear();
        }
        for (person, key) in keys {
            kept.insert((tenant, person), key.clone());
        }
    }

    /// Drops the cached key of a person, or those of all persons of a tenant.
    pub(super) fn forget(&self, tenant: TenantId, person: Option<PersonId>) {
        let mut kept = self.kept_persons();
        match person {
            Some(person) => drop(kept.remove(&(tenant, person))),
            None => kept.retain(|(of, _), _| *of != tenant),
        }
    }

    /// Returns the cached keys of persons.
    pub(super) fn kept_of<'a>(
        &self,
        tenant: TenantId,
        persons: impl IntoIterator<Item = &'a PersonId>,
    ) -> Persons {
        let kept = self.kept_persons();
        let of = |person: &PersonId| Some((*person, kept.get(&(tenant, *person))?.clone()));
        Persons(persons.into_iter().filter_map(of).collect())
    }

    pub(super) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unwraps a tenant's key, or returns the cached one.
    pub(super) fn unwrap(&self, tenant: TenantId, wrapped: Vec<u8>) -> Result<Arc<TenantKey>> {
        if let Some((of, key)) = self.kept().get(&tenant)
            && *of == wrapped
        {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(TenantKey::unwrap(&self.ring, tenant, &wrapped)?);
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(tenant, (wrapped, Arc::clone(&key)));
        Ok(key)
    }

    /// Returns the cached key of the tenant with its row, to be compared with the current row.
    pub(super) fn last(&self, tenant: TenantId) -> Option<(Vec<u8>, Arc<TenantKey>)> {
        self.kept().get(&tenant).cloned()
    }

    /// Returns the tenant's key; `None` if nothing was ever stored for it.
    pub(super) async fn key(&self, tx: &mut TenantTx) -> Result<Option<Arc<TenantKey>>> {
        Ok(self.key_and_row(tx).await?.map(|(_, key)| key))
    }

    /// Returns the tenant's key with its row; `None` if nothing was ever stored for it.
    pub(super) async fn key_and_row(
        &self,
        tx: &mut TenantTx,
    ) -> Result<Option<(Vec<u8>, Arc<TenantKey>)>> {
        let wrapped: Option<Vec<u8>> =
            sqlx::query_scalar("select wrapped from konstruct.tenant_keys where tenant = $1")
                .bind(tx.id())
                .fetch_optional(tx.db())
                .await
                .map_err(stored)?;
        wrapped
            .map(|wrapped| Ok((wrapped.clone(), self.unwrap(tx.tenant(), wrapped)?)))
            .transpose()
    }

    /// Returns the tenant's key, and creates it if there is none.
    pub(super) async fn key_or_new(&self, tx: &mut TenantTx) -> Result<Arc<TenantKey>> {
        Ok(self.key_or_new_and_row(tx).await?.1)
    }

    /// Returns the tenant's key with its row, and creates it if there is none.
    pub(super) async fn key_or_new_and_row(
        &self,
        tx: &mut TenantTx,
    ) -> Result<(Vec<u8>, Arc<TenantKey>)> {
        if let Some(found) = self.key_and_row(tx).await? {
            return Ok(found);
        }
        let (_, wrapped) = TenantKey::generate(&self.ring, tx.tenant())?;
        sqlx::query("insert into konstruct.tenant_keys values ($1, $2) on conflict do nothing")
            .bind(tx.id())
            .bind(wrapped)
            .execute(tx.db())
            .await
            .map_err(stored)?;
        // Another process may have been faster.
        self.key_and_row(tx).await?.ok_or_else(corrupt)
    }
}

/// The keys of persons in one transaction.
#[derive(Debug, Default)]
pub(super) struct Persons(HashMap<PersonId, PersonKey>);

impl Persons {
    /// Reads the keys of these persons, and creates missing ones. Call it before taking other locks: it waits for transactions
    /// that create the same keys.
    pub(super) async fn of(
        tx: &mut TenantTx,
        key: &TenantKey,
        persons: &BTreeSet<PersonId>,
    ) -> Result<Self> {
        let mut found = Self::default();
        if persons.is_empty() {
            return Ok(found);
        }
        found.read(tx, key, persons).await?;
        found.make_missing(tx, key, persons).await?;
        Ok(found)
    }

    /// Returns the key of a person, if it was read.
    pub(super) fn get(&self, person: PersonId) -> Option<&PersonKey> {
        self.0.get(&person)
    }

    /// Returns all of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PersonId, &PersonKey)> {
        self.0.iter().map(|(person, key)| (*person, key))
    }

    /// Adds a key that was read.
    pub(super) fn add(
        &mut self,
        key: &TenantKey,
        person: Uuid,
        id: Uuid,
        wrapped: &[u8],
    ) -> Result<()> {
        let (person, key) = unwrap(key, person, id, wrapped)?;
        self.0.insert(person, key);
        Ok(())
    }

    /// Creates the keys that were not found.
    pub(super) async fn make_missing(
        &mut self,
        tx: &mut TenantTx,
        key: &TenantKey,
        persons: &BTreeSet<PersonId>,
    ) -> Result<()> {
        let missing: Vec<_> = persons
            .iter()
            .filter(|person| !self.0.contains_key(person))
            .copied()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (mut keys, mut wrapped) = (Vec::new(), Vec::new());
        for person in &missing {
            let made = PersonKey::random()?;
            wrapped.push(key.wrap_person(*person, &made)?);
            keys.push(Uuid::from_bytes(*made.id.as_bytes()));
        }
        sqlx::query(
            "insert into konstruct.person_keys (tenant, person, key, wrapped)
             select $1, n.person, n.key, n.wrapped from unnest($2::uuid[], $3::uuid[], $4::bytea[]) n(person, key, wrapped)
             order by n.person on conflict (tenant, person) do nothing",
        )
        .bind(tx.id())
        .bind(uuids(&missing))
        .bind(keys)
        .bind(wrapped)
        .execute(tx.db())
        .await
        .map_err(stored)?;
        // Another process may have created some of them.
        self.read(tx, key, persons).await
    }

    pub(super) async fn read(
        &mut self,
        tx: &mut TenantTx,
        key: &TenantKey,
        persons: &BTreeSet<PersonId>,
    ) -> Result<()> {
        let persons: Vec<_> = persons.iter().copied().collect();
        let rows: Vec<(Uuid, Uuid, Vec<u8>)> = sqlx::query_as(
            "select person, key, wrapped from konstruct.person_keys where tenant = $1 and person = any($2)",
        )
        .bind(tx.id())
        .bind(uuids(&persons))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        for (person, id, wrapped) in rows {
            self.add(key, person, id, &wrapped)?;
        }
        Ok(())
    }

    /// Seals a value to its place and to persons, whose keys must have been read.
    pub(super) fn seal<T: Serialize>(
        &self,
        key: &TenantKey,
        persons: impl IntoIterator<Item = PersonId>,
        place: (&str, &[u8]),
        value: &T,
    ) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        encode_onto(value, &mut plain)?;
        self.seal_bytes(key, persons, place, &plain)
    }

    /// Seals bytes to their place and to persons, whose keys must have been read.
    pub(super) fn seal_bytes(
        &self,
        key: &TenantKey,
        persons: impl IntoIterator<Item = PersonId>,
        (table, row): (&str, &[u8]),
        bytes: &[u8],
    ) -> Result<Vec<u8>> {
        let keys = persons
            .into_iter()
            .map(|person| self.0.get(&person).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal("a person's key was not read"))?;
        let place = Place {
            tenant: key.tenant(),
            table,
            row,
        };
        seal::seal(key, &keys, place, bytes)
    }
}

/// A sealed value: its row, and its bytes if they still exist.
pub(super) type Sealed = (Vec<u8>, Option<Vec<u8>>);

/// Opens values of one table; `None` for each that can no longer be opened.
pub(super) async fn open<T: DeserializeOwned>(
    tx: &mut TenantTx,
    key: &TenantKey,
    table: &str,
    rows: &[Sealed],
) -> Result<Vec<Option<T>>> {
    open_bytes(tx, key, table, rows)
        .await?
        .into_iter()
        .map(|opened| opened.map(|bytes| decode(&bytes)).transpose())
        .collect()
}

/// Opens bytes of one table; `None` for each that can no longer be opened.
pub(super) async fn open_bytes(
    tx: &mut TenantTx,
    key: &TenantKey,
    table: &str,
    rows: &[Sealed],
) -> Result<Vec<Option<Bytes>>> {
    let mut ids = BTreeSet::new();
    for sealed in rows.iter().filter_map(|(_, sealed)| sealed.as_deref()) {
        ids.extend(seal::persons(sealed)?);
    }
    let keys = keys_by_id(tx, key, &ids).await?;
    rows.iter()
        .map(|(row, sealed)| match sealed {
            Some(sealed) => keys.open_bytes(key, (table, row), sealed),
            None => Ok(None),
        })
        .collect()
}

/// Keys of persons by id, read in one transaction, for opening.
#[derive(Debug, Default)]
pub(super) struct KeysById(HashMap<KeyId, PersonKey>);

impl KeysById {
    /// Adds a key that was read, and returns its person.
    pub(super) fn add(
        &mut self,
        key: &TenantKey,
        (person, id, wrapped): (Uuid, Uuid, &[u8]),
    ) -> Result<(PersonId, &PersonKey)> {
        let (person, unwrapped) = unwrap(key, person, id, wrapped)?;
        let id = unwrapped.id;
        Ok((person, self.0.entry(id).or_insert(unwrapped)))
    }

    /// Opens a value; `None` if a key of its persons is gone.
    pub(super) fn open<T: DeserializeOwned>(
        &self,
        key: &TenantKey,
        place: (&str, &[u8]),
        sealed: &[u8],
    ) -> Result<Option<T>> {
        let opened = self.open_bytes(key, place, sealed)?;
        opened.map(|bytes| decode(&bytes)).transpose()
    }

    /// Opens bytes; `None` if a key of their persons is gone.
    pub(super) fn open_bytes(
        &self,
        key: &TenantKey,
        (table, row): (&str, &[u8]),
        sealed: &[u8],
    ) -> Result<Option<Bytes>> {
        let needed: Option<Vec<_>> = seal::persons(sealed)?
            .iter()
            .map(|id| self.0.get(id).cloned())
            .collect();
        let Some(needed) = needed else {
            return Ok(None);
        };
        let place = Place {
            tenant: key.tenant(),
            table,
            row,
        };
        seal::open(key, &needed, place, sealed).map(Some)
    }
}

async fn keys_by_id(tx: &mut TenantTx, key: &TenantKey, ids: &BTreeSet<KeyId>) -> Result<KeysById> {
    let mut keys = KeysById::default();
    if ids.is_empty() {
        return Ok(keys);
    }
    let ids: Vec<_> = ids
        .iter()
        .map(|id| Uuid::from_bytes(*id.as_bytes()))
        .collect();
    let rows: Vec<(Uuid, Uuid, Vec<u8>)> = sqlx::query_as(
        "select person, key, wrapped from konstruct.person_keys where tenant = $1 and key = any($2)",
    )
    .bind(tx.id())
    .bind(ids)
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    for (person, id, wrapped) in rows {
        keys.add(key, (person, id, &wrapped))?;
    }
    Ok(keys)
}

fn unwrap(
    key: &TenantKey,
    person: Uuid,
    id: Uuid,
    wrapped: &[u8],
) -> Result<(PersonId, PersonKey)> {
    let person = PersonId::from_bytes(*person.as_bytes());
    let id = KeyId::from_bytes(*id.as_bytes());
    Ok((person, key.unwrap_person(person, id, wrapped)?))
}

/// Converts persons for a statement.
pub(super) fn uuids(persons: &[PersonId]) -> Vec<Uuid> {
    persons
        .iter()
        .map(|person| Uuid::from_bytes(*person.as_bytes()))
        .collect()
}

/// Returns the row id of a conversation.
pub(super) fn row_of(conversation: Uuid) -> Vec<u8> {
    conversation.as_bytes().to_vec()
}

/// Returns the row id of a numbered item of a conversation.
pub(super) fn row_in(conversation: Uuid, number: i64) -> Vec<u8> {
    [conversation.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

/// Returns the row id of an open item.
pub(super) fn item_row(conversation: Uuid, item: &str) -> Vec<u8> {
    [conversation.as_bytes().as_slice(), item.as_bytes()].concat()
}

/// Serializes unsealed JSON.
pub(super) fn encode_text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::internal("a row could not be serialized as JSON").with_source(error)
    })
}

/// Deserializes unsealed JSON.
pub(super) fn decode_text<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt().with_source(error))
}
