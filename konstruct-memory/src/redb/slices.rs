//! Erases a person or a tenant in parts, each in its own transaction, so that events of others are accepted in between.
//!
//! The first transaction destroys the keys: from that commit on, nothing is readable although rows remain. It also writes a row
//! of [`META`] that the last part deletes, so that the next process can finish. A part touches only data that is sealed with a
//! destroyed key, or that precedes the tenant's erasure. Writes for that tenant [wait](Erasing) until the last part.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
};

use konstruct_core::{ConversationId, Depth, Erase, ErrorKind, PersonId, Result, TenantId};

use super::{
    Shared,
    arrival::inbox_keys,
    head::{Head, corrupt},
    index::sealed_to,
    keys::{
        self, DUE, HEADS, INBOX, KEYS, LOG, MEMORY, MEMORY_OF, META, PERSON_KEYS, ROWS,
        TENANT_KEYS, Table, WORDS,
    },
    log::Row,
    snapshot::Rows,
    writer::Batch,
};
use crate::rows::OPERATOR;
use crate::seal::KeyId;

/// The number of log rows read at a time.
const PAGE: usize = 256;

/// The prefixes of the [`META`] rows of unfinished and of prepared erasures.
const UNFINISHED: &[u8] = b"erasing";
const PREPARED: &[u8] = b"to-erase";

/// The target of an erasure in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// All data of a tenant.
    Tenant,
    /// Data sealed with a person's destroyed key.
    Person(PersonId, KeyId),
}

/// An erasure whose keys are destroyed, but whose rows are not all deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unfinished {
    pub(super) tenant: TenantId,
    pub(super) whose: Whose,
}

impl Unfinished {
    fn key(self) -> Vec<u8> {
        let mut key = [UNFINISHED, self.tenant.as_bytes()].concat();
        if let Whose::Person(person, id) = self.whose {
            key.extend_from_slice(person.as_bytes());
            key.extend_from_slice(id.as_bytes());
        }
        key
    }

    fn read(key: &[u8]) -> Result<Self> {
        let key = key.get(UNFINISHED.len()..).ok_or_else(corrupt)?;
        let id = |at| keys::id(key, at).ok_or_else(corrupt);
        let whose = match key.len() {
            16 => Whose::Tenant,
            _ => Whose::Person(PersonId::from_bytes(id(16)?), KeyId::from_bytes(id(32)?)),
        };
        Ok(Self {
            tenant: TenantId::from_bytes(id(0)?),
            whose,
        })
    }

    /// Records that it is unfinished.
    pub(super) fn put(self, batch: &mut Batch<'_>, depth: Depth) {
        batch.put(META, self.key(), depth_row(depth));
    }

    /// Returns the unfinished erasures of the file.
    pub(super) fn all(rows: &mut dyn Rows) -> Result<Vec<(Self, Depth)>> {
        let rows = rows.all(META, UNFINISHED)?;
        let read = |(key, row): &(Vec<u8>, Vec<u8>)| Ok((Self::read(key)?, read_depth(row)));
        rows.iter().map(read).collect()
    }

    pub(super) fn what(self) -> Erase {
        match self.whose {
            Whose::Tenant => Erase::Tenant,
            Whose::Person(person, _) => Erase::Person { person },
        }
    }
}

fn depth_row(depth: Depth) -> [u8; 1] {
    [u8::from(depth == Depth::Physical)]
}

fn read_depth(row: &[u8]) -> Depth {
    match row {
        [1] => Depth::Physical,
        _ => Depth::Logical,
    }
}

/// Returns the [`META`] key of a prepared erasure: units are being removed from the index, and the person's key still exists.
fn prepared(tenant: TenantId, person: PersonId) -> Vec<u8> {
    [PREPARED, tenant.as_bytes(), person.as_bytes()].concat()
}

/// Records that a person is going to be erased, before the first units are removed from the index.
pub(super) fn prepare(batch: &mut Batch<'_>, (tenant, person): (TenantId, PersonId), depth: Depth) {
    batch.put(META, prepared(tenant, person), depth_row(depth));
}

/// Deletes the record of [`prepare`].
pub(super) fn is_erased(batch: &mut Batch<'_>, (tenant, person): (TenantId, PersonId)) {
    batch.delete(META, prepared(tenant, person));
}

/// Returns the erasures that were prepared and not begun.
pub(super) fn all_prepared(rows: &mut dyn Rows) -> Result<Vec<(TenantId, PersonId, Depth)>> {
    let rows = rows.all(META, PREPARED)?;
    let read = |(key, row): &(Vec<u8>, Vec<u8>)| {
        let id = |at| keys::id(key, PREPARED.len() + at).ok_or_else(corrupt);
        let (tenant, person) = (id(0)?, id(16)?);
        Ok((
            TenantId::from_bytes(tenant),
            PersonId::from_bytes(person),
            read_depth(row),
        ))
    };
    rows.iter().map(read).collect()
}

