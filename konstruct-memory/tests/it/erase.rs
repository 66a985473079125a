//! Erased data is gone: from the store, from late writers, and from the file.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use konstruct_core::{
    ConnectionId, Depth, DocumentFormat, Erase, NewDocument, PersonId, TenantId,
    id::WorkerId,
    memory::{ErasureReceipt, KnowledgeStore as _, Remnant, Until},
    message::{Actor, IdKind},
    store::{Accepted, Append, AppendOutcome, Archive as _, Claim, History as _, Mailbox as _},
};
use konstruct_memory::{KeyRing, Redb, RowStore as _};
use redb::{ReadableDatabase as _, ReadableTable as _};

use crate::{
    common::{claimed, message},
    seal::{contains, sent},
};

const LEASE: Duration = Duration::from_secs(60);

/// Accepts a message in a place. Returns the sender and a claim of the conversation.
async fn heard(
    store: &Redb,
    (tenant, connection): (TenantId, ConnectionId),
    (place, user): (&str, &str),
) -> (Claim, PersonId) {
    let mut event = message(connection, place, &WorkerId::new().to_string(), user);
    event.event.sender = Actor::human(IdKind::SlackUser, user);
    let outcome = store.accept(tenant, vec![event]).await.unwrap();
    assert!(matches!(outcome[..], [Accepted::New { .. }]));
    let claim = claimed(store, LEASE).await.unwrap();
    let loaded = store.load(&claim).await.unwrap().unwrap();
    (claim, loaded.inbox.last().unwrap().persons[0])
}

async fn append(store: &Redb, claim: &Claim, len: u64, persons: &[PersonId], text: &str) {
    let append = Append {
        records: vec![sent(persons, text)],
        ..Append::default()
    };
    let outcome = store.append(claim, len, append).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Appended);
}

async fn readable(store: &Redb, claim: &Claim) -> Vec<bool> {
    let log = store
        .read(claim.tenant, claim.conversation, 0..1000)
        .await
        .unwrap();
    log.iter().map(|stored| stored.record.is_some()).collect()
}

async fn erase(store: &Redb, tenant: TenantId, what: Erase, depth: Depth) -> ErasureReceipt {
    store.erase(tenant, what, depth).await.unwrap()
}

/// A copy of the records from before the erasure, restored without the person's key, does not open.
#[tokio::test]
async fn without_a_persons_key_nothing_that_names_them_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Redb::open(&path).unwrap();
    let office = (TenantId::new(), ConnectionId::new());
    let (shared, ann) = heard(&store, office, ("C1", "U-ann")).await;
    let (alone, bob) = heard(&store, office, ("C2", "U-bob")).await;
    append(&store, &shared, 0, &[ann], "ann").await;
    append(&store, &shared, 1, &[ann, bob], "both").await;
    append(&store, &shared, 2, &[bob], "bob").await;
    append(&store, &alone, 0, &[bob], "bob").await;
    let what = Erase::Person { person: bob };
    let receipt = erase(&store, office.0, what, Depth::Logical).await;
    assert_eq!((receipt.records, receipt.keys), (4, 1));
    let waits_for_ring = receipt.remains.iter().any(|remains| {
        remains.what == Remnant::WrappedKeys
            && matches!(remains.until, Until::RingKeyRetired { .. })
    });
    assert!(waits_for_ring, "{receipt:?}");
    assert_eq!(readable(&store, &shared).await, [true, false, false]);
    assert_eq!(readable(&store, &alone).await, [false]);
    drop(store);
    let store = Redb::open(&path).unwrap();
    assert_eq!(readable(&store, &shared).await, [true, false, false]);
    assert_eq!(readable(&store, &alone).await, [false]);
    let again = erase(&store, office.0, what, Depth::Logical).await;
    assert_eq!((again.records, again.keys, again.remains.len()), (0, 0, 0));
}

