//! Who can read a store's file.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use konstruct_core::{Depth, Erase, TenantId, store::Archive as _};
use konstruct_memory::Redb;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A physical erasure replaces the file by a new one.
async fn rewrite(store: &Redb) {
    let erasing = store.erase(TenantId::new(), Erase::Tenant, Depth::Physical);
    erasing.await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Redb::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    rewrite(&store).await;
    assert_eq!(mode(&path), 0o600, "after a rewrite");
}

#[tokio::test]
async fn an_existing_file_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let group = Permissions::from_mode(0o640);
    File::create(&path).unwrap().set_permissions(group).unwrap();
    let store = Redb::open(&path).unwrap();
    assert_eq!(mode(&path), 0o640);
    rewrite(&store).await;
    assert_eq!(mode(&path), 0o640, "after a rewrite");
}
