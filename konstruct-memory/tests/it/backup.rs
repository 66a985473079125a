//! Copies of a store that is used.

use konstruct_core::{ErrorKind, TenantId};
use konstruct_memory::{KeyRing, Redb, RowStore as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_one_moment_of_a_store_that_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let ring = KeyRing::generate().unwrap();
    let open = |name: &str| {
        let builder = Redb::builder().key_ring(ring.clone());
        builder.open(folder.path().join(name)).unwrap()
    };
    let store = open("store.redb");
    let tenant = TenantId::new();
    // Both rows have the same value at every moment. The padding makes the copy slower than a write.
    let write = async |n: u32| {
        let value = n.to_be_bytes().to_vec();
        let row =
            |key: &str| konstruct_memory::RowChange::put(Some(tenant), "t", key, value.clone());
        assert!(store.write_rows(vec![row("a"), row("z")]).await.unwrap());
    };
    for n in 0..200 {
        let (key, value) = (format!("p{n}"), vec![7; 8192]);
        store
            .put_row(Some(tenant), "t", &key, &value)
            .await
            .unwrap();
    }
    write(0).await;
    let copying = {
        let (store, path) = (store.clone(), folder.path().join("copy.redb"));
        tokio::spawn(async move { store.backup(path).await })
    };
    let mut n = 0;
    while !copying.is_finished() {
        n += 1;
        write(n).await;
    }
    copying.await.unwrap().unwrap();
    write(n + 1).await;

    let copy = open("copy.redb");
    let rows = copy.rows(Some(tenant), "t", None, 999).await.unwrap();
    assert_eq!(rows.len(), 202);
    assert_eq!(rows[0].1, rows[201].1);
    assert_ne!(rows[0].1, (n + 1).to_be_bytes());
    // The copy is a store of its own.
    copy.put_row(Some(tenant), "t", "own", b"1").await.unwrap();
    let own = store.get_row(Some(tenant), "t", "own").await.unwrap();
    assert_eq!(own, None);
}

#[tokio::test]
async fn an_existing_file_is_kept_and_a_failure_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = Redb::open(folder.path().join("store.redb")).unwrap();
    let path = folder.path().join("copy.redb");
    std::fs::write(&path, "mine").unwrap();
    let error = store.backup(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let error = store.backup(folder.path().join("none/copy.redb")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["copy.redb", "store.redb"]);
}