/// A worker that read before an erasure must not write after it, whether it is committed yet or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_late_writer_does_not_bring_it_back() {
    let store = Redb::in_memory().unwrap();
    let office = (TenantId::new(), ConnectionId::new());
    for _ in 0..50 {
        let (claim, ann) = heard(&store, office, ("C1", "U-ann")).await;
        let stop = Arc::new(AtomicBool::new(false));
        // A worker that claims everything it can, and writes back what it has read.
        let worker = tokio::spawn({
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let next = claimed(&store, LEASE).await;
                    if let Some(claim) = next
                        && let Some(loaded) = store.load(&claim).await.unwrap()
                    {
                        let persons: Vec<_> = loaded
                            .inbox
                            .iter()
                            .flat_map(|item| item.persons.clone())
                            .collect();
                        let append = Append {
                            records: vec![sent(&persons, "late")],
                            ..Append::default()
                        };
                        store.append(&claim, loaded.len, append).await.unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let what = Erase::Person { person: ann };
        let receipt = erase(&store, office.0, what, Depth::Logical).await;
        assert!(receipt.records > 0);
        stop.store(true, Ordering::Relaxed);
        worker.await.unwrap();
        let log = store
            .read(office.0, claim.conversation, 0..1000)
            .await
            .unwrap();
        let of_ann = log
            .iter()
            .filter_map(|stored| stored.record.as_ref())
            .filter(|record| record.persons.contains(&ann));
        assert_eq!(of_ann.count(), 0);
        erase(&store, office.0, Erase::Tenant, Depth::Logical).await;
    }
}

/// Counts the sealed records of a conversation in the file, by their row keys.
fn sealed_rows(path: &Path, conversation: &Claim) -> usize {
    let file = std::fs::read(path).unwrap();
    let id = conversation.conversation.as_bytes();
    file.windows(16).filter(|bytes| bytes == id).count()
}

#[tokio::test]
async fn a_physical_erasure_leaves_nothing_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Redb::open(&path).unwrap();
    let office = (TenantId::new(), ConnectionId::new());
    // Keys of rows are not sealed, so they serve as markers.
    let table = "canaries";
    let mut markers = Vec::new();
    for n in 0..100 {
        let marker = format!("canary-{n:03}-{}", WorkerId::new());
        store
            .put_row(Some(office.0), table, &marker, b"v")
            .await
            .unwrap();
        markers.push(marker);
    }
    let (claim, ann) = heard(&store, office, ("C1", "U-ann")).await;
    append(&store, &claim, 0, &[ann], "gone").await;
    store.put_row(None, "t", "stays", b"kept").await.unwrap();
    let (other, _) = heard(&store, (TenantId::new(), office.1), ("C1", "U-bob")).await;
    append(&store, &other, 0, &[], "stays").await;
    let held = |markers: &[String]| {
        let mut marked = markers.iter();
        marked.any(|marker| contains(&path, marker))
    };
    assert!(held(&markers), "they were there");
    erase(&store, office.0, Erase::Tenant, Depth::Logical).await;
    assert!(held(&markers), "a logical erasure leaves free pages");
    let receipt = erase(&store, office.0, Erase::Tenant, Depth::Physical).await;
    assert!(!held(&markers), "the file still has them");
    assert_eq!(sealed_rows(&path, &claim), 0);
    assert!(
        receipt
            .remains
            .iter()
            .all(|remains| remains.until != Until::Rewritten)
    );
    // The store continues with the new file.
    let kept = async |store: &Redb| {
        assert_eq!(readable(store, &other).await, [true]);
        let row = store.get_row(None, "t", "stays").await.unwrap();
        assert_eq!(row.as_deref(), Some(b"kept".as_slice()));
    };
    kept(&store).await;
    append(&store, &other, 1, &[], "after").await;
    drop(store);
    let store = Redb::open(&path).unwrap();
    let log = readable(&store, &other).await;
    assert_eq!(log, [true, true]);
    let entries = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(entries, 1, "a copy is left beside the file");
}

/// Returns the values of a table of a file.
fn values(path: &Path, table: &str) -> Vec<Vec<u8>> {
    let db = redb::Database::open(path).unwrap();
    let table = redb::TableDefinition::<&[u8], &[u8]>::new(table);
    let table = db.begin_read().unwrap().open_table(table).unwrap();
    let rows = table.iter().unwrap();
    rows.map(|row| row.unwrap().1.value().to_vec()).collect()
}

/// Counts these rows in a file, by their last 32 bytes.
fn held(path: &Path, rows: &[Vec<u8>]) -> usize {
    let file = std::fs::read(path).unwrap();
    let windows: std::collections::HashSet<_> = file.windows(32).collect();
    let held = rows
        .iter()
        .filter(|row| windows.contains(&row[row.len() - 32..]));
    held.count()
}

/// A person's wrapped key and erased records leave the file too.
#[tokio::test]
async fn a_person_is_erased_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let ring = KeyRing::generate().unwrap();
    let store = Redb::builder().key_ring(ring).open(&path).unwrap();
    let office = (TenantId::new(), ConnectionId::new());
    let (claim, ann) = heard(&store, office, ("C1", "U-ann")).await;
    for n in 0..100 {
        append(&store, &claim, n, &[ann], "canary").await;
    }
    // The file as it is on the disk, like an older copy.
    let copy = folder.path().join("copy");
    std::fs::copy(&path, &copy).unwrap();
    let mut sealed = values(&copy, "log");
    sealed.extend(values(&copy, "inbox"));
    sealed.extend(values(&copy, "keys"));
    assert_eq!(sealed.len(), 102);
    assert_eq!(held(&path, &sealed), 102);
    let what = Erase::Person { person: ann };
    let receipt = erase(&store, office.0, what, Depth::Physical).await;
    assert_eq!((receipt.records, receipt.keys), (101, 1));
    assert_eq!(held(&path, &sealed), 0);
    assert_eq!(readable(&store, &claim).await, [false; 100]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_writers_go_on_while_the_file_is_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = Redb::open(folder.path().join("store")).unwrap();
    let office = (TenantId::new(), ConnectionId::new());
    let (claim, _) = heard(&store, office, ("C1", "U-ann")).await;
    for n in 0..50 {
        append(&store, &claim, n, &[], "text").await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (store, stop, claim) = (store.clone(), Arc::clone(&stop), claim.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(readable(&store, &claim).await[..50], [true; 50]);
            }
        });
    }
    let writes = tokio::spawn({
        let (store, claim) = (store.clone(), claim.clone());
        async move {
            for n in 50..150 {
                append(&store, &claim, n, &[], "more").await;
            }
        }
    });
    let nothing = Erase::Message {
        conversation: claim.conversation,
        index: u64::MAX,
    };
    for _ in 0..10 {
        erase(&store, office.0, nothing, Depth::Physical).await;
    }
    writes.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    assert_eq!(readable(&store, &claim).await, [true; 150]);
}

/// The receipt of a tenant's erasure tells of the index as well: how much went, and what of it stays in the file until when.
#[tokio::test]
async fn the_receipt_of_a_tenant_counts_its_passages() {
    let store = Redb::in_memory().unwrap();
    let tenant = TenantId::new();
    let faq = "## Hours\n\nTen to six.\n\n## Prices\n\nTwenty a day.";
    let faq = NewDocument::new("FAQ", DocumentFormat::Markdown, faq);
    store.put_document(tenant, faq).await.unwrap();
    let receipt = erase(&store, tenant, Erase::Tenant, Depth::Logical).await;
    assert_eq!(receipt.passages, 2);
    let remains = receipt.remains.iter().map(|remains| remains.what);
    assert!(remains.clone().any(|what| what == Remnant::TermHashes));
    let again = erase(&store, tenant, Erase::Tenant, Depth::Logical).await;
    assert_eq!(again.passages, 0);
}
