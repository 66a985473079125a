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
mod migrate;
mod prune;
mod queue;
mod read;
mod rewrap;
mod rewrite;
mod roles;
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
use uuid::Uuid;

pub use self::{connect::PostgresBuilder, graph::VectorIndex};
use self::{queue::Queue, tenant::Db, vault::Vault, wake::Wake};
use crate::memory::{MemoryEmbedder, TenantQueue};

/// The hosted store: a [`Store`](konstruct_core::store::Store) and a [`MemoryStore`](konstruct_core::MemoryStore) in a
/// PostgreSQL database with pgvector, version 16 or later. A clone is another handle to it.
///
/// # Contract
/// * Any number of processes share a database. Claims outlive the process that made them until their lease is over.
/// * Time is the database's.
/// * Tenants are kept apart by row-level security, which holds for the owner of the tables too: a statement that names no
///   tenant sees nothing. The role that connects must not be able to pass it by.
/// * Content is sealed before it is sent: the database, its log and its backups hold no word of a person.
/// * Its futures need a tokio runtime.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Itself, for sessions that outlive a call.
    own: Weak<Self>,
    db: Db,
    vault: Vault,
    wake: Wake,
    queue: Queue,
    embedder: MemoryEmbedder,
    to_index: Arc<TenantQueue>,
    to_embed: Arc<TenantQueue>,
    /// The tenant that was served last: the next claim goes to one after it.
    served: Mutex<Uuid>,
}

impl Postgres {
    /// From how many vectors of a space on an approximate index is worth its price, see [`index_vectors`](Self::index_vectors).
    pub const INDEX_FROM: u64 = 50_000;

    /// Starts to say how to connect to a database that was [migrated](Postgres::migrate).
    pub fn builder(url: Secret) -> PostgresBuilder {
        PostgresBuilder::new(url)
    }

    /// Brings a database to what this build needs: the roles, the tables, and who may do what with them. What is there
    /// already stays; several may do it at once.
    ///
    /// The role that connects here must be allowed to make roles and extensions. [`Postgres::builder`] connects as
    /// another: `konstruct_app`, which this makes without a password, or one that is a member of it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](konstruct_core::ErrorKind::Conflict) when a migration that was applied is not the one of this
    /// build, or is not known to it; and those of the database.
    pub async fn migrate(url: &Secret) -> Result<()> {
        migrate::migrate(url).await
    }

    /// Removes the ids of events that were accepted three calendar months ago, by which late redeliveries are recognised. Run it
    /// once a month or more often; without it they are kept for as long as the database is. The role that connects here must be allowed
    /// to: it is that of [`Postgres::migrate`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn prune(url: &Secret) -> Result<()> {
        prune::prune(url, None).await
    }

    /// The same at a time that is given, for tests.
    #[cfg(feature = "testkit")]
    #[doc(hidden)]
    pub async fn prune_at(url: &Secret, now: konstruct_core::Timestamp) -> Result<()> {
        prune::prune(url, Some(now.as_micros())).await
    }

    /// Rewrites the database's files: bytes of what was erased are gone from them, and a tenant's rows lie together. Each table is
    /// locked while it is rewritten; what a transaction under way can still see stays until the next time. The role that connects here must be allowed to: it is that of [`Postgres::migrate`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rewrite(url: &Secret) -> Result<()> {
        rewrite::rewrite(url).await
    }

    /// Makes an approximate index (HNSW) of each space that holds at least so many vectors of one embedder: the documents of a
    /// tenant, its facts, what was said in one channel. Takes down those of spaces that are smaller or gone, and those that were
    /// half made, and tries each that there is. Returns them.
    ///
    /// Without it every search looks at every vector, which is right up to [`INDEX_FROM`](Self::INDEX_FROM). A recall uses an index
    /// that found all of the ten nearest when it was tried, for a place that is the whole of a space and a question without a
    /// time; where the index may have missed something, that recall looks at every vector after all. Mean and deviation of
    /// the cosines are those of the last run: run it now and then, as the indexes of a growing memory grow with it.
    ///
    /// An index makes each vector some twenty times dearer to write. Of what was erased it keeps a vector until the table
    /// is vacuumed, and the means keep its share until the next run. The role that connects here must see all tenants: it is that of
    /// [`Postgres::migrate`], if that is a superuser or bypasses row-level security. Others work meanwhile; only one
    /// such run may be under way.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`](konstruct_core::ErrorKind::Forbidden) for a role that does not see all tenants,
    /// [`ErrorKind::Conflict`](konstruct_core::ErrorKind::Conflict) beside another run, and those of the database.
    pub async fn index_vectors(url: &Secret, least: u64) -> Result<Vec<VectorIndex>> {
        graph::make(url, least).await
    }

    /// Wraps the tenants' keys with the first key of the ring, where they are wrapped with another. Returns how many were.
    ///
    /// # Errors
    /// Those of the database, and [`ErrorKind::Unauthorized`](konstruct_core::ErrorKind::Unauthorized) when a key is wrapped
    /// with one that the ring has not.
    pub async fn rewrap_keys(&self) -> Result<u64> {
        self.inner.rewrap_keys().await
    }
}

/// The follower of the feeds ends by itself, at once if nothing else is on.
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
