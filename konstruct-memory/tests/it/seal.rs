//! Everything that is said goes through the sealer, and nothing else tells it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use konstruct_core::{
    Audience, ConnectionId, DocumentFormat, Error, ErrorKind, MemoryStore as _, NewDocument,
    Opened, PersonId, Recall, Result, Scope, Sealer, SealerExt as _, Secret, TenantId, Timestamp,
    TurnId, WorkerId,
    turn::{Accepted, Action, Append, Entry, Journal as _, Record},
};
use konstruct_memory::{PlainSealer, Redb};

use crate::journal::message;

/// What must not stand in the file.
const MARKER: &str = "xyzzy-plugh";

/// Turns every bit around, names the place and the persons before, and refuses tenants.
#[derive(Debug)]
struct Turning {
    names: PlainSealer,
    destroyed: Mutex<BTreeSet<PersonId>>,
    refused: Mutex<BTreeSet<TenantId>>,
}

impl Turning {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            names: PlainSealer::new(Secret::new("key")),
            destroyed: Mutex::default(),
            refused: Mutex::default(),
        })
    }
}

fn turned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

impl Sealer for Turning {
    fn seal(
        &self,
        tenant: TenantId,
        persons: &[PersonId],
        aad: &[u8],
        plain: &[u8],
    ) -> Result<Bytes> {
        if self.refused.lock().unwrap().contains(&tenant) {
            return Err(Error::new(ErrorKind::Unavailable, "no key"));
        }
        let mut sealed = vec![u8::try_from(persons.len()).unwrap()];
        for person in persons {
            sealed.extend_from_slice(person.as_bytes());
        }
        sealed.extend_from_slice(&self.hash(tenant, "aad", aad));
        sealed.extend(turned(plain));
        Ok(sealed.into())
    }

    fn open(&self, tenant: TenantId, aad: &[u8], sealed: &[u8]) -> Result<Opened> {
        let (many, rest) = sealed.split_first().unwrap();
        let (persons, rest) = rest.split_at(16 * usize::from(*many));
        let (place, turned_bytes) = rest.split_at(16);
        if place != self.hash(tenant, "aad", aad) {
            return Err(Error::new(ErrorKind::Corrupt, "sealed to another place"));
        }
        let destroyed = self.destroyed.lock().unwrap();
        let gone = persons
            .chunks_exact(16)
            .any(|person| destroyed.contains(&PersonId::from_bytes(person.try_into().unwrap())));
        Ok(if gone {
            Opened::Destroyed
        } else {
            Opened::Bytes(turned(turned_bytes).into())
        })
    }

    fn hash(&self, tenant: TenantId, label: &str, bytes: &[u8]) -> [u8; 16] {
        self.names.hash(tenant, label, bytes)
    }
}

fn sent(person: PersonId, text: &str) -> Record {
    Record {
        v: 1,
        turn: TurnId::new(),
        at: Timestamp::from_secs(0),
        persons: BTreeSet::from([person]),
        entry: Entry::Action(Action::Send {
            key: MARKER.into(),
            attempt: 1,
            text: text.into(),
            reply_to: None,
            give_up_at: Timestamp::from_secs(0),
        }),
    }
}

