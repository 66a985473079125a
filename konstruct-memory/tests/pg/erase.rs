//! What remains of erased data in the database's files.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    Clock as _, ConnectionId, Depth, Erase, ErrorKind, TenantId, Timestamp,
    id::WorkerId,
    memory::{Remnant, Until},
    message::{Actor, IdKind, RoutedEvent},
    store::{
        Accepted, Append, AppendOutcome, Archive as _, ClaimRequest, History as _, Mailbox as _,
    },
    testkit::VirtualClock,
};
use konstruct_memory::Postgres;
use sqlx::PgConnection;

use crate::{
    common::{claimed, message},
    database::Database,
    event::record,
};

/// Returns whether bytes occur in the file of the log table.
async fn in_file(owner: &mut PgConnection, bytes: &[u8]) -> bool {
    sqlx::raw_sql("checkpoint")
        .execute(&mut *owner)
        .await
        .unwrap();
    sqlx::query_scalar(
        "select position($1 in pg_read_binary_file(pg_relation_filepath('konstruct.log'))) > 0",
    )
    .bind(bytes)
    .fetch_one(owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn rewritten_files_contain_no_erased_data() {
    Database::with(async |database| {
        let store = database.builder().connect().await.unwrap();
        let tenant = TenantId::new();
        let event = message(ConnectionId::new(), "C1", "1", "hello");
        let accepted = store.accept(tenant, vec![event]).await.unwrap();
        let [Accepted::New { conversation, .. }] = accepted[..] else {
            panic!("{accepted:?}");
        };
        let lease = Duration::from_secs(60);
        let claim = claimed(&store, lease).await.unwrap();
        let append = Append {
            records: vec![record("the words")],
            ..Append::default()
        };
        store.append(&claim, 0, append).await.unwrap();
        let event = message(ConnectionId::new(), "C2", "2", "hello");
        store.accept(tenant, vec![event]).await.unwrap();
        let other = claimed(&store, lease).await.unwrap();
        let append = Append {
            records: vec![record("other words")],
            ..Append::default()
        };
        store.append(&other, 0, append).await.unwrap();
        let mut owner = database.connect("postgres").await;
        let sealed: Vec<u8> =
            sqlx::query_scalar("select sealed from konstruct.log where cursor = 1")
                .fetch_one(&mut owner)
                .await
                .unwrap();
        let what = Erase::Conversation { conversation };
        let refused = store
            .erase(tenant, what, Depth::Physical)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let receipt = store.erase(tenant, what, Depth::Logical).await.unwrap();
        assert_eq!(receipt.records, 1);
        let until: Vec<_> = receipt
            .remains
            .iter()
            .filter(|left| left.what == Remnant::SealedRecords)
            .map(|left| left.until.clone())
            .collect();
        assert_eq!(until, [Until::Rewritten, Until::BackupsExpire]);
        assert!(
            in_file(&mut owner, &sealed).await,
            "the receipt says that it remains"
        );
        // Data that a running transaction could still see stays until the next rewrite. The store follows its feed meanwhile.
        let mut tries = 0;
        while in_file(&mut owner, &sealed).await {
            assert!(tries < 100, "it remains after the rewrite");
            Postgres::rewrite(&database.url("postgres")).await.unwrap();
            tries += 1;
        }
        let kept = store.read(tenant, other.conversation, 0..9).await.unwrap();
        assert_eq!(kept[0].record.as_deref(), Some(&record("other words")));
    })
    .await;
}

/// Every table is rewritten: a table that a migration adds must be listed.
#[tokio::test]
async fn every_table_is_rewritten() {
    Database::with(async |database| {
        let mut owner = database.connect("postgres").await;
        let files = "select relname::text, relfilenode from pg_class
             where relnamespace = 'konstruct'::regnamespace and relkind = 'r' and relname <> 'migrations' order by 1";
        let before: Vec<(String, sqlx::postgres::types::Oid)> =
            sqlx::query_as(files).fetch_all(&mut owner).await.unwrap();
        Postgres::rewrite(&database.url("postgres")).await.unwrap();
        let after: Vec<(String, sqlx::postgres::types::Oid)> =
            sqlx::query_as(files).fetch_all(&mut owner).await.unwrap();
        for (before, after) in before.iter().zip(&after) {
            assert!(before.0 == after.0 && before.1 != after.1, "{} is the same file", before.0);
        }
        assert_eq!(before.len(), after.len());
    })
    .await;
}

/// After another process erased a person, a process with the person's key in memory neither writes with it nor restores it.
#[tokio::test]
async fn a_cached_key_does_not_outlive_its_person() {
    Database::with(async |database| {
        let one = database.builder().connect().await.unwrap();
        let other = database.builder().connect().await.unwrap();
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        for (place, id) in [("C1", "1"), ("C2", "2")] {
            let event = message(connection, place, id, "hello");
            one.accept(tenant, vec![event]).await.unwrap();
        }
        let claim = async || {
            let request = ClaimRequest::new(WorkerId::new(), Duration::from_secs(60));
            one.claim(request).await.unwrap().conversation().unwrap()
        };
        let (first, second) = (claim().await, claim().await);
        let loaded = one.load(&first).await.unwrap().unwrap();
        let person = loaded.inbox[0].persons[0];
        let words = |text: &str| {
            let mut record = record(text);
            record.persons.insert(person);
            Append {
                records: vec![record],
                ..Append::default()
            }
        };
        let appended = one.append(&first, 0, words("before")).await.unwrap();
        assert_eq!(appended, AppendOutcome::Appended);
        let consume = Append {
            consume_to: Some(1),
            checkpoint: true,
            records: vec![record("of nobody")],
            ..Append::default()
        };
        one.append(&second, 0, consume).await.unwrap();
        let what = Erase::Person { person };
        let receipt = other.erase(tenant, what, Depth::Logical).await.unwrap();
        assert_eq!(receipt.keys, 1);
        // Its claim was ended because the address is the person's.
        let late = one.append(&second, 1, words("after")).await.unwrap();
        assert_eq!(late, AppendOutcome::Lost);
        let event = RoutedEvent {
            event: message(connection, "C3", "3", "others")
                .event
                .sent_by(Actor::human(IdKind::SlackUser, "U2")),
            connection,
        };
        let accepted = one.accept(tenant, vec![event]).await.unwrap();
        let [Accepted::New { conversation, .. }] = accepted[..] else {
            panic!("{accepted:?}");
        };
        // Conversations whose claims were ended are ready too.
        let mut third = claim().await;
        while third.conversation != conversation {
            third = claim().await;
        }
        let late = one.append(&third, 0, words("after")).await.unwrap();
        assert_eq!(late, AppendOutcome::Forgotten(vec![person]));
        let mut owner = database.connect("postgres").await;
        let keys: i64 =
            sqlx::query_scalar("select count(*) from konstruct.person_keys where person = $1")
                .bind(uuid::Uuid::from_bytes(*person.as_bytes()))
                .fetch_one(&mut owner)
                .await
                .unwrap();
        assert_eq!(keys, 0, "the key is back");
    })
    .await;
}

/// Event ids of this month and the last two stay known, whenever old ones are removed.
#[tokio::test]
async fn old_event_ids_are_removed_by_the_month() {
    Database::with(async |database| {
        let clock = VirtualClock::new(Timestamp::from_secs(1_767_225_600));
        let builder = database.builder().clock(Arc::new(clock.clone()));
        let store = builder.connect().await.unwrap();
        let (tenant, connection) = (TenantId::new(), ConnectionId::new());
        let event = || message(connection, "C1", "1", "hello");
        let accept = async || store.accept(tenant, vec![event()]).await.unwrap()[0];
        let owner = database.url("postgres");
        assert!(matches!(accept().await, Accepted::New { .. }));
        let month = Duration::from_secs(30 * 86_400);
        for _ in 0..3 {
            Postgres::prune_at(&owner, clock.now()).await.unwrap();
            assert_eq!(accept().await, Accepted::Duplicate);
            clock.advance(month);
        }
        Postgres::prune_at(&owner, clock.now()).await.unwrap();
        assert!(matches!(accept().await, Accepted::New { .. }));
    })
    .await;
}