/// The erasures in progress.
#[derive(Debug, Default)]
pub(super) struct Erasing(Mutex<HashSet<Unfinished>>);

impl Erasing {
    fn held(&self) -> MutexGuard<'_, HashSet<Unfinished>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a whole tenant is being erased.
    pub(super) fn all_of(&self, tenant: TenantId) -> bool {
        let whose = Whose::Tenant;
        let held = self.held();
        !held.is_empty() && held.contains(&Unfinished { tenant, whose })
    }

    /// Returns whether this erasure is in progress.
    pub(super) fn has(&self, unfinished: Unfinished) -> bool {
        self.held().contains(&unfinished)
    }

    pub(super) fn begin(&self, unfinished: Unfinished) {
        self.held().insert(unfinished);
    }

    pub(super) fn end(&self, unfinished: Unfinished) {
        self.held().remove(&unfinished);
    }
}

/// The progress of an erasure.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    pub(super) of: Unfinished,
    at: At,
    /// The number of erased records, and of keys besides those that the first transaction destroyed.
    pub(super) records: u64,
    pub(super) keys: u64,
}

/// The next step.
#[derive(Clone, Debug)]
enum At {
    /// The conversations that contain a person's words, from this row of [`WORDS`], and the log of the first from this row.
    Words(Vec<u8>, Option<Vec<u8>>),
    /// The rows of the memory that are sealed to a person, from this row of [`MEMORY_OF`].
    Memory(Vec<u8>),
    /// The tables of a tenant, by index.
    Tables(usize),
    Done,
}

impl Slices {
    pub(super) fn new(of: Unfinished) -> Self {
        let at = match of.whose {
            Whose::Tenant => At::Tables(0),
            Whose::Person(person, _) => At::Words(keys::of(of.tenant, &[person.as_bytes()]), None),
        };
        Self {
            of,
            at,
            records: 0,
            keys: 0,
        }
    }

