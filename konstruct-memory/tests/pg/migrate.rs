//! A migration while the database is in use.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use konstruct_core::{ConnectionId, TenantId, store::Mailbox as _};
use konstruct_memory::{Postgres, isolation};
use sqlx::Connection as _;

use crate::{common::message, database::Database};

/// The longest that an event may wait for its acceptance.
const LONGEST: Duration = Duration::from_secs(1);
const SYNTHETIC: &str = "alter table log add column note text; create index log_note on log (tenant, note);
    alter table inbox add column note text; create table notes (tenant uuid not null, n bigint not null, primary key (tenant, n))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_accepted_during_a_migration() {
    Database::with(async |database| {
        let url = database.url("postgres");
        let store = database.builder().connect().await.unwrap();
        let (accepted, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let traffic = async |nth: u64| {
            let (tenant, connection) = (TenantId::new(), ConnectionId::new());
            let mut longest = Duration::ZERO;
            while !done.load(SeqCst) {
                let id = format!("{nth}.{}", accepted.fetch_add(1, SeqCst));
                let begun = Instant::now();
                let event = message(connection, "C1", &id, "hello");
                store.accept(tenant, vec![event]).await.unwrap();
                longest = longest.max(begun.elapsed());
            }
            longest
        };
        let migration = async {
            Postgres::migrate_also(&url, "9000_synthetic", SYNTHETIC)
                .await
                .unwrap();
            done.store(true, SeqCst);
        };
        // A long transaction, behind which the migration waits, and those behind the migration.
        let reader = async {
            let mut owner = database.connect("postgres").await;
            let mut tx = owner.begin().await.unwrap();
            sqlx::query("select count(*) from konstruct.inbox")
                .execute(&mut *tx)
                .await
                .unwrap();
            let begun = Instant::now();
            while begun.elapsed() < 2 * LONGEST {
                sqlx::query("select count(*) from konstruct.counters")
                    .execute(&mut *tx)
                    .await
                    .unwrap();
            }
            assert!(!done.load(SeqCst), "the migration did not wait");
            tx.rollback().await.unwrap();
        };
        let (one, two, ..) = tokio::join!(traffic(1), traffic(2), reader, migration);
        assert!(one.max(two) < LONGEST, "{one:?}, {two:?}");
        assert!(accepted.load(SeqCst) > 20);
        assert_eq!(isolation::audit(&url).await.unwrap(), [""; 0]);
    })
    .await;
}
