//! The file contains no plain text or names, and cannot be read without the keys.

use std::{path::Path, sync::Arc, time::Duration};

use konstruct_core::{
    ConnectionId, ErrorKind, Outgoing, PersonId, TenantId, Timestamp, TurnId,
    store::{Append, AppendOutcome, Claim, DeliveryKey, History as _, Mailbox as _},
    turn::{Cause, Entry, Event, Record, ReplyPart},
};
use konstruct_memory::{KeyRing, Redb, RowStore as _};

use crate::common::{claimed, message};

/// A text that must not be in the file.
const MARKER: &str = "xyzzy-plugh";

pub(crate) fn sent(persons: &[PersonId], text: &str) -> Record {
    Record::new(
        TurnId::new(),
        Timestamp::from_secs(0),
        Cause::Employee,
        Entry::Event(Event::Rendered {
            parts: vec![ReplyPart {
                key: "k".into(),
                what: Outgoing::markdown(text),
            }],
            rest: None,
        }),
    )
    .sealed_to(persons.iter().copied())
}

/// Accepts a message in the only conversation, and appends a record that is sent to a person.
async fn said(store: &Redb, tenant: TenantId, text: &str) -> Claim {
    let mut event = message(ConnectionId::new(), text, text, text);
    event.event.sender.name = Some(text.into());
    event.event.sender.ids[0].1 = text.into();
    store.accept(tenant, vec![event]).await.unwrap();
    let lease = Duration::from_secs(60);
    let claim = claimed(store, lease).await.unwrap();
    let loaded = store.load(&claim).await.unwrap().unwrap();
    let append = Append {
        records: vec![sent(&loaded.inbox[0].persons, text)],
        delivery_keys: vec![DeliveryKey {
            key: text.into(),
            index: 0,
        }],
        consume_to: Some(1),
        checkpoint: true,
        ..Append::default()
    };
    let outcome = store.append(&claim, 0, append).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Appended);
    store.release(&claim, 1).await.unwrap();
    claim
}

async fn texts(store: &Redb, claim: &Claim) -> Vec<String> {
    let log = store.read(claim.tenant, claim.conversation, 0..9).await;
    let text = |record: Arc<Record>| match &record.entry {
        Entry::Event(Event::Rendered { parts, .. }) => parts[0].what.text.clone(),
        _ => String::new(),
    };
    let records = log.unwrap().into_iter().filter_map(|stored| stored.record);
    records.map(text).collect()
}

pub(crate) fn contains(path: &Path, word: &str) -> bool {
    let file = std::fs::read(path).unwrap();
    let mut found = file.windows(word.len());
    found.any(|bytes| bytes == word.as_bytes())
}

#[tokio::test]
async fn a_dump_of_the_file_reveals_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let ring = KeyRing::generate().unwrap();
    let store = Redb::builder().key_ring(ring.clone()).open(&path).unwrap();
    let tenant = TenantId::new();
    let claim = said(&store, tenant, MARKER).await;
    store
        .put_row(Some(tenant), "t", "k", MARKER.as_bytes())
        .await
        .unwrap();
    assert_eq!(texts(&store, &claim).await, [MARKER], "it is there");
    drop(store);
    for word in [MARKER, "xyzzy", "plugh", ring.to_secret().expose()] {
        assert!(!contains(&path, word), "{word} is in the file");
    }
    let store = Redb::builder().key_ring(ring).open(&path).unwrap();
    assert_eq!(texts(&store, &claim).await, [MARKER]);
}

#[tokio::test]
async fn a_file_opens_with_its_ring_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let ring = KeyRing::generate().unwrap();
    let store = Redb::builder().key_ring(ring.clone()).open(&path).unwrap();
    let claim = said(&store, TenantId::new(), MARKER).await;
    drop(store);
    let (id, text) = (ring.current_id(), ring.to_secret());
    let other = KeyRing::generate().unwrap().to_secret();
    let (_, key) = other.expose().split_once(':').unwrap();
    let forged = KeyRing::parse(&format!("{id}:{key}")).unwrap();
    for (builder, problem) in [
        (Redb::builder(), "none was given".to_owned()),
        (
            Redb::builder().key_ring(KeyRing::generate().unwrap()),
            format!("no key `{id}`"),
        ),
        (Redb::builder().key_ring(forged), format!("key `{id}`")),
    ] {
        let error = builder.open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(error.message().contains(&problem), "{error}");
    }
    let both = format!("new:{key},{}", text.expose());
    let builder = Redb::builder().key_ring(KeyRing::parse(&both).unwrap());
    let store = builder.open(&path).unwrap();
    assert_eq!(texts(&store, &claim).await, [MARKER]);
}

/// Rotation: after a new key is added in front and the keys are rewrapped, the old key is not needed.
#[tokio::test]
async fn rewrapped_keys_do_not_need_the_old_ring() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    // Created without a ring: it stores its own.
    let store = Redb::open(&path).unwrap();
    let mut claims = vec![
        said(&store, TenantId::new(), "one").await,
        said(&store, TenantId::new(), "two").await,
    ];
    assert_eq!(store.rewrap_keys().await.unwrap(), 0);
    drop(store);
    let new = KeyRing::generate().unwrap();
    let open = || Redb::builder().key_ring(new.clone()).open(&path);
    let store = open().unwrap();
    claims.push(said(&store, TenantId::new(), "three").await);
    assert_eq!(store.rewrap_keys().await.unwrap(), 2);
    assert_eq!(store.rewrap_keys().await.unwrap(), 0);
    drop(store);
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let store = open().unwrap();
    for (claim, text) in claims.iter().zip(["one", "two", "three"]) {
        assert_eq!(texts(&store, claim).await, [text]);
    }
}

#[tokio::test]
async fn an_older_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let db = redb::Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    let meta = redb::TableDefinition::<&[u8], &[u8]>::new("meta");
    let format: &[u8] = &1_u64.to_be_bytes();
    txn.open_table(meta)
        .unwrap()
        .insert(b"format".as_slice(), format)
        .unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("format 1"), "{error}");
}

/// Content cannot be moved to another place by writing to the file.
#[tokio::test]
async fn rows_that_changed_places_do_not_open() {
    use redb::{ReadableDatabase as _, ReadableTable as _};
    for table in ["inbox", "log"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Redb::open(&path).unwrap();
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let events = ["one", "two"].map(|id| message(connection, "C1", id, id));
        store.accept(tenant, events.to_vec()).await.unwrap();
        let lease = Duration::from_secs(60);
        let claim = claimed(&store, lease).await.unwrap();
        for (len, text) in (0..).zip(["one", "two"]) {
            let append = Append {
                records: vec![sent(&[], text)],
                ..Append::default()
            };
            store.append(&claim, len, append).await.unwrap();
        }
        drop(store);
        let definition = redb::TableDefinition::<&[u8], &[u8]>::new(table);
        let db = redb::Database::open(&path).unwrap();
        let rows: Vec<_> = db
            .begin_read()
            .unwrap()
            .open_table(definition)
            .unwrap()
            .iter()
            .unwrap()
            .map(|row| row.unwrap())
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect();
        let txn = db.begin_write().unwrap();
        for ((key, _), (_, other)) in rows.iter().zip(rows.iter().rev()) {
            let mut rows = txn.open_table(definition).unwrap();
            rows.insert(key.as_slice(), other.as_slice()).unwrap();
        }
        txn.commit().unwrap();
        drop(db);
        let store = Redb::open(&path).unwrap();
        let claim = claimed(&store, lease).await.unwrap();
        let error = store.load(&claim).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{table}");
    }
}
