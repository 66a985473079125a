//! The database of a server, if the tests run on PostgreSQL: `KONSTRUCT_TEST_STORE=postgres`, with a server that `.ci/postgres`
//! starts. Without the variable they run on the embedded store.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    str::FromStr as _,
};

use konstruct_core::Secret;
use konstruct_memory::Postgres;
use sqlx::{AssertSqlSafe, ConnectOptions as _, postgres::PgConnectOptions};

/// The key ring of all servers on PostgreSQL.
const RING: &str = "test:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Whether the tests run on PostgreSQL.
pub(crate) fn on_postgres() -> bool {
    std::env::var("KONSTRUCT_TEST_STORE").is_ok_and(|store| store == "postgres")
}

/// Returns the environment of a server on PostgreSQL with this data directory. A directory has one database, which is created when it
/// is asked for first.
pub(crate) fn of(data: &Path) -> [(&'static str, String); 3] {
    let server = std::env::var("KONSTRUCT_TEST_DATABASE_URL")
        .expect("a server: start one with  eval \"$(.ci/postgres start)\"");
    let server = PgConnectOptions::from_str(&server).unwrap();
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let name = format!("konstruct_it_{:016x}", hasher.finish());
    let url = |role: &str| {
        let options = server.clone().database(&name).username(role);
        options.to_url_lossy().to_string()
    };
    let (owner, app) = (url("postgres"), url("konstruct_app"));
    // The caller may be in a runtime.
    std::thread::scope(|scope| {
        let created = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(create(&server, &name, &owner));
        });
        created.join().unwrap();
    });
    [
        ("DATABASE_URL", app),
        ("DATABASE_OWNER_URL", owner),
        ("KONSTRUCT_MASTER_KEY", RING.into()),
    ]
}

async fn create(server: &PgConnectOptions, name: &str, owner: &str) {
    let mut admin = server.connect().await.unwrap();
    let known: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut admin)
            .await
            .unwrap();
    if known {
        return;
    }
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut admin)
        .await
        .unwrap();
    Postgres::migrate(&Secret::new(owner)).await.unwrap();
}

/// Removes all rows of a data directory's database.
pub(crate) async fn drop_rows(data: &Path) {
    let [_, (_, owner), _] = of(data);
    let mut owner = PgConnectOptions::from_str(&owner)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let truncate = "do $$ declare name text; begin
        for name in select c.relname from pg_class c where c.relnamespace = 'konstruct'::regnamespace
            and c.relkind in ('r', 'p') and c.relname <> 'migrations'
        loop execute format('truncate konstruct.%I', name); end loop;
    end $$";
    sqlx::raw_sql(truncate).execute(&mut owner).await.unwrap();
}
