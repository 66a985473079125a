//! What is left of what was erased, in the database's own files.

use std::time::Duration;

use konstruct_core::{
    ConnectionId, Depth, Erase, ErrorKind, Remnant, TenantId, Until, WorkerId,
    turn::{Accepted, Append, Journal as _},
};
use konstruct_memory::Postgres;
use sqlx::PgConnection;

use crate::{
    database::Database,
    event::{message, record},
};

/// Whether bytes stand in the file of the log's table.
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
async fn rewritten_files_hold_nothing_of_what_was_erased() {
    Database::with(async |database| {
        let store = database.builder().connect().await.unwrap();
        let tenant = TenantId::new();
        let event = message(ConnectionId::new(), "C1", "1", "hello");
        let accepted = store.accept(tenant, vec![event]).await.unwrap();
        let [Accepted::New { conversation, .. }] = accepted[..] else {
            panic!("{accepted:?}");
        };
        let lease = Duration::from_secs(60);
        let claim = store.claim(WorkerId::new(), lease).await.unwrap().unwrap();
        let append = Append {
            records: vec![record("the words")],
            ..Append::default()
        };
        store.append(&claim, 0, append).await.unwrap();
        let event = message(ConnectionId::new(), "C2", "2", "hello");
        store.accept(tenant, vec![event]).await.unwrap();
        let other = store.claim(WorkerId::new(), lease).await.unwrap().unwrap();
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
        // What a transaction under way could still see stays until the next time: the store follows its feed beside this.
        let mut tries = 0;
        while in_file(&mut owner, &sealed).await {
            assert!(tries < 100, "it remains after the rewriting");
            Postgres::rewrite(&database.url("postgres")).await.unwrap();
            tries += 1;
        }
        let kept = store.read(tenant, other.conversation, 0..9).await.unwrap();
        assert_eq!(kept[0].record, Some(record("other words")));
    })
    .await;
}

/// Every table is rewritten: one that a migration adds must be named.
#[tokio::test]
async fn no_table_is_left_out() {
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