#[tokio::test]
async fn a_dump_of_the_file_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Redb::builder().sealer(Turning::new()).open(&path).unwrap();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    // In every id, name and text that there is.
    let mut event = message(connection, MARKER, MARKER, MARKER);
    event.event.sender.name = Some(MARKER.into());
    event.event.sender.ids[0].1 = MARKER.into();
    store.accept(tenant, vec![event]).await.unwrap();
    let lease = Duration::from_secs(60);
    let claim = store.claim(WorkerId::new(), lease).await.unwrap().unwrap();
    let append = Append {
        records: vec![sent(PersonId::new(), MARKER)],
        delivery_keys: vec![MARKER.into()],
        ..Append::default()
    };
    store.append(&claim, 0, append).await.unwrap();
    let document = NewDocument {
        title: MARKER.into(),
        format: DocumentFormat::Markdown,
        text: format!("# {MARKER}\n\n{MARKER}"),
    };
    store.put_document(tenant, document).await.unwrap();
    store
        .put_row(Some(tenant), "t", "k", MARKER.as_bytes())
        .await
        .unwrap();
    for (scope, audience) in [
        (Scope::Knowledge, Audience::Tenant),
        (Scope::History, Audience::Conversation(claim.conversation)),
    ] {
        let query = Recall {
            text: MARKER.into(),
            audience,
            limit: 1,
            scope,
        };
        let hits = store.recall(tenant, query).await.unwrap();
        assert!(hits[0].text.contains(MARKER), "it is there");
    }
    drop(store);
    let file = std::fs::read(&path).unwrap();
    for word in [MARKER, "xyzzy", "plugh"] {
        let found = file
            .windows(word.len())
            .any(|bytes| bytes == word.as_bytes());
        assert!(!found, "{word} stands in the file");
    }
}

#[tokio::test]
async fn what_was_destroyed_reads_as_nothing_in_its_place() {
    let sealer = Turning::new();
    let store = Redb::builder().sealer(sealer.clone()).in_memory().unwrap();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let event = message(connection, "C1", "e1", "my words");
    store.accept(tenant, vec![event]).await.unwrap();
    let lease = Duration::from_secs(60);
    let claim = store.claim(WorkerId::new(), lease).await.unwrap().unwrap();
    let (one, two) = (sealer.person(tenant, "slack", "U1"), PersonId::new());
    let append = Append {
        records: vec![sent(one, "to one"), sent(two, "to two")],
        ..Append::default()
    };
    store.append(&claim, 0, append).await.unwrap();
    sealer.destroyed.lock().unwrap().insert(one);
    let log = store.read(tenant, claim.conversation, 0..9).await.unwrap();
    let readable: Vec<_> = log.iter().map(|stored| stored.record.is_some()).collect();
    assert_eq!(readable, [false, true]);
    assert_eq!((log[0].index, log[1].index), (0, 1));
    let loaded = store.load(&claim).await.unwrap().unwrap();
    assert_eq!(loaded.len, 2);
    assert_eq!(loaded.inbox[0].event, None);
    assert_eq!(loaded.inbox[0].persons, [one]);
    let fed = store.feed(tenant, 0, 9).await.unwrap();
    assert_eq!((fed.len(), fed[0].stored.record.is_some()), (2, false));
}

/// A tenant whose key cannot be had fails alone: others in the same batch are written, and of its own events none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_tenants_trouble_is_not_anothers() {
    let sealer = Turning::new();
    let store = Redb::builder().sealer(sealer.clone()).in_memory().unwrap();
    let (healthy, troubled, connection) = (TenantId::new(), TenantId::new(), ConnectionId::new());
    sealer.refused.lock().unwrap().insert(troubled);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..200 {
        let store = store.clone();
        calls.spawn(async move {
            let tenant = if n % 2 == 0 { healthy } else { troubled };
            let event = message(connection, "C1", &n.to_string(), "hello");
            let outcome = store.accept(tenant, vec![event]).await;
            assert_eq!(outcome.is_ok(), tenant == healthy);
        });
    }
    calls.join_all().await;
    assert!(
        store
            .conversations(troubled, None, 9)
            .await
            .unwrap()
            .is_empty()
    );
    let listed = store.conversations(healthy, None, 9).await.unwrap();
    assert_eq!(listed[0].unconsumed, 100);
    // Not even the ids are known: the events can come again.
    sealer.refused.lock().unwrap().clear();
    let event = message(connection, "C1", "1", "hello");
    let outcome = store.accept(troubled, vec![event]).await.unwrap();
    assert!(matches!(outcome[..], [Accepted::New { seq: 1, .. }]));
}
