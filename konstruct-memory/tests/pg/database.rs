//! A database for each test, copied from a template for each version of the migrations.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::Arc,
};

use konstruct_core::{
    Secret, Timestamp,
    id::WorkerId,
    testkit::{MemorySubject, StoreSubject, VirtualClock},
};
use konstruct_memory::{KeyRing, Postgres, PostgresBuilder};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions,
};

const VARIABLE: &str = "KONSTRUCT_TEST_DATABASE_URL";

/// A database for one test.
pub(crate) struct Database {
    name: String,
    ring: KeyRing,
}

fn server() -> PgConnectOptions {
    let url = std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("{VARIABLE} is not set: start a server with  eval \"$(.ci/postgres start)\"")
    });
    PgConnectOptions::from_str(&url).unwrap()
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

/// Returns the name of the template for these migrations.
fn template() -> String {
    let mut hasher = DefaultHasher::new();
    for file in [
        include_str!("../../src/postgres/migrations/0001_journal.sql"),
        include_str!("../../src/postgres/migrations/0002_memory.sql"),
        include_str!("../../src/postgres/migrations/0003_graphs.sql"),
        include_str!("../../src/postgres/migrations/0004_rows.sql"),
        include_str!("../../src/postgres/migrations/0005_shares.sql"),
        include_str!("../../src/postgres/migrations/0006_audit.sql"),
        include_str!("../../src/postgres/migrations/secure.sql"),
        include_str!("../../src/postgres/migrate.rs"),
    ] {
        file.hash(&mut hasher);
    }
    format!("konstruct_template_{:016x}", hasher.finish())
}

impl Database {
    /// Runs a test with a database, which is dropped if the test succeeds.
    pub(crate) async fn with(test: impl AsyncFnOnce(&Self)) {
        let database = Self::create().await;
        test(&database).await;
        database.gone().await;
    }

    /// Drops the database.
    pub(crate) async fn gone(&self) {
        let mut admin = server().connect().await.unwrap();
        run(
            &mut admin,
            format!("drop database {} with (force)", self.name),
        )
        .await;
    }

    async fn create() -> Self {
        let (template, mut admin) = (template(), server().connect().await.unwrap());
        // One process creates the template while others wait.
        run(&mut admin, "select pg_advisory_lock(19112026)".into()).await;
        let there: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(&template)
                .fetch_one(&mut admin)
                .await
                .unwrap();
        if !there {
            let half = Self::named("half_made");
            run(&mut admin, format!("create database {}", half.name)).await;
            Postgres::migrate(&half.url("postgres")).await.unwrap();
            run(
                &mut admin,
                format!("alter database {} rename to {template}", half.name),
            )
            .await;
        }
        let database = Self::named("test");
        run(
            &mut admin,
            format!(
                "create database {} template {template} strategy file_copy",
                database.name
            ),
        )
        .await;
        admin.close().await.unwrap();
        database
    }

    /// Creates an empty database without migrations.
    pub(crate) async fn empty() -> Self {
        let database = Self::named("empty");
        let mut admin = server().connect().await.unwrap();
        run(&mut admin, format!("create database {}", database.name)).await;
        admin.close().await.unwrap();
        database
    }

    fn named(what: &str) -> Self {
        Self {
            name: format!("konstruct_{what}_{}", &WorkerId::new().to_string()[4..]),
            ring: KeyRing::generate().unwrap(),
        }
    }

    /// Returns the URL for a role.
    pub(crate) fn url(&self, role: &str) -> Secret {
        let options = server().database(&self.name).username(role);
        Secret::new(options.to_url_lossy().to_string())
    }

    /// Connects as a role.
    pub(crate) async fn connect(&self, role: &str) -> PgConnection {
        let options = server().database(&self.name).username(role);
        options.connect().await.unwrap()
    }

    /// Returns the folder of the server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        let options = server();
        let socket = options.get_socket().cloned();
        socket.unwrap_or_else(|| PathBuf::from(options.get_host()))
    }

    /// Returns a builder for the store that connects through the socket in another folder.
    pub(crate) fn builder_at(&self, folder: &Path) -> PostgresBuilder {
        let options = server().database(&self.name).username("konstruct_app");
        let url = options.socket(folder).to_url_lossy().to_string();
        Postgres::builder(Secret::new(url))
            .key_ring(self.ring.clone())
            .connections(8)
    }

    /// Returns a builder for the store, as the server uses it.
    pub(crate) fn builder(&self) -> PostgresBuilder {
        Postgres::builder(self.url("konstruct_app"))
            .key_ring(self.ring.clone())
            .connections(8)
    }

    /// Opens the store with a clock of the test.
    pub(crate) async fn subject(&self, clock: VirtualClock) -> StoreSubject {
        let store = self.builder().clock(Arc::new(clock.clone())).connect();
        StoreSubject {
            store: Arc::new(store.await.unwrap()),
            clock,
        }
    }

    /// Opens an empty store with a clock of the test.
    pub(crate) async fn fresh(&self) -> StoreSubject {
        self.clear().await;
        self.subject(VirtualClock::default()).await
    }

    /// Opens an empty memory with a clock of the test.
    pub(crate) async fn fresh_memory(&self) -> MemorySubject {
        self.clear().await;
        let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
        let store = self.builder().clock(Arc::new(clock.clone())).connect();
        let store = store.await.unwrap();
        MemorySubject {
            store: Arc::new(store.clone()),
            memory: Arc::new(store),
            clock,
        }
    }

    /// Deletes all data of the store.
    pub(crate) async fn clear(&self) {
        let mut owner = self.connect("postgres").await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select quote_ident(tablename) from pg_tables where schemaname = 'konstruct' and tablename <> 'migrations'",
        )
        .fetch_all(&mut owner)
        .await
        .unwrap();
        // One by one: the previous store may still be finishing, and a TRUNCATE of all tables could deadlock with it.
        for table in tables {
            run(&mut owner, format!("delete from konstruct.{table}")).await;
        }
        owner.close().await.unwrap();
    }
}

/// Waits until every other connection to the database is closed, so that its statistics are counted.
pub(crate) async fn others_closed(owner: &mut PgConnection) {
    loop {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut *owner)
        .await
        .unwrap();
        if open == 0 {
            return;
        }
    }
}
