//! An empty store to measure: a file, a database, or the reference in memory.

#[cfg(feature = "postgres")]
mod database;

use std::{path::PathBuf, sync::Arc};

use clap::ValueEnum;
use konstruct_core::{Clock, Embedder, MemoryStore, SystemClock, store};
use konstruct_memory::{Oracle, Redb};
use tempfile::TempDir;

#[cfg(feature = "postgres")]
pub use self::database::Database;
use crate::Failed;

/// The variable that names a PostgreSQL server: `.ci/postgres start` prints it.
pub const SERVER: &str = "KONSTRUCT_TEST_DATABASE_URL";

/// Where things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A file of redb.
    Redb,
    /// A database of its own on the server that `KONSTRUCT_TEST_DATABASE_URL` names.
    #[cfg(feature = "postgres")]
    Postgres,
    /// The reference in memory, which stores are compared with.
    Oracle,
}

/// A store, and what has to go with it.
#[derive(Debug)]
pub struct Store {
    /// The store of the turn engine.
    pub journal: Arc<dyn store::Store>,
    /// The store as a memory.
    pub memory: Arc<dyn MemoryStore>,
    folder: Option<TempDir>,
    #[cfg(feature = "postgres")]
    database: Option<Database>,
}

impl Store {
    /// Makes an empty store.
    ///
    /// # Errors
    /// Those of the store; there is no server.
    pub async fn open(kind: Kind, embedder: Option<Arc<dyn Embedder>>) -> Result<Self, Failed> {
        Self::open_at(kind, embedder, Arc::new(SystemClock)).await
    }

    /// Makes an empty store that takes the time from a clock; PostgreSQL has its own.
    ///
    /// # Errors
    /// Those of the store; there is no server.
    pub async fn open_at(
        kind: Kind,
        embedder: Option<Arc<dyn Embedder>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failed> {
        match kind {
            Kind::Redb => {
                let folder = tempfile::tempdir()?;
                let builder = Redb::builder().clock(clock);
                let builder = match embedder {
                    Some(embedder) => builder.embedder(embedder),
                    None => builder,
                };
                let redb = builder.open(folder.path().join("bench.redb"))?;
                let mut store = Self::of(redb);
                store.folder = Some(folder);
                Ok(store)
            }
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                let database = Database::create().await?;
                let mut store = Self::of(database.connect(embedder).await?);
                store.database = Some(database);
                Ok(store)
            }
            Kind::Oracle => Ok(Self::of(Oracle::new(clock, embedder)?)),
        }
    }

    fn of<S: store::Store + MemoryStore + Clone>(store: S) -> Self {
        Self {
            journal: Arc::new(store.clone()),
            memory: Arc::new(store),
            folder: None,
            #[cfg(feature = "postgres")]
            database: None,
        }
    }

    /// Returns the folders and files that hold it: of PostgreSQL, the whole cluster with its write-ahead log.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn files(&self) -> Result<Vec<PathBuf>, Failed> {
        #[cfg_attr(
            not(feature = "postgres"),
            expect(unused_mut, reason = "a database adds its own")
        )]
        let mut files: Vec<PathBuf> = self.folder.iter().map(|of| of.path().to_owned()).collect();
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.database {
            files.push(database.files().await?);
        }
        Ok(files)
    }

    /// Returns the command that dumps the database, if it is one.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn dump(&self) -> Result<Option<(PathBuf, Vec<String>)>, Failed> {
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.database {
            return database.dump().await.map(Some);
        }
        Ok(None)
    }

    /// Returns the database, if it is one.
    #[cfg(feature = "postgres")]
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Ends, and removes what was kept.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn close(self) -> Result<(), Failed> {
        drop((self.journal, self.memory));
        #[cfg(feature = "postgres")]
        if let Some(database) = self.database {
            database.remove().await?;
        }
        Ok(())
    }
}
