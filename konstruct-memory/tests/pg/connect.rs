//! Checks at the start, and the sealing of stored data.

use std::time::Duration;

use konstruct_core::{
    ConnectionId, Depth, Erase, ErrorKind, Secret, TenantId,
    id::WorkerId,
    message::{Actor, IdKind, RoutedEvent},
    store::{Append, Archive as _, DeliveryKey, History as _, Mailbox as _},
};
use konstruct_memory::{KeyRing, Postgres};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    common::{claimed, message},
    database::Database,
};

async fn refused(url: Secret) -> konstruct_core::Error {
    let ring = KeyRing::generate().unwrap();
    let outcome = Postgres::builder(url).key_ring(ring).connect().await;
    outcome.unwrap_err()
}

async fn run(owner: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(owner)
        .await
        .unwrap();
}

#[tokio::test]
async fn roles_that_could_see_all_are_refused() {
    Database::with(async |database| {
        let error = refused(database.url("postgres")).await;
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
        assert!(
            error.message().contains("`postgres` is a superuser"),
            "{error}"
        );
        // Roles belong to the server, so this test uses names of its own.
        let mut owner = database.connect("postgres").await;
        let role = format!("r{}", &WorkerId::new().to_string()[4..]);
        for (made, refuses) in [
            (
                format!("create role {role} login bypassrls; grant konstruct_app to {role}"),
                true,
            ),
            (
                format!("create role {role} login; grant konstruct_app, konstruct_owner to {role}"),
                true,
            ),
            (
                format!(
                    "create role {role} login; grant konstruct_app, konstruct_definer to {role}"
                ),
                true,
            ),
            (
                format!("create role {role} login; grant konstruct_app to {role}"),
                false,
            ),
            (
                format!("create role {role} login; grant konstruct_worker to {role}"),
                false,
            ),
        ] {
            run(&mut owner, made.clone()).await;
            let ring = KeyRing::generate().unwrap();
            let outcome = Postgres::builder(database.url(&role))
                .key_ring(ring)
                .connect()
                .await;
            let refused = outcome.map(drop).map_err(|error| error.kind());
            let expected = if refuses {
                Err(ErrorKind::Forbidden)
            } else {
                Ok(())
            };
            assert_eq!(refused, expected, "{made}");
            run(&mut owner, format!("drop role {role}")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_not_ready_is_refused() {
    // Roles belong to the server, and are created by the first migration.
    Database::with(async |_| {}).await;
    let empty = Database::empty().await;
    let error = refused(empty.url("konstruct_nobody")).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.message().contains("`migrate`"), "{error}");
    let error = refused(empty.url("konstruct_app")).await;
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.message().contains("run `migrate`"), "{error}");
    empty.gone().await;
    let error = refused(Secret::new("mysql://localhost/x")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let error = refused(Secret::new("postgres:///x?host=/nowhere")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let outcome = Postgres::builder(Secret::new("postgres:///x"))
        .connect()
        .await;
    let error = outcome.unwrap_err();
    assert!(error.message().starts_with("key ring:"), "{error}");
}

#[tokio::test]
async fn migrations_are_those_of_this_build() {
    Database::with(async |database| {
        // Repeating a migration changes nothing.
        Postgres::migrate(&database.url("postgres")).await.unwrap();
        let mut owner = database.connect("postgres").await;
        for (change, back) in [
            (
                "update konstruct.migrations set hash = hash || '\\x00' where name = '0001_journal'",
                "update konstruct.migrations set hash = substring(hash for 32) where name = '0001_journal'",
            ),
            (
                "insert into konstruct.migrations (name, hash) values ('9999_later', '\\x00')",
                "delete from konstruct.migrations where name = '9999_later'",
            ),
            (
                "create table konstruct.saved as select * from konstruct.migrations; delete from konstruct.migrations where name > '0001_z'",
                "insert into konstruct.migrations select * from konstruct.saved s where s.name > '0001_z'; drop table konstruct.saved",
            ),
        ] {
            run(&mut owner, change.into()).await;
            let error = refused(database.url("konstruct_app")).await;
            assert_eq!(error.kind(), ErrorKind::Conflict, "{change}: {error}");
            run(&mut owner, back.into()).await;
        }
        database.builder().connect().await.unwrap();
    })
    .await;
}

/// Returns a message in which every name and id contains a unique word.
fn telling(text: &str) -> RoutedEvent {
    let mut routed = message(
        ConnectionId::new(),
        &format!("place of {text}"),
        &format!("id of {text}"),
        text,
    );
    routed.event.sender = Actor::human(IdKind::SlackUser, format!("sender of {text}"));
    routed
}

/// Returns every row of every table as text.
async fn dump(owner: &mut PgConnection) -> String {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'konstruct'")
            .fetch_all(&mut *owner)
            .await
            .unwrap();
    let mut dump = String::new();
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select t::text from konstruct.{table} t"
        )))
        .fetch_all(&mut *owner)
        .await
        .unwrap();
        dump.push_str(&rows.join("\n"));
    }
    dump
}

#[tokio::test]
async fn the_database_contains_no_plain_text() {
    Database::with(async |database| {
        let store = database.builder().connect().await.unwrap();
        let tenant = TenantId::new();
        store
            .accept(tenant, vec![telling("pomegranate")])
            .await
            .unwrap();
        let lease = Duration::from_secs(60);
        let claim = claimed(&store, lease).await.unwrap();
        let loaded = store.load(&claim).await.unwrap().unwrap();
        let append = Append {
            delivery_keys: vec![DeliveryKey {
                key: "key of pomegranate".into(),
                index: 0,
            }],
            ..Append::default()
        };
        store.append(&claim, 0, append).await.unwrap();
        let mut owner = database.connect("postgres").await;
        let text = dump(&mut owner).await;
        assert!(text.len() > 500, "nothing is stored");
        assert!(!text.contains("pomegranate"));
        let hex: String = "pomegranate"
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(!text.contains(&hex));
        // Another ring does not open it.
        let other = Postgres::builder(database.url("konstruct_app"))
            .key_ring(KeyRing::generate().unwrap())
            .connect()
            .await
            .unwrap();
        let error = other.load(&claim).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        // A copy made before a person is erased does not open afterwards.
        let copy = "create table public.copied as select * from konstruct.inbox";
        run(&mut owner, copy.into()).await;
        let person = loaded.inbox[0].persons[0];
        let erased = store
            .erase(tenant, Erase::Person { person }, Depth::Logical)
            .await
            .unwrap();
        assert_eq!((erased.records, erased.keys), (1, 1));
        run(
            &mut owner,
            "insert into konstruct.inbox select * from public.copied".into(),
        )
        .await;
        let claim = claimed(&store, lease).await;
        assert!(claim.is_none(), "nothing is left to do");
        let left = dump(&mut owner).await;
        assert!(left.contains("\\x"), "the copy is back");
        let exported: Vec<_> =
            futures_util::TryStreamExt::try_collect(store.export(tenant).await.unwrap())
                .await
                .unwrap();
        let readable = exported.iter().any(|item| {
            matches!(item, konstruct_core::store::Exported::Inbox(item) if item.event.is_some())
        });
        assert!(!readable, "an erased person's words are read from a copy");
    })
    .await;
}

#[tokio::test]
async fn tenant_keys_are_rewrapped() {
    Database::with(async |database| {
        let old = KeyRing::generate().unwrap();
        let new = KeyRing::generate().unwrap();
        let open = async |ring: KeyRing| {
            let builder = Postgres::builder(database.url("konstruct_app")).key_ring(ring);
            builder.connect().await.unwrap()
        };
        let tenants = [TenantId::new(), TenantId::new()];
        let store = open(old.clone()).await;
        for tenant in tenants {
            store.accept(tenant, vec![telling("a")]).await.unwrap();
        }
        let both = format!("{},{}", new.to_secret().expose(), old.to_secret().expose());
        let store = open(KeyRing::parse(&both).unwrap()).await;
        assert_eq!(store.rewrap_keys().await.unwrap(), 2);
        assert_eq!(store.rewrap_keys().await.unwrap(), 0);
        let store = open(new).await;
        for tenant in tenants {
            let listed = store.list(tenant, None, 10).await.unwrap();
            assert_eq!(listed[0].place.as_ref().unwrap().id, "place of a");
        }
        let store = open(old).await;
        let error = store.list(tenants[0], None, 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    })
    .await;
}
