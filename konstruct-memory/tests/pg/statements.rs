//! The number of statements of the simplest turn, and how many rows they read.

use konstruct_core::{ConnectionId, TenantId, store::Mailbox as _};
use sqlx::PgConnection;

use crate::{
    common::message,
    cost::Scene,
    counter::Counter,
    database::{Database, others_closed},
};

#[tokio::test]
async fn the_simplest_turn_costs_few_statements() {
    Database::with(async |database| {
        let folder = tempfile::tempdir().unwrap();
        let counter = Counter::start(folder.path(), &database.socket()).unwrap();
        let store = database.builder_at(counter.folder()).connect().await;
        let owner = database.connect("postgres").await;
        let scene = Scene::new(store.unwrap(), counter, owner).await;
        scene.measure().await.check();
    })
    .await;
}

/// Returns the number of entries that closed connections read from the indexes of event ids.
async fn events_read(owner: &mut PgConnection) -> i64 {
    others_closed(owner).await;
    sqlx::query_scalar(
        "select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_user_indexes where relname like 'events\\_%'",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn an_event_is_looked_up_whatever_else_the_tenant_has() {
    const KNOWN: usize = 2_000;
    Database::with(async |database| {
        let mut owner = database.connect("postgres").await;
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let event = |id: usize| message(connection, "C1", &id.to_string(), "hello");
        let store = database.builder().connect().await.unwrap();
        let many = (0..KNOWN).map(event).collect();
        store.accept(tenant, many).await.unwrap();
        drop(store);
        let before = events_read(&mut owner).await;
        let store = database.builder().connect().await.unwrap();
        for id in KNOWN..KNOWN + 10 {
            store.accept(tenant, vec![event(id)]).await.unwrap();
        }
        drop(store);
        let read = events_read(&mut owner).await - before;
        assert!(read < 100, "{read} entries of {KNOWN} were read");
    })
    .await;
}
