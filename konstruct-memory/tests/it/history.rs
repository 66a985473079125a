//! What was said: found by those who were there, as soon as it is recorded.

use std::time::Duration;

use konstruct_core::{
    Audience, ConnectionId, ConversationId, ConversationRef, Depth, Erase, Hit, MemoryStore as _,
    Recall, Scope, Source, TenantId, Timestamp, TurnId, WorkerId,
    turn::{
        Action, Append, AppendOutcome, Claim, Entry, Event, Input, Journal as _, RECORD_VERSION,
        Record,
    },
};
use konstruct_memory::Redb;

use crate::journal::message;

fn record(entry: Entry) -> Record {
    Record {
        v: RECORD_VERSION,
        turn: TurnId::new(),
        at: Timestamp::from_secs(0),
        persons: Default::default(),
        entry,
    }
}

/// Made of JSON, as a store reads it: fields that are added later do not matter here.
fn heard(connection: ConnectionId, text: &str) -> Vec<Input> {
    let mut event = message(connection, "C1", "m", text).event;
    event.sender.name = Some("Kim".into());
    let input = serde_json::json!({ "seq": 1, "event": event });
    vec![serde_json::from_value(input).unwrap()]
}

fn started(connection: ConnectionId, text: &str) -> Record {
    let started = serde_json::json!({
        "engine": 1,
        "employee": 1,
        "model": { "provider": "p", "model": "m", "price": null },
        "channel": { "kind": "slack", "find": "none", "max_text": 1000, "timeout_ms": 1, "grace_ms": 1 },
        "connection": connection,
        "conversation": ConversationRef::direct("C1"),
        "inputs": heard(connection, text),
    });
    let started = serde_json::from_value(started).unwrap();
    record(Entry::Event(Event::Started(started)))
}

fn sent(text: &str, attempt: u32) -> Record {
    record(Entry::Action(Action::Send {
        key: "k".into(),
        attempt,
        text: text.into(),
        reply_to: None,
        give_up_at: Timestamp::from_secs(0),
    }))
}

async fn claimed(store: &Redb, tenant: TenantId, connection: ConnectionId, place: &str) -> Claim {
    let event = message(connection, place, place, "");
    store.accept(tenant, vec![event]).await.unwrap();
    let lease = Duration::from_secs(3600);
    store.claim(WorkerId::new(), lease).await.unwrap().unwrap()
}

async fn append(store: &Redb, claim: &Claim, len: u64, records: Vec<Record>) {
    let append = Append {
        records,
        consume_to: Some(1),
        checkpoint: true,
        ..Append::default()
    };
    let outcome = store.append(claim, len, append).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Appended);
}

async fn recall(store: &Redb, tenant: TenantId, audience: Audience, text: &str) -> Vec<Hit> {
    let query = Recall::new(text, audience, Scope::HISTORY);
    store.recall(tenant, query).await.unwrap()
}

