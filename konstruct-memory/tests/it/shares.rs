//! The tenants' own shares of the workers, on redb.

use konstruct_core::{TenantId, store::Share};
use konstruct_memory::{Redb, ShareStore as _};

use crate::common::shares::share_suite;

#[tokio::test(flavor = "multi_thread")]
async fn redb_keeps_to_shares() {
    share_suite(Redb::in_memory().unwrap()).await;
}

#[tokio::test]
async fn a_share_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let tenant = TenantId::new();
    let store = Redb::open(&path).unwrap();
    store
        .put_share(tenant, Some(Share::default()))
        .await
        .unwrap();
    drop(store);
    let store = Redb::open(&path).unwrap();
    assert_eq!(store.share(tenant).await.unwrap(), Some(Share::default()));
}
