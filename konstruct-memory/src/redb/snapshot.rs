//! Reading: one interface to a read transaction and to the writer's own.

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

type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// What was committed last, with the tables that somebody has read of it. Opening them anew for each reader costs more than most
/// reads.
struct Committed {
    txn: ReadTransaction,
    tables: [OnceLock<OpenTable>; keys::ALL.len()],
    /// Closed with its last reader, should the file be rewritten meanwhile: whoever reads a closed one fails.
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

/// The [`Committed`] that readers share, until the next commit.
#[derive(Default)]
pub(super) struct Latest(RwLock<Option<Arc<Committed>>>);

impl Latest {
    fn set(&self, latest: Option<Committed>) {
        let latest = latest.map(Arc::new);
        let before = {
            let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, latest)
        };
        // Its tables are closed while nobody waits for the lock.
        drop(before);
    }
}

/// A read transaction: what was committed when it began. The writer never holds it up.
pub(super) struct Snapshot(Arc<Committed>);

impl Shared {
    /// Begins to read.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let latest = &self.latest.0;
        if let Some(known) = &*latest.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Snapshot(Arc::clone(known)));
        }
        let mut latest = latest.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*latest {
            return Ok(Snapshot(Arc::clone(known)));
        }
        // While the lock is held, no commit is announced: this is none that is older than one that was.
        let db = Arc::clone(&self.db.read().unwrap_or_else(PoisonError::into_inner));
        let committed = Arc::new(Committed::read(&db)?);
        *latest = Some(Arc::clone(&committed));
        Ok(Snapshot(committed))
    }

    /// Has readers see what was just committed.
    pub(super) fn show_committed(&self) {
        let db = Arc::clone(&self.db.read().unwrap_or_else(PoisonError::into_inner));
        // Where it cannot be read, the next reader tries again and hears why.
        self.latest.set(Committed::read(&db).ok());
    }

    /// Has the next reader begin anew.
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
