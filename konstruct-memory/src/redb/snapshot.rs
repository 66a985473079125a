//! Reading: one interface to a read transaction and to the writer's own.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::ControlFlow,
    sync::{Arc, PoisonError},
};

use ::redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase as _};
use konstruct_core::Result;

use super::{
    Shared,
    keys::{self, Table},
    stored,
};

/// What a walk does with a key and its value; it may end the walk.
pub(super) type Step<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// What a walk does with each key and its value.
pub(super) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// What looks at a value.
pub(super) type Look<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Rows as one transaction sees them.
pub(super) trait Rows {
    /// Returns a value.
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Looks at a value where it stands. Returns whether there is one.
    fn look(&mut self, table: Table, key: &[u8], at: &mut Look<'_>) -> Result<bool> {
        match self.get(table, key)? {
            Some(value) => at(&value).map(|()| true),
            None => Ok(false),
        }
    }

    /// Walks a range of keys, `to` excluded, until told to stop.
    fn scan(&mut self, table: Table, from: &[u8], to: &[u8], each: &mut Step<'_>) -> Result<()>;

    /// Reads the first rows of a range, `to` excluded.
    fn page(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut page = Vec::new();
        self.scan(table, from, to, &mut |key, value| {
            if page.len() >= limit {
                return Ok(ControlFlow::Break(()));
            }
            page.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(page)
    }

    /// Reads every row whose key begins so.
    fn all(&mut self, table: Table, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.page(table, prefix, &keys::end(prefix), usize::MAX)
    }

    /// Walks every key that begins so.
    fn scan_prefix(&mut self, table: Table, prefix: &[u8], each: &mut Each<'_>) -> Result<()> {
        self.scan(table, prefix, &keys::end(prefix), &mut |key, value| {
            each(key, value).map(|()| ControlFlow::Continue(()))
        })
    }
}

/// A read transaction: what was committed when it began. The writer never holds it up.
pub(super) struct Snapshot {
    txn: ReadTransaction,
    tables: HashMap<Table, ReadOnlyTable<&'static [u8], &'static [u8]>>,
    /// Closed with its last reader, should the file be rewritten meanwhile: whoever reads a closed one fails.
    _db: Arc<Database>,
}

impl Shared {
    /// Begins to read.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Snapshot {
            txn: db.begin_read().map_err(stored)?,
            tables: HashMap::new(),
            _db: Arc::clone(&db),
        })
    }
}

impl Snapshot {
    fn open(&mut self, table: Table) -> Result<&ReadOnlyTable<&'static [u8], &'static [u8]>> {
        Ok(match self.tables.entry(table) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(free) => {
                free.insert(self.txn.open_table(table.definition()).map_err(stored)?)
            }
        })
    }
}

impl Rows for Snapshot {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.open(table)?.get(key).map_err(stored)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn look(&mut self, table: Table, key: &[u8], at: &mut Look<'_>) -> Result<bool> {
        match self.open(table)?.get(key).map_err(stored)? {
            Some(value) => at(value.value()).map(|()| true),
            None => Ok(false),
        }
    }

    fn scan(&mut self, table: Table, from: &[u8], to: &[u8], each: &mut Step<'_>) -> Result<()> {
        for row in self.open(table)?.range(from..to).map_err(stored)? {
            let (key, value) = row.map_err(stored)?;
            if each(key.value(), value.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
