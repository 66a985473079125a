//! Rows of the application, on redb.

use konstruct_core::TenantId;
use konstruct_memory::{Redb, RowStore as _};

use crate::common::rows::row_suite;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redb_stores_rows() {
    row_suite(async || Redb::in_memory().unwrap()).await;
}

#[tokio::test]
async fn rows_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let owners = [None, Some(TenantId::new())];
    let store = Redb::open(&path).unwrap();
    for owner in owners {
        store.put_row(owner, "t", "k", b"v").await.unwrap();
    }
    drop(store);
    let store = Redb::open(&path).unwrap();
    for owner in owners {
        let row = store.get_row(owner, "t", "k").await.unwrap();
        assert_eq!(row.as_deref(), Some(&b"v"[..]));
    }
}
