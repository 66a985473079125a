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

/// The variable with the URL of a PostgreSQL server, as printed by `.ci/postgres start`.
pub const SERVER: &str = "KONSTRUCT_TEST_DATABASE_URL";

/// The kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A redb file.
    Redb,
    /// A new database on the server of `KONSTRUCT_TEST_DATABASE_URL`.
    #[cfg(feature = "postgres")]
    Postgres,
    /// The reference in memory, which stores are compared with.
    Oracle,
}

/// A store, with its file or database.
#[derive(Debug)]
pub struct Store {
    /// The store of the turn engine.
    pub turn_store: Arc<dyn store::Store>,
    /// The store as a memory.
    pub memory: Arc<dyn MemoryStore>,
    folder: Option<TempDir>,
    #[cfg(feature = "postgres")]
    database: Option<Database>,
}

impl Store {
    /// Creates an empty store.
    ///
    /// # Errors
    /// Errors of the store, or no server is configured.
    pub async fn open(kind: Kind, embedder: Option<Arc<dyn Embedder>>) -> Result<Self, Failed> {
        Self::open_at(kind, embedder, Arc::new(SystemClock)).await
    }

    /// Creates an empty store with a clock; PostgreSQL uses its own.
    ///
    /// # Errors
    /// Errors of the store, or no server is configured.
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
            turn_store: Arc::new(store.clone()),
            memory: Arc::new(store),
            folder: None,
            #[cfg(feature = "postgres")]
            database: None,
        }
    }

    /// Returns its folders and files; for PostgreSQL, the whole cluster with its write-ahead log.
    ///
    /// # Errors
    /// Errors of the server.
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
    /// Errors of the server.
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

    /// Closes the store, and removes its data.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn close(self) -> Result<(), Failed> {
        drop((self.turn_store, self.memory));
        #[cfg(feature = "postgres")]
        if let Some(database) = self.database {
            database.remove().await?;
        }
        Ok(())
    }
}
