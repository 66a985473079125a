//! Connects to the database, and checks that it is safe to use.

use std::{
    num::NonZeroUsize,
    str::FromStr as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use konstruct_core::{Clock, Embedder, Error, ErrorKind, Result, Secret};
use sqlx::{
    Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    Inner, Postgres,
    error::stored,
    index,
    migrate::{MIGRATIONS, applied},
    queue::Queue,
    tenant::Db,
    time::Time,
    vault::Vault,
    wake::Wake,
};
use crate::{KeyRing, memory::MemoryEmbedder};

/// The default number of connections of a process.
const CONNECTIONS: u32 = 16;
/// The default number of tenants indexed at the same time, and of tenants embedded.
const LANES: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// A connection that was idle for this long is tested before use.
const IDLE: Duration = Duration::from_secs(1);
/// How long to wait for a free connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options for connecting to a database.
#[derive(Clone, Debug)]
pub struct PostgresBuilder {
    url: Secret,
    ring: Option<KeyRing>,
    time: Time,
    embedder: Option<Arc<dyn Embedder>>,
    connections: u32,
    lanes: NonZeroUsize,
}

impl PostgresBuilder {
    pub(super) fn new(url: Secret) -> Self {
        Self {
            url,
            ring: None,
            time: Time::default(),
            embedder: None,
            connections: CONNECTIONS,
            lanes: LANES,
        }
    }

    /// Seals with keys that are wrapped with this ring. Required.
    #[must_use]
    pub fn key_ring(mut self, ring: KeyRing) -> Self {
        self.ring = Some(ring);
        self
    }

    /// Uses this clock instead of the database's time, for tests in which one process uses the database.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.time = Time::of(clock);
        self
    }

    /// Searches by meaning too, with vectors of this embedder. By default, only words are searched.
    #[must_use]
    pub fn embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Limits the number of connections. Default: 16. One more connection listens for notifications.
    #[must_use]
    pub fn connections(mut self, most: u32) -> Self {
        self.connections = most;
        self
    }

    /// Indexes the texts of this many tenants at the same time, and embeds those of as many. Default: 4.
    #[must_use]
    pub fn lanes(mut self, lanes: NonZeroUsize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Connects, and checks that the database is migrated and that row-level security applies to the role.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] without a key ring or for an invalid URL, [`ErrorKind::Forbidden`] for a role that can bypass
    /// row-level security, [`ErrorKind::Conflict`] for a database without the migrations of this build, and errors of the
    /// database.
    pub async fn connect(self) -> Result<Postgres> {
        let ring = self
            .ring
            .ok_or_else(|| Error::invalid("key ring", "required with PostgreSQL"))?;
        let options = options(&self.url)?.application_name("konstruct").options([
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "60s"),
            // Every statement names a tenant, and every index begins with the tenant. A sequential scan is therefore never
            // better, although the planner prefers it for small tables.
            ("enable_seqscan", "off"),
            // Plan each statement once for each connection, not for each call. Plans for specific values are not better here.
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
        ]);
        check(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(self.connections + 1)
            .acquire_timeout(PATIENCE)
            // A recently used connection is still open; testing it would double the round trips.
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for > IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        let wake = Wake::start(&pool).await?;
        let inner = Arc::new_cyclic(|own| Inner {
            own: own.clone(),
            db: Db {
                pool,
                time: self.time,
            },
            vault: Vault::new(ring),
            wake,
            queue: Queue::default(),
            embedder: MemoryEmbedder::new(self.embedder),
            to_index: Arc::default(),
            to_embed: Arc::default(),
            served: Mutex::default(),
        });
        index::start(&inner, self.lanes);
        Ok(Postgres { inner })
    }
}

/// Parses a URL. The parser of the driver accepts those of other databases too.
pub(super) fn options(url: &Secret) -> Result<PgConnectOptions> {
    let bad = || Error::invalid("url", "expected `postgres://…`");
    let known = ["postgres://", "postgresql://"];
    if !known.iter().any(|scheme| url.expose().starts_with(scheme)) {
        return Err(bad());
    }
    // The parser's error may quote the password.
    PgConnectOptions::from_str(url.expose()).map_err(|_| bad())
}

/// Refuses a role that can bypass row-level security, and a database that is not ready.
async fn check(options: &PgConnectOptions) -> Result<()> {
    // Not through the pool, which would retry and report only a timeout.
    let connecting = PgConnection::connect_with(options);
    let mut connection = tokio::time::timeout(PATIENCE, connecting)
        .await
        .map_err(|_| {
            Error::new(
                ErrorKind::Unavailable,
                "the database did not answer in time",
            )
        })?
        .map_err(stored)?;
    version(&mut connection).await?;
    let migrated: bool =
        sqlx::query_scalar("select to_regclass('konstruct.migrations') is not null")
            .fetch_one(&mut connection)
            .await
            .map_err(stored)?;
    if !migrated {
        return Err(Error::new(
            ErrorKind::Conflict,
            "the database is not migrated: run `migrate` with the owner's URL",
        ));
    }
    role(&mut connection).await?;
    let known = applied(&mut connection).await?;
    if known < MIGRATIONS.len() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "the database lacks migration `{}`: run `migrate` with the owner's URL",
                MIGRATIONS[known].name
            ),
        ));
    }
    let vectors: bool =
        sqlx::query_scalar("select exists (select from pg_extension where extname = 'vector')")
            .fetch_one(&mut connection)
            .await
            .map_err(stored)?;
    if !vectors {
        return Err(Error::new(
            ErrorKind::Conflict,
            "the database lacks the extension `vector` (pgvector)",
        ));
    }
    connection.close().await.map_err(stored)
}

async fn version(connection: &mut PgConnection) -> Result<()> {
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::integer")
        .fetch_one(connection)
        .await
        .map_err(stored)?;
    if version < 160_000 {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "PostgreSQL 16 or later is needed; this is {}",
                version / 10_000
            ),
        ));
    }
    Ok(())
}

/// Checks the role, and every role that it can assume by `SET ROLE` or inherits from.
async fn role(connection: &mut PgConnection) -> Result<()> {
    let (name, passes, owns): (String, bool, bool) = sqlx::query_as(
        "select current_user::text,
                (select bool_or(r.rolsuper or r.rolbypassrls) from pg_roles r
                 where r.rolname = current_user or r.rolname = session_user or pg_has_role(current_user, r.oid, 'MEMBER')),
                (select coalesce(bool_or(pg_has_role(current_user, o.owner, 'MEMBER')), false)
                 from (select relowner owner from pg_class where relnamespace = 'konstruct'::regnamespace
                       union select proowner from pg_proc where pronamespace = 'konstruct'::regnamespace
                       union select nspowner from pg_namespace where nspname = 'konstruct') o)",
    )
    .fetch_one(connection)
    .await
    .map_err(stored)?;
    let refused = |why: &str| {
        Err(Error::new(
            ErrorKind::Forbidden,
            format!(
                "role `{name}` {why}, so that tenants would not be kept apart: connect as `konstruct_app`, `konstruct_worker` or a member of one"
            ),
        ))
    };
    match (passes, owns) {
        (true, _) => {
            refused("is a superuser or bypasses row-level security, or may become one that does")
        }
        (_, true) => refused("owns tables or functions of the store"),
        _ => Ok(()),
    }
}
