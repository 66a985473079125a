//! Rows of the application.

use konstruct_core::{Depth, Erase, ErrorKind, TenantId, store::Archive as _};
use konstruct_memory::{Expect, Redb, RowChange};

fn change(tenant: Option<TenantId>, key: &str, expect: Expect, value: Option<&[u8]>) -> RowChange {
    RowChange {
        tenant,
        table: "t".into(),
        key: key.into(),
        expect,
        value: value.map(<[u8]>::to_vec),
    }
}

#[tokio::test]
async fn rows_are_separate_by_tenant_and_table() {
    let store = Redb::in_memory().unwrap();
    let owners = [None, Some(TenantId::new()), Some(TenantId::new())];
    for (n, owner) in owners.into_iter().enumerate() {
        let value = [u8::try_from(n).unwrap()];
        store.put_row(owner, "t", "k", &value).await.unwrap();
        store.put_row(owner, "tt", "k", b"other").await.unwrap();
    }
    for (n, owner) in owners.into_iter().enumerate() {
        let value = vec![u8::try_from(n).unwrap()];
        assert_eq!(
            store.get_row(owner, "t", "k").await.unwrap(),
            Some(value.clone())
        );
        let rows = store.rows(owner, "t", None, 10).await.unwrap();
        assert_eq!(rows, [("k".to_owned(), value)]);
    }
    assert!(store.delete_row(owners[1], "t", "k").await.unwrap());
    assert!(!store.delete_row(owners[1], "t", "k").await.unwrap());
    assert_eq!(store.get_row(owners[1], "t", "k").await.unwrap(), None);
    assert!(store.get_row(owners[2], "t", "k").await.unwrap().is_some());
}

#[tokio::test]
async fn rows_are_listed_by_key_in_pages() {
    let store = Redb::in_memory().unwrap();
    for key in ["b", "a", "ab", "c"] {
        store.put_row(None, "t", key, key.as_bytes()).await.unwrap();
    }
    let keys = async |after, limit| {
        let rows = store.rows(None, "t", after, limit).await.unwrap();
        rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(None, 10).await, ["a", "ab", "b", "c"]);
    assert_eq!(keys(None, 2).await, ["a", "ab"]);
    assert_eq!(keys(Some("a"), 2).await, ["ab", "b"]);
    assert_eq!(keys(Some("aa"), 1).await, ["ab"]);
    assert!(keys(Some("c"), 9).await.is_empty());
}

#[tokio::test]
async fn changes_are_made_together_or_not_at_all() {
    let store = Redb::in_memory().unwrap();
    let write = async |changes| store.write_rows(changes).await.unwrap();
    assert!(
        write(vec![
            change(None, "a", Expect::Absent, Some(b"1")),
            change(None, "b", Expect::Any, Some(b"1")),
        ])
        .await
    );
    for wrong in [
        change(None, "b", Expect::Absent, None),
        change(None, "b", Expect::Exact(b"2".to_vec()), None),
        change(None, "c", Expect::Exact(b"1".to_vec()), None),
    ] {
        let fine = change(None, "a", Expect::Exact(b"1".to_vec()), Some(b"2"));
        assert!(!write(vec![fine, wrong]).await);
        assert_eq!(
            store.get_row(None, "t", "a").await.unwrap(),
            Some(b"1".to_vec())
        );
    }
    assert!(
        write(vec![
            change(None, "a", Expect::Exact(b"1".to_vec()), None),
            change(None, "b", Expect::Exact(b"1".to_vec()), Some(b"2")),
        ])
        .await
    );
    assert_eq!(store.get_row(None, "t", "a").await.unwrap(), None);
    assert_eq!(
        store.get_row(None, "t", "b").await.unwrap(),
        Some(b"2".to_vec())
    );
}

/// If many callers claim the same name, one gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_is_taken_once() {
    let store = Redb::in_memory().unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..50u8 {
        let store = store.clone();
        tries.spawn(async move {
            let claim = change(None, "name", Expect::Absent, Some(&[n]));
            store.write_rows(vec![claim]).await.unwrap()
        });
    }
    let got = tries.join_all().await;
    assert_eq!(got.iter().filter(|got| **got).count(), 1);
}

#[tokio::test]
async fn bad_names_are_refused_and_nothing_is_stored() {
    let store = Redb::in_memory().unwrap();
    let nil = TenantId::from_bytes([0; 16]);
    for (tenant, table, key, field) in [
        (None, "", "k", "table"),
        (None, "t", "", "key"),
        (None, &*"t".repeat(65), "k", "table"),
        (None, "t", &*"k".repeat(513), "key"),
        (Some(nil), "t", "k", "tenant"),
    ] {
        let error = store.put_row(tenant, table, key, b"v").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().starts_with(field), "{error}");
    }
    assert!(store.rows(None, "t", None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn rows_are_erased_with_their_tenant_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let tenant = TenantId::new();
    let store = Redb::open(&path).unwrap();
    for owner in [None, Some(tenant)] {
        store.put_row(owner, "t", "k", b"v").await.unwrap();
    }
    drop(store);
    let store = Redb::open(&path).unwrap();
    assert!(
        store
            .get_row(Some(tenant), "t", "k")
            .await
            .unwrap()
            .is_some()
    );
    for gone in [tenant, TenantId::from_bytes([0; 16])] {
        store
            .erase(gone, Erase::Tenant, Depth::Logical)
            .await
            .unwrap();
    }
    assert!(
        store
            .get_row(Some(tenant), "t", "k")
            .await
            .unwrap()
            .is_none()
    );
    assert!(store.get_row(None, "t", "k").await.unwrap().is_some());
}
