//! The hosted store: PostgreSQL, shared by any number of processes.

mod accept;
mod append;
mod budget;
mod claim;
mod connect;
mod erase;
mod error;
mod export;
mod graph;
mod import;
mod index;
#[cfg(feature = "testkit")]
pub mod isolation;
mod migrate;
mod prune;
mod queue;
mod read;
mod rewrap;
mod rewrite;
mod roles;
mod rows;
mod shares;
mod tenant;
mod time;
mod upgrade;
mod vault;
mod wake;

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
};

use konstruct_core::{Result, Secret};

use self::{claim::Served, queue::Queue, tenant::Db, vault::Vault, wake::Wake};
pub use self::{connect::PostgresBuilder, graph::VectorIndex};
use crate::memory::{MemoryEmbedder, TenantQueue};

/// The hosted store: a [`Store`](konstruct_core::store::Store) and a [`MemoryStore`](konstruct_core::MemoryStore) in a PostgreSQL
/// database with pgvector, version 16 or later. A clone is another handle to it.
///
/// # Contract
/// * Any number of processes share a database. Claims outlive their process until the lease expires.
/// * The time is the database's.
/// * Row-level security separates tenants, and applies to the owner of the tables too: a statement that names no tenant sees no
///   rows. The connecting role must not be able to bypass it.
/// * Content is sealed before it is sent: the database, its log and its backups contain no plain text of a person.
/// * Its futures need a tokio runtime.
///
/// ```no_run
/// use konstruct_core::{Employee, Secret, Workforce};
/// use konstruct_memory::{KeyRing, Postgres};
/// # use konstruct_core::LlmBackend;
/// # async fn start(model: impl LlmBackend) -> konstruct_core::Result<()> {
///
/// let (owner, worker) = (Secret::new("postgres://owner@db/ava"), Secret::new("postgres://worker@db/ava"));
/// Postgres::migrate(&owner).await?;
/// let store = Postgres::builder(worker)
///     .key_ring(KeyRing::parse("2026:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")?)
///     .connect()
///     .await?;
/// let workforce = Workforce::builder(store)
///     .model(model)
///     .hire(Employee::builder("Ava").build()?)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// A reference to itself, for sessions that outlive a call.
    own: Weak<Self>,
    db: Db,
    vault: Vault,
    wake: Wake,
    queue: Queue,
    embedder: MemoryEmbedder,
    to_index: Arc<TenantQueue>,
    to_embed: Arc<TenantQueue>,
    served: Mutex<Served>,
}

impl Postgres {
    /// The number of vectors of a space from which an approximate index pays off, see [`index_vectors`](Self::index_vectors).
    pub const INDEX_FROM: u64 = 50_000;

    /// Returns a builder for the options of a connection to a [migrated](Postgres::migrate) database.
    pub fn builder(url: Secret) -> PostgresBuilder {
        PostgresBuilder::new(url)
    }

    /// Migrates a database to the schema of this build: roles, tables and privileges. Existing data stays. Several processes may
    /// do it at the same time, and others may use the database meanwhile: each migration is a transaction of its own, which gives
    /// up after 0.4 s without a lock that it needs, and is repeated for up to three minutes.
    ///
    /// The role of this URL must be allowed to create roles and extensions. [`Postgres::builder`] connects as another role:
    /// `konstruct_app` or `konstruct_worker`, which this creates without a password, or a member of one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](konstruct_core::ErrorKind::Conflict) if an applied migration differs from that of this build, or
    /// is unknown to it; and errors of the database.
    pub async fn migrate(url: &Secret) -> Result<()> {
        migrate::migrate(url, migrate::MIGRATIONS).await
    }

    /// Migrates with one more migration, for tests.
    #[cfg(feature = "testkit")]
    #[doc(hidden)]
    pub async fn migrate_also(url: &Secret, name: &'static str, sql: &'static str) -> Result<()> {
        let more = [migrate::Migration { name, sql }];
        migrate::migrate(url, &[migrate::MIGRATIONS, &more].concat()).await
    }

    /// Removes the ids of events that were accepted three calendar months ago. They serve to recognise late
    /// redeliveries. Run it once a month or more often; otherwise they are kept forever. It needs the role of
    /// [`Postgres::migrate`].
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn prune(url: &Secret) -> Result<()> {
        prune::prune(url, None).await
    }

    /// Prunes as of a given time, for tests.
    #[cfg(feature = "testkit")]
    #[doc(hidden)]
    pub async fn prune_at(url: &Secret, now: konstruct_core::Timestamp) -> Result<()> {
        prune::prune(url, Some(now.as_micros())).await
    }

    /// Rewrites the database's files. Erased bytes are then gone from them, and the rows of a tenant are stored together. Each
    /// table is locked while it is rewritten. Rows that a running transaction can still see stay until the next time. It needs
    /// the role of [`Postgres::migrate`].
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn rewrite(url: &Secret) -> Result<()> {
        rewrite::rewrite(url).await
    }

    /// Creates an approximate index (HNSW) for each space with at least this many vectors of one embedder. A space contains the
    /// documents of a tenant, its facts, or the messages of one channel. Drops the indexes of smaller and deleted spaces and
    /// incomplete ones, tests the others, and returns them.
    ///
    /// Without an index every search scans all vectors, which is fast enough up to [`INDEX_FROM`](Self::INDEX_FROM). A recall
    /// uses an index if it found all of the ten nearest vectors in its test, the search covers the whole space, and the question
    /// has no time range. If the index may have missed something, the recall scans all vectors after all. The mean and deviation
    /// of the cosines are those of the last run, so run it regularly: the indexes of a growing memory grow with it.
    ///
    /// An index makes writing a vector about twenty times more expensive. It keeps erased vectors until the table is vacuumed,
    /// and the means include them until the next run. The role must see all tenants: use the role of [`Postgres::migrate`] if it
    /// is a superuser or bypasses row-level security. Other work continues meanwhile; only one such run is allowed at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`](konstruct_core::ErrorKind::Forbidden) for a role that does not see all tenants,
    /// [`ErrorKind::Conflict`](konstruct_core::ErrorKind::Conflict) during another run, and errors of the database.
    pub async fn index_vectors(url: &Secret, least: u64) -> Result<Vec<VectorIndex>> {
        graph::make(url, least).await
    }

    /// Wraps the tenants' keys with the first key of the ring, if they are wrapped with another. Returns their number.
    ///
    /// # Errors
    /// Errors of the database, and [`ErrorKind::Unauthorized`](konstruct_core::ErrorKind::Unauthorized) if the ring lacks the key
    /// that a tenant's key is wrapped with.
    pub async fn rewrap_keys(&self) -> Result<u64> {
        self.inner.rewrap_keys().await
    }
}

/// Ends the background lanes, immediately if they are idle.
impl Drop for Inner {
    fn drop(&mut self) {
        self.to_index.close();
        self.to_embed.close();
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}
