//! Reading: one interface to read transactions and to the writer's transaction.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use ::redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase as _};
use konstruct_core::Result;

use super::{
    Shared,
    keys::{self, Table},
    stored,
};

/// Called for each key and value of a scan; may end it.
pub(super) type Step<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// Called for each key and value of a scan.
pub(super) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Called with a value.
pub(super) type Visit<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// The rows that a transaction sees.
pub(super) trait Rows {
    /// Returns a value.
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Calls back with a value without copying it. Returns whether it exists.
    fn visit(&mut self, table: Table, key: &[u8], at: &mut Visit<'_>) -> Result<bool> {
        match self.get(table, key)? {
            Some(value) => at(&value).map(|()| true),
            None => Ok(false),
        }
    }

    /// Scans a range of keys, `to` excluded, until the callback ends it.
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

    /// Reads all rows whose keys have a prefix.
    fn all(&mut self, table: Table, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.page(table, prefix, &keys::end(prefix), usize::MAX)
    }

    /// Scans all keys with a prefix.
    fn scan_prefix(&mut self, table: Table, prefix: &[u8], each: &mut Each<'_>) -> Result<()> {
        self.scan(table, prefix, &keys::end(prefix), &mut |key, value| {
            each(key, value).map(|()| ControlFlow::Continue(()))
        })
    }
}

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The last commit, with the tables that were opened for it. Opening them for each reader would cost more than most reads.
struct Committed {
    txn: ReadTransaction,
    tables: [OnceLock<OpenTable>; keys::ALL.len()],
    /// Closed with its last reader after a rewrite: reads of a closed database fail.
    _db: Arc<Database>,
}

impl Committed {
    fn read(db: &Arc<Database>) -> Result<Self> {
        Ok(Self {
            txn: db.begin_read().map_err(stored)?,
            tables: [const { OnceLock::new() }; keys::ALL.len()],
            _db: Arc::clone(db),
        })
    }
}

/// The [`Committed`] that readers share until the next commit.
#[derive(Default)]
pub(super) struct Latest(RwLock<Option<Arc<Committed>>>);

impl Latest {
    fn set(&self, latest: Option<Committed>) {
        let latest = latest.map(Arc::new);
        let before = {
            let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, latest)
        };
        // Its tables are closed without holding the lock.
        drop(before);
    }
}

/// A read transaction of the last commit. The writer never blocks it.
pub(super) struct Snapshot(Arc<Committed>);

impl Shared {
    /// Begins a read transaction.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let latest = &self.latest.0;
        if let Some(known) = &*latest.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Snapshot(Arc::clone(known)));
        }
        let mut latest = latest.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*latest {
            return Ok(Snapshot(Arc::clone(known)));
        }
        // No commit is announced while the lock is held, so this is not older than an announced one.
        let db = Arc::clone(&self.db.read().unwrap_or_else(PoisonError::into_inner));
        let committed = Arc::new(Committed::read(&db)?);
        *latest = Some(Arc::clone(&committed));
        Ok(Snapshot(committed))
    }

    /// Shows the last commit to readers.
    pub(super) fn show_committed(&self) {
        let db = Arc::clone(&self.db.read().unwrap_or_else(PoisonError::into_inner));
        // If it fails, the next reader tries again and gets the error.
        self.latest.set(Committed::read(&db).ok());
    }

    /// Makes the next reader open the database again.
    pub(super) fn forget_committed(&self) {
        self.latest.set(None);
    }
}

impl Snapshot {
    fn open(&self, table: Table) -> Result<&OpenTable> {
        let Committed { txn, tables, .. } = &*self.0;
        if let Some(open) = tables[table.at()].get() {
            return Ok(open);
        }
        let open = txn.open_table(table.definition()).map_err(stored)?;
        Ok(tables[table.at()].get_or_init(|| open))
    }
}

impl Rows for Snapshot {
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.open(table)?.get(key).map_err(stored)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn visit(&mut self, table: Table, key: &[u8], at: &mut Visit<'_>) -> Result<bool> {
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
