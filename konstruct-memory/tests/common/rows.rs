//! Rows of the application, on any store.

use std::sync::Arc;

use konstruct_core::{Depth, Erase, ErrorKind, TenantId, store::Archive};
use konstruct_memory::{Expect, RowChange, RowStore};

fn change(tenant: Option<TenantId>, key: &str, expect: Expect, value: Option<&[u8]>) -> RowChange {
    RowChange {
        tenant,
        table: "t".into(),
        key: key.into(),
        expect,
        value: value.map(<[u8]>::to_vec),
    }
}

async fn rows_are_separate_by_tenant_and_table(store: &dyn RowStore) {
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

async fn rows_are_listed_by_key_in_pages(store: &dyn RowStore) {
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

async fn changes_are_made_together_or_not_at_all(store: &dyn RowStore) {
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
async fn a_name_is_taken_once(store: Arc<dyn RowStore>) {
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..50u8 {
        let store = Arc::clone(&store);
        tries.spawn(async move {
            let claim = change(None, "name", Expect::Absent, Some(&[n]));
            store.write_rows(vec![claim]).await.unwrap()
        });
    }
    let got = tries.join_all().await;
    assert_eq!(got.iter().filter(|got| **got).count(), 1);
}

async fn bad_names_are_refused_and_nothing_is_stored(store: &dyn RowStore) {
    let nil = TenantId::from_bytes([0; 16]);
    for (tenant, table, key, field) in [
        (None, "", "k", "table"),
        (None, "t", "", "key"),
        (None, &*"t".repeat(65), "k", "table"),
        (None, "t", &*"k".repeat(513), "key"),
        (None, "t\0", "k", "table"),
        (None, "t", "k\0", "key"),
        (Some(nil), "t", "k", "tenant"),
    ] {
        let error = store.put_row(tenant, table, key, b"v").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().starts_with(field), "{error}");
    }
    assert!(store.rows(None, "t", None, 10).await.unwrap().is_empty());
}

/// Rows of two owners change together, and an erased tenant begins anew.
async fn rows_are_erased_with_their_tenant<S: RowStore + Archive>(store: &S) {
    let tenants = [TenantId::new(), TenantId::new()];
    let owners = [None, Some(tenants[0]), Some(tenants[1])];
    let all =
        |expect: Expect| owners.map(|owner| change(owner, "gone", expect.clone(), Some(b"v")));
    assert!(store.write_rows(all(Expect::Absent).into()).await.unwrap());
    let again =
        [all(Expect::Any), all(Expect::Absent)].map(|[operator, tenant, _]| [operator, tenant]);
    let [[operator, _], [_, tenant]] = again;
    assert!(!store.write_rows(vec![operator, tenant]).await.unwrap());
    for gone in [tenants[0], TenantId::from_bytes([0; 16])] {
        store
            .erase(gone, Erase::Tenant, Depth::Logical)
            .await
            .unwrap();
    }
    for (owner, kept) in owners.into_iter().zip([true, false, true]) {
        let row = store.get_row(owner, "t", "gone").await.unwrap();
        assert_eq!(row.is_some(), kept, "{owner:?}");
    }
    let anew = change(Some(tenants[0]), "gone", Expect::Absent, Some(b"w"));
    assert!(store.write_rows(vec![anew]).await.unwrap());
    let row = store.get_row(Some(tenants[0]), "t", "gone").await.unwrap();
    assert_eq!(row.as_deref(), Some(&b"w"[..]));
}

/// Runs every test of a store.
pub(crate) async fn row_suite<S: RowStore + Archive + Clone>(make: impl AsyncFn() -> S) {
    rows_are_separate_by_tenant_and_table(&make().await).await;
    rows_are_listed_by_key_in_pages(&make().await).await;
    changes_are_made_together_or_not_at_all(&make().await).await;
    a_name_is_taken_once(Arc::new(make().await)).await;
    bad_names_are_refused_and_nothing_is_stored(&make().await).await;
    rows_are_erased_with_their_tenant(&make().await).await;
}
