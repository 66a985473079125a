//! The hosted store as a memory.

use konstruct_core::testkit::memory_suite;

use crate::database::Database;

#[tokio::test]
async fn postgres_is_a_memory() {
    Database::with(async |database| memory_suite(async || database.fresh_memory().await).await)
        .await;
}
