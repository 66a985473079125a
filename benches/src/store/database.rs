//! A new database on the measured server.

use std::{
    env,
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use konstruct_core::{Embedder, Secret, id::WorkerId};
use konstruct_memory::{KeyRing, Postgres, VectorIndex};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions,
};

use super::SERVER;
use crate::{Failed, process, server::Setup};

/// A database with the tables of the store.
#[derive(Debug)]
pub struct Database {
    name: String,
}

impl Database {
    /// Creates a database with empty tables.
    ///
    /// # Errors
    /// Errors of the server, or none is configured.
    pub async fn create() -> Result<Self, Failed> {
        let name = format!("konstruct_bench_{}", &WorkerId::new().to_string()[4..]);
        admin(&format!("create database {name}")).await?;
        let database = Self { name };
        Postgres::migrate(&database.url(None)?).await?;
        Ok(database)
    }

    /// Returns its URL for a role.
    ///
    /// # Errors
    /// No server is configured.
    pub fn url(&self, role: Option<&str>) -> Result<Secret, Failed> {
        let options = server()?.database(&self.name);
        let options = match role {
            Some(role) => options.username(role),
            None => options,
        };
        Ok(Secret::new(options.to_url_lossy().to_string()))
    }

    /// Configures a server to keep its data in it, sealed with a key ring.
    ///
    /// # Errors
    /// No server of PostgreSQL is configured.
    pub fn connect_server(&self, setup: &mut Setup, ring: &Secret) -> Result<(), Failed> {
        setup.set("DATABASE_URL", self.url(Some("konstruct_app"))?.expose());
        setup.set("KONSTRUCT_MASTER_KEY", ring.expose());
        Ok(())
    }

    /// Connects a store to it.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn connect(&self, embedder: Option<Arc<dyn Embedder>>) -> Result<Postgres, Failed> {
        let builder = Postgres::builder(self.url(Some("konstruct_app"))?);
        let builder = builder.key_ring(KeyRing::generate()?);
        let builder = match embedder {
            Some(embedder) => builder.embedder(embedder),
            None => builder,
        };
        Ok(builder.connect().await?)
    }

    /// Returns the folder of the server's socket.
    ///
    /// # Errors
    /// No server is configured, or it is not reached by a socket.
    pub fn socket() -> Result<PathBuf, Failed> {
        let socket = server()?.get_socket().cloned();
        Ok(
            socket
                .ok_or_else(|| format!("{SERVER} does not name a socket's folder as its host"))?,
        )
    }

    /// Connects a store to it through a socket in another folder.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn connect_at(&self, folder: &Path) -> Result<Postgres, Failed> {
        let builder = Postgres::builder(self.url_at(folder)?).key_ring(KeyRing::generate()?);
        Ok(builder.connect().await?)
    }

    /// Returns its URL for the application's role, through a socket in another folder.
    ///
    /// # Errors
    /// No server is configured.
    pub fn url_at(&self, folder: &Path) -> Result<Secret, Failed> {
        let options = server()?.database(&self.name).username("konstruct_app");
        let url = options.socket(folder).to_url_lossy().to_string();
        Ok(Secret::new(url))
    }

    /// Connects to it as the owner of its tables.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn owner(&self) -> Result<PgConnection, Failed> {
        Ok(server()?.database(&self.name).connect().await?)
    }

    /// Returns the folder of the cluster, after a checkpoint.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn files(&self) -> Result<PathBuf, Failed> {
        admin("checkpoint").await?;
        let folder = setting("select current_setting('data_directory')").await?;
        Ok(folder.into())
    }

    /// Returns its size in bytes.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn size(&self) -> Result<u64, Failed> {
        let mut connection: PgConnection = server()?.connect().await?;
        let size: i64 = sqlx::query_scalar("select pg_database_size($1)")
            .bind(&self.name)
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(u64::try_from(size)?)
    }

    /// Returns the processor time of all processes of its server, which must run on this machine.
    ///
    /// # Errors
    /// Errors of the server, or it runs elsewhere.
    pub async fn cpu(&self) -> Result<Duration, Failed> {
        let mut connection: PgConnection = server()?.connect().await?;
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut connection)
            .await?;
        let server = process::parent(u32::try_from(backend)?)?;
        connection.close().await?;
        process::family_cpu(server)
    }

    /// Returns the number of records that are not indexed yet.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn behind(&self) -> Result<u64, Failed> {
        let behind: i64 = sqlx::query_scalar(
            "select coalesce(sum(c.feed - coalesce(h.indexed, 0)), 0)::bigint
             from konstruct.counters c left join konstruct.memory_heads h using (tenant)",
        )
        .fetch_one(&mut self.owner().await?)
        .await?;
        Ok(u64::try_from(behind)?)
    }

    /// Returns the non-empty tables, largest first: the name, the approximate number of rows, the bytes of the table, and those
    /// of its indexes.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn tables(&self) -> Result<Vec<(String, i64, i64, i64)>, Failed> {
        Ok(sqlx::query_as(
            "select relname::text, n_live_tup, pg_table_size(relid), pg_indexes_size(relid) from pg_stat_user_tables
             where schemaname = 'konstruct' and n_live_tup > 0 order by pg_total_relation_size(relid) desc",
        )
        .fetch_all(&mut self.owner().await?)
        .await?)
    }

    /// Returns the command that dumps it.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn dump(&self) -> Result<(PathBuf, Vec<String>), Failed> {
        let folder = setting("select setting from pg_config where name = 'BINDIR'").await?;
        let server = server()?;
        let host = match server.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => server.get_host().to_owned(),
        };
        let (port, user) = (server.get_port().to_string(), server.get_username());
        let arguments = ["-h", &host, "-p", &port, "-U", user, "-d", &self.name];
        let arguments = arguments.iter().map(|one| (*one).to_owned()).collect();
        Ok((PathBuf::from(folder).join("pg_dump"), arguments))
    }

    /// Rewrites its files, as its owner does regularly.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn rewrite(&self) -> Result<(), Failed> {
        Ok(Postgres::rewrite(&self.url(None)?).await?)
    }

    /// Indexes the vectors of spaces with at least this many.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn index_vectors(&self, least: u64) -> Result<Vec<VectorIndex>, Failed> {
        Ok(Postgres::index_vectors(&self.url(None)?, least).await?)
    }

    /// Drops it.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn remove(self) -> Result<(), Failed> {
        admin(&format!("drop database {} with (force)", self.name)).await
    }
}

fn server() -> Result<PgConnectOptions, Failed> {
    let url = env::var(SERVER).map_err(|_| {
        format!("{SERVER} is not set: start a server with  eval \"$(.ci/postgres start)\"")
    })?;
    Ok(PgConnectOptions::from_str(&url)?)
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