    /// Restarts from the beginning. Rows may be counted twice.
    pub(super) fn restart(&mut self) {
        *self = Self {
            records: self.records,
            keys: self.keys,
            ..Self::new(self.of)
        };
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.at, At::Done)
    }

    /// Drafts the next part, of about as many rows as the batch allows.
    pub(super) fn next_part(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<()> {
        let mut left = batch.part;
        while left > 0 && !self.is_done() {
            let (at, spent) = match (self.at.clone(), self.of.whose) {
                (At::Words(from, log), Whose::Person(person, key)) => {
                    let next = self.words(batch, shared, (person, key), (from, log), left)?;
                    (next.0, next.1)
                }
                (At::Memory(from), Whose::Person(person, key)) => {
                    self.memory(batch, (person, key), from, left)?
                }
                (At::Tables(at), _) => self.table(batch, at, left)?,
                (At::Words(..) | At::Memory(_) | At::Done, _) => (At::Done, 0),
            };
            self.at = at;
            left = left.saturating_sub(spent);
        }
        if self.is_done() {
            self.end(batch)?;
        }
        Ok(())
    }

    fn end(&self, batch: &mut Batch<'_>) -> Result<()> {
        let Unfinished { tenant, whose } = self.of;
        batch.delete(META, self.of.key());
        if whose == Whose::Tenant {
            for begins in [UNFINISHED, PREPARED] {
                let prefix = [begins, tenant.as_bytes()].concat();
                for (key, _) in batch.all(META, &prefix)? {
                    batch.delete(META, key);
                }
            }
        }
        Ok(())
    }

    /// Removes a person's words from a conversation, or from a part of its log. Returns the next step and the number of rows.
    fn words(
        &mut self,
        batch: &mut Batch<'_>,
        shared: &Shared,
        (person, key): (PersonId, KeyId),
        (from, log): (Vec<u8>, Option<Vec<u8>>),
        most: usize,
    ) -> Result<(At, usize)> {
        let tenant = self.of.tenant;
        let own = keys::of(tenant, &[person.as_bytes()]);
        let Some((words, _)) = batch.page(WORDS, &from, &keys::end(&own), 1)?.pop() else {
            return Ok((At::Memory(own), 1));
        };
        let conversation = ConversationId::from_bytes(keys::id(&words, 32).ok_or_else(corrupt)?);
        let prefix = keys::conversation(tenant, conversation);
        let (mut at, end) = (log.unwrap_or_else(|| prefix.clone()), keys::end(&prefix));
        let mut spent = 0;
        loop {
            let many = PAGE.min(most.saturating_sub(spent));
            if many == 0 {
                return Ok((At::Words(words, Some(at)), spent));
            }
            let page = batch.page(LOG, &at, &end, many)?;
            let Some((last, _)) = page.last() else { break };
            at = after(last);
            spent += page.len();
            for (at, row) in page {
                let left = skip_damaged(Row::read(&row).and_then(|row| row.without(key)))?;
                if let Some((left, gone)) = left.flatten() {
                    batch.put(LOG, at, left);
                    self.records += gone;
                }
            }
        }
        spent += self.inbox(batch, shared, conversation, key)?;
        let next = after(&words);
        // A person with a new key may have written there since.
        if batch.get(PERSON_KEYS, &own)?.is_none() {
            batch.delete(WORDS, words);
        }
        Ok((At::Words(next, None), spent))
    }

    /// Removes a person's events from an inbox. Returns the number of rows.
    fn inbox(
        &mut self,
        batch: &mut Batch<'_>,
        shared: &Shared,
        conversation: ConversationId,
        key: KeyId,
    ) -> Result<usize> {
        let tenant = self.of.tenant;
        let prefix = keys::conversation(tenant, conversation);
        let (mut looked, mut gone) = (1, 0);
        for (at, row) in batch.all(INBOX, &prefix)? {
            looked += 1;
            let sealed_to = skip_damaged(inbox_keys(&row))?;
            if sealed_to.is_some_and(|keys| keys.contains(&key)) {
                batch.delete(INBOX, at);
                gone += 1;
            }
        }
        self.records += gone;
        if gone > 0
            && let Some(mut head) = shared.head(batch, tenant, conversation)?
        {
            head.gone += gone;
            if head.unconsumed() == 0 {
                (head.consumed, head.gone) = (head.last, 0);
            }
            shared.keep_pending(batch, (tenant, conversation), &mut head);
            batch.put(HEADS, prefix, head.to_bytes());
        }
        Ok(looked)
    }

    /// Removes rows of the memory that are sealed to a person.
    fn memory(
        &mut self,
        batch: &mut Batch<'_>,
        (person, key): (PersonId, KeyId),
        from: Vec<u8>,
        most: usize,
    ) -> Result<(At, usize)> {
        let tenant = self.of.tenant;
        let end = keys::end(&keys::of(tenant, &[person.as_bytes()]));
        let page = batch.page(MEMORY_OF, &from, &end, most)?;
        let next = match page.last() {
            Some((last, _)) if page.len() == most => At::Memory(after(last)),
            _ => At::Done,
        };
        let spent = page.len() + 1;
        for (of, _) in page {
            let at = keys::of(tenant, &[of.get(32..).ok_or_else(corrupt)?]);
            let row = batch.get(MEMORY, &at)?;
            let keys = row
                .as_deref()
                .map(sealed_to)
                .map(skip_damaged)
                .transpose()?;
            // It may have been written again, sealed with a new key.
            if keys.flatten().is_none_or(|keys| keys.contains(&key)) {
                batch.delete(MEMORY, at);
                batch.delete(MEMORY_OF, of);
            }
        }
        Ok((next, spent))
    }

    /// Empties a table of the tenant, or a part of it.
    fn table(&mut self, batch: &mut Batch<'_>, at: usize, most: usize) -> Result<(At, usize)> {
        let tenant = self.of.tenant;
        let Some(table) = keys::ALL.get(at).copied() else {
            return Ok((At::Done, 0));
        };
        if is_kept(table, tenant) {
            return Ok((At::Tables(at + 1), 0));
        }
        let mut gone = Vec::new();
        let mut heads = Vec::new();
        let end = keys::end(tenant.as_bytes());
        batch.scan(table, tenant.as_bytes(), &end, &mut |key, row| {
            if gone.len() >= most {
                return Ok(ControlFlow::Break(()));
            }
            gone.push(key.to_vec());
            if table == HEADS {
                heads.extend(skip_damaged(Head::read(row))?.map(|head| (key.to_vec(), head)));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (key, head) in heads {
            self.records += head.len;
            let id = ConversationId::from_bytes(keys::id(&key, 16).ok_or_else(corrupt)?);
            if let Some(when) = head.first_due() {
                batch.delete(DUE, keys::due(when, tenant, id));
            }
        }
        if table == KEYS && tenant != OPERATOR {
            self.keys += gone.len() as u64;
        }
        let spent = gone.len();
        for key in gone {
            batch.delete(table, key);
        }
        let next = if spent == most { at } else { at + 1 };
        Ok((At::Tables(next), spent))
    }
}

/// Returns whether a table is skipped: the first transaction deletes its rows, or it has other keys.
fn is_kept(table: Table, tenant: TenantId) -> bool {
    [META, DUE, TENANT_KEYS].contains(&table) || (table == ROWS && tenant == OPERATOR)
}

/// Returns the next possible key.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Returns the content of a row; `None` for a damaged one. It is unreadable anyway, and must not stop the erasure of the others.
fn skip_damaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::error!(%error, "an erasure skipped a damaged row");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