fn places(hits: &[Hit]) -> Vec<(ConversationId, u64)> {
    hits.iter()
        .map(|hit| match hit.source {
            Source::Message {
                conversation,
                index,
            } => (conversation, index),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn what_was_said_is_found_where_it_was_said() {
    let store = Redb::in_memory().unwrap();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let one = claimed(&store, tenant, connection, "C1").await;
    let two = claimed(&store, tenant, connection, "C2").await;
    let records = vec![
        started(connection, "My bicycle has a broken chain"),
        record(Entry::Action(Action::Gather)),
        record(Entry::Event(Event::Heard {
            inputs: heard(connection, "and the saddle squeaks"),
        })),
        sent("Bring the bicycle on Tuesday", 1),
        sent("Bring the bicycle on Tuesday", 2),
    ];
    append(&store, &one, 0, records).await;
    append(&store, &two, 0, vec![sent("We sell bicycles", 1)]).await;
    let (here, there) = (one.conversation, two.conversation);
    let find = async |id, text: &str| {
        let mut found = places(
            &recall(
                &store,
                tenant,
                Audience::Conversation { conversation: id },
                text,
            )
            .await,
        );
        found.sort();
        found
    };
    assert_eq!(find(here, "bicycles").await, [(here, 0), (here, 3)]);
    assert_eq!(find(here, "saddle").await, [(here, 2)]);
    assert_eq!(find(here, "kim").await, [(here, 0), (here, 2)]);
    assert_eq!(find(there, "bicycle").await, [(there, 0)]);
    assert!(find(there, "saddle").await.is_empty());
    assert!(
        recall(&store, tenant, Audience::Tenant, "bicycle")
            .await
            .is_empty()
    );
    let other = TenantId::new();
    assert!(
        recall(
            &store,
            other,
            Audience::Conversation { conversation: here },
            "bicycle"
        )
        .await
        .is_empty()
    );
    let hit = recall(
        &store,
        tenant,
        Audience::Conversation { conversation: here },
        "saddle",
    )
    .await
    .remove(0);
    assert_eq!(
        (hit.name.as_str(), hit.text.as_str()),
        ("Kim", "and the saddle squeaks")
    );
    assert!(hit.coverage > 0.8, "{hit:?}");
    let fetched = store
        .fetch(tenant, &[hit.source])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!((fetched.text, fetched.score), (hit.text, 0.0));
    assert_eq!(store.fetch(other, &[hit.source]).await.unwrap(), [None]);
}

#[tokio::test]
async fn what_is_recorded_is_found_at_once_and_again_after_a_rebuild() {
    let store = Redb::in_memory().unwrap();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let claim = claimed(&store, tenant, connection, "C1").await;
    let audience = Audience::Conversation {
        conversation: claim.conversation,
    };
    for n in 0..600 {
        append(&store, &claim, n, vec![sent(&format!("number n{n}"), 1)]).await;
        if n % 50 == 0 {
            let hits = recall(&store, tenant, audience, &format!("n{n}")).await;
            assert_eq!(places(&hits), [(claim.conversation, n)]);
        }
    }
    let before = recall(&store, tenant, audience, "number n599").await;
    store.rebuild_index(tenant).await.unwrap();
    assert_eq!(
        recall(&store, tenant, audience, "number n599").await,
        before
    );
    assert_eq!(before.len(), 10);
}

#[tokio::test]
async fn what_was_erased_is_not_found() {
    let store = Redb::in_memory().unwrap();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let claim = claimed(&store, tenant, connection, "C1").await;
    let audience = Audience::Conversation {
        conversation: claim.conversation,
    };
    append(&store, &claim, 0, vec![sent("a secret", 1)]).await;
    let hit = recall(&store, tenant, audience, "secret").await.remove(0);
    let erase = Erase::Conversation {
        conversation: claim.conversation,
    };
    store.erase(tenant, erase, Depth::Logical).await.unwrap();
    assert!(recall(&store, tenant, audience, "secret").await.is_empty());
    assert_eq!(store.fetch(tenant, &[hit.source]).await.unwrap(), [None]);
    // The place begins anew.
    let event = message(connection, "C1", "again", "");
    store.accept(tenant, vec![event]).await.unwrap();
    let lease = Duration::from_secs(60);
    let claim = store.claim(WorkerId::new(), lease).await.unwrap().unwrap();
    append(&store, &claim, 0, vec![sent("something else", 1)]).await;
    assert!(recall(&store, tenant, audience, "secret").await.is_empty());
    assert_eq!(
        recall(&store, tenant, audience, "else something")
            .await
            .len(),
        0
    );
    assert_eq!(
        recall(&store, tenant, audience, "something else entirely")
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn the_index_catches_up_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let store = Redb::open(&path).unwrap();
    let claim = claimed(&store, tenant, connection, "C1").await;
    append(&store, &claim, 0, vec![sent("the saddle squeaks", 1)]).await;
    drop(store);
    let store = Redb::open(&path).unwrap();
    let audience = Audience::Conversation {
        conversation: claim.conversation,
    };
    let hits = recall(&store, tenant, audience, "saddle").await;
    assert_eq!(places(&hits), [(claim.conversation, 0)]);
}
