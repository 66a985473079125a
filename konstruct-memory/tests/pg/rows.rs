//! Rows of the application, on PostgreSQL.

use konstruct_core::{Depth, Erase, TenantId, store::Archive as _};
use konstruct_memory::{RowChange, RowStore as _};
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

/// The audit log of a tenant can only grow, until the tenant goes.
#[tokio::test]
async fn the_audit_log_is_append_only() {
    Database::with(async |database| {
        let store = database.builder().connect().await.unwrap();
        let tenant = TenantId::new();
        for owner in [None, Some(tenant)] {
            store.put_row(owner, "audit", "1", b"one").await.unwrap();
            store.put_row(owner, "other", "1", b"one").await.unwrap();
            let changed = store.put_row(owner, "audit", "1", b"two").await;
            assert!(changed.is_err(), "{owner:?}");
            assert!(store.delete_row(owner, "audit", "1").await.is_err());
            let kept = store.get_row(owner, "audit", "1").await.unwrap();
            assert_eq!(kept.as_deref(), Some(&b"one"[..]));
            store.put_row(owner, "audit", "2", b"two").await.unwrap();
            assert!(store.delete_row(owner, "other", "1").await.unwrap());
        }
        // A change together with rows of another owner, whose key the trigger must not look for instead.
        let delete = RowChange::delete(Some(tenant), "audit", "1");
        let other = RowChange::put(Some(TenantId::new()), "other", "1", vec![]);
        assert!(store.write_rows(vec![delete, other]).await.is_err());

        let erased = store.erase(tenant, Erase::Tenant, Depth::Logical).await;
        erased.unwrap();
        let left = store.rows(Some(tenant), "audit", None, 9).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}
