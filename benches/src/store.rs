//! An empty store to measure: a file, a database, or the reference in memory.

use std::{env, path::PathBuf, str::FromStr as _, sync::Arc};

use clap::ValueEnum;
use konstruct_core::{Embedder, MemoryStore, Secret, SystemClock, WorkerId, turn::Journal};
use konstruct_memory::{KeyRing, Oracle, Postgres, Redb, VectorIndex};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions,
};
use tempfile::TempDir;

use crate::Failed;

/// The variable that names a PostgreSQL server: `.ci/postgres start` prints it.
pub const SERVER: &str = "KONSTRUCT_TEST_DATABASE_URL";

/// Where things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A file of redb.
    Redb,
    /// A database of its own on the server that `KONSTRUCT_TEST_DATABASE_URL` names.
    Postgres,
    /// The reference in memory, which stores are compared with.
    Oracle,
}

/// A store, and what has to go with it.
#[derive(Debug)]
pub struct Store {
    /// The store as a journal.
    pub journal: Arc<dyn Journal>,
    /// The store as a memory.
    pub memory: Arc<dyn MemoryStore>,
    folder: Option<TempDir>,
    database: Option<String>,
}

impl Store {
    /// Makes an empty store.
    ///
    /// # Errors
    /// Those of the store; there is no server.
    pub async fn open(kind: Kind, embedder: Option<Arc<dyn Embedder>>) -> Result<Self, Failed> {
        match kind {
            Kind::Redb => {
                let folder = tempfile::tempdir()?;
                let builder = Redb::builder();
                let builder = match embedder {
                    Some(embedder) => builder.embedder(embedder),
                    None => builder,
                };
                let redb = builder.open(folder.path().join("bench.redb"))?;
                Ok(Self::of(redb, Some(folder), None))
            }
            Kind::Postgres => {
                let name = format!("konstruct_bench_{}", &WorkerId::new().to_string()[4..]);
                admin(&format!("create database {name}")).await?;
                Postgres::migrate(&url(&name, None)?).await?;
                let builder = Postgres::builder(url(&name, Some("konstruct_app"))?);
                let builder = builder.key_ring(KeyRing::generate()?);
                let builder = match embedder {
                    Some(embedder) => builder.embedder(embedder),
                    None => builder,
                };
                Ok(Self::of(builder.connect().await?, None, Some(name)))
            }
            Kind::Oracle => {
                let oracle = Oracle::new(Arc::new(SystemClock), embedder)?;
                Ok(Self::of(oracle, None, None))
            }
        }
    }

    fn of<S: Journal + MemoryStore + Clone>(
        store: S,
        folder: Option<TempDir>,
        database: Option<String>,
    ) -> Self {
        Self {
            journal: Arc::new(store.clone()),
            memory: Arc::new(store),
            folder,
            database,
        }
    }

    /// Returns the folders and files that hold it: of PostgreSQL, the whole cluster with its write-ahead log.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn files(&self) -> Result<Vec<PathBuf>, Failed> {
        let mut files: Vec<PathBuf> = self.folder.iter().map(|of| of.path().to_owned()).collect();
        if self.database.is_some() {
            admin("checkpoint").await?;
            files.push(
                setting("select current_setting('data_directory')")
                    .await?
                    .into(),
            );
        }
        Ok(files)
    }

    /// Returns the command that dumps the database, if it is one.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn dump(&self) -> Result<Option<(PathBuf, Vec<String>)>, Failed> {
        let Some(name) = &self.database else {
            return Ok(None);
        };
        let folder = setting("select setting from pg_config where name = 'BINDIR'").await?;
        let server = server()?;
        let host = match server.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => server.get_host().to_owned(),
        };
        let (port, user) = (server.get_port().to_string(), server.get_username());
        let arguments = ["-h", &host, "-p", &port, "-U", user, "-d", name];
        let arguments = arguments.iter().map(|one| (*one).to_owned()).collect();
        Ok(Some((PathBuf::from(folder).join("pg_dump"), arguments)))
    }

    /// Rewrites the files of a database, as its owner does now and then.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn rewrite(&self) -> Result<(), Failed> {
        if let Some(name) = &self.database {
            Postgres::rewrite(&url(name, None)?).await?;
        }
        Ok(())
    }

    /// Indexes the vectors of a database, of spaces with so many or more.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn index_vectors(&self, least: u64) -> Result<Vec<VectorIndex>, Failed> {
        match &self.database {
            Some(name) => Ok(Postgres::index_vectors(&url(name, None)?, least).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Ends, and removes what was kept.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn close(self) -> Result<(), Failed> {
        let Self {
            journal,
            memory,
            database,
            ..
        } = self;
        drop((journal, memory));
        if let Some(name) = database {
            admin(&format!("drop database {name} with (force)")).await?;
        }
        Ok(())
    }
}

fn server() -> Result<PgConnectOptions, Failed> {
    let url = env::var(SERVER).map_err(|_| {
        format!("{SERVER} is not set: start a server with  eval \"$(.ci/postgres start)\"")
    })?;
    Ok(PgConnectOptions::from_str(&url)?)
}

fn url(database: &str, role: Option<&str>) -> Result<Secret, Failed> {
    let options = server()?.database(database);
    let options = match role {
        Some(role) => options.username(role),
        None => options,
    };
    Ok(Secret::new(options.to_url_lossy().to_string()))
}

async fn setting(sql: &'static str) -> Result<String, Failed> {
    let mut connection: PgConnection = server()?.connect().await?;
    let value = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(value)
}

async fn admin(sql: &str) -> Result<(), Failed> {
    let mut connection: PgConnection = server()?.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}
