//! Rows of the application, on PostgreSQL.

use konstruct_memory::RowStore as _;
use sqlx::Row as _;

use crate::{common::rows::row_suite, database::Database};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_stores_rows() {
    Database::with(async |database| {
        // One database serves all, because the tests use tenants of their own, and the operator's rows are removed between them.
        row_suite(async || {
            let mut owner = database.connect("postgres").await;
            sqlx::raw_sql("delete from konstruct.app_rows")
                .execute(&mut owner)
                .await
                .unwrap();
            database.builder().connect().await.unwrap()
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_database_contains_no_value() {
    Database::with(async |database| {
        let store = database.builder().connect().await.unwrap();
        store.put_row(None, "t", "k", b"planted").await.unwrap();
        let mut owner = database.connect("postgres").await;
        let row = sqlx::query("select sealed from konstruct.app_rows")
            .fetch_one(&mut owner)
            .await
            .unwrap();
        let sealed: Vec<u8> = row.get(0);
        assert!(!sealed.windows(7).any(|part| part == b"planted"));
    })
    .await;
}
