//! The hosted store under the conformance suites.

use konstruct_core::testkit::{store_restart_suite, store_suite, turn_suite};

use crate::database::Database;

#[tokio::test]
async fn postgres_is_a_store() {
    Database::with(async |database| store_suite(async || database.fresh().await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_is_a_store_on_many_threads() {
    Database::with(async |database| store_suite(async || database.fresh().await).await).await;
}

#[tokio::test]
async fn postgres_keeps_what_it_answered() {
    Database::with(async |database| {
        store_restart_suite(
            async || database.fresh().await,
            // As another process: claims of the previous one continue until their lease expires.
            async |subject, _| database.subject(subject.clock).await,
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_laws_hold_on_postgres_wherever_the_process_is_killed() {
    Database::with(async |database| {
        let kills = turn_suite(
            async || database.fresh().await,
            async |subject| database.subject(subject.clock).await,
        )
        .await
        .unwrap();
        assert!(kills > 60, "only {kills} kills");
    })
    .await;
}
