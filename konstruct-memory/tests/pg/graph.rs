//! Approximate indexes of large spaces: their results and their lifecycle.

use std::sync::Arc;

use konstruct_core::{
    Audience, Depth, DocumentFormat, Erase, ErrorKind, Hit, MemoryStore as _, NewDocument, Recall,
    TenantId, Timestamp,
    memory::{KnowledgeStore as _, Scope},
    store::Archive as _,
};
use konstruct_memory::{Postgres, isolation::audit};
use sqlx::PgConnection;

use crate::{
    database::{Database, others_closed},
    memory::{Dice, Words},
};

/// The number of passages of the large tenant.
const PASSAGES: u64 = 1_600;

async fn store(database: &Database) -> Postgres {
    let builder = database.builder().embedder(Arc::new(Words));
    builder.connect().await.unwrap()
}

async fn write(store: &Postgres, tenant: TenantId, passages: u64) {
    let mut dice = Dice::new(11);
    for document in 0..passages / 100 {
        let sections = (0..100).map(|at| format!("## {at}\n{}.\n\n", dice.words(24)));
        let text: String = sections.collect();
        let title = format!("document {document}");
        let document = NewDocument::new(title, DocumentFormat::Markdown, text);
        store.put_document(tenant, document).await.unwrap();
    }
    store.catch_up(tenant).await.unwrap();
}

async fn ask(store: &Postgres, tenant: TenantId, question: &str) -> Vec<Hit> {
    let query = Recall::new(question, Audience::Tenant, Scope::KNOWLEDGE)
        .with_limit(10)
        .with(|it| it.explain = true);
    store.recall(tenant, query).await.unwrap()
}

/// Returns the number of graph scans by closed connections.
async fn scans(owner: &mut PgConnection) -> i64 {
    others_closed(owner).await;
    sqlx::query_scalar(
        "select coalesce(sum(idx_scan), 0)::bigint from pg_stat_user_indexes where indexrelname like 'graph\\_%'",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_graph_finds_the_same_hits() {
    Database::with(async |database| {
        let (url, mut owner) = (database.url("postgres"), database.connect("postgres").await);
        let (large, small) = (TenantId::new(), TenantId::new());
        let writer = store(database).await;
        write(&writer, large, PASSAGES).await;
        write(&writer, small, 100).await;
        let mut dice = Dice::new(5);
        let questions: Vec<String> = (0..40).map(|_| dice.words(6)).collect();
        let mut before = Vec::new();
        for question in &questions {
            before.push(ask(&writer, large, question).await);
        }
        drop(writer);

        let made = Postgres::index_vectors(&url, PASSAGES).await.unwrap();
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!((made[0].tenant, made[0].vectors), (large, PASSAGES));
        assert!(made[0].used && made[0].recall >= 1.0, "{made:?}");
        assert_eq!(audit(&database.url("postgres")).await.unwrap(), [""; 0]);

        let scans_before = scans(&mut owner).await;
        let reader = store(database).await;
        for (question, before) in questions.iter().zip(&before) {
            let after = ask(&reader, large, question).await;
            assert_eq!((before.len(), after.len()), (10, 10), "{question}");
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before.source, after.source, "{question}");
                assert!(
                    (before.score - after.score).abs() < 1e-3,
                    "{} {}",
                    before.score,
                    after.score
                );
            }
        }
        assert_eq!(ask(&reader, small, &questions[0]).await.len(), 10);
        // A question about a time scans all vectors, and finds as much.
        let all = Timestamp::from_secs(0)..Timestamp::from_secs(4_000_000_000);
        let timed =
            Recall::new(&questions[0], Audience::Tenant, Scope::ALL).with(|it| it.when = Some(all));
        assert!(!reader.recall(large, timed).await.unwrap().is_empty());
        drop(reader);
        assert_eq!(scans(&mut owner).await - scans_before, 40);
    })
    .await;
}

async fn graphs(owner: &mut PgConnection) -> (Vec<String>, i64) {
    let names = sqlx::query_scalar(
        "select indexname::text from pg_indexes where indexname like 'graph\\_%' order by 1",
    );
    let names = names.fetch_all(&mut *owner).await.unwrap();
    let rows =
        "select (select count(*) from konstruct.graphs) + (select count(*) from konstruct.moments)";
    (
        names,
        sqlx::query_scalar(rows).fetch_one(owner).await.unwrap(),
    )
}

#[tokio::test]
async fn graphs_are_recreated_and_dropped() {
    Database::with(async |database| {
        let (url, mut owner) = (database.url("postgres"), database.connect("postgres").await);
        let (ann, bob) = (TenantId::new(), TenantId::new());
        let store = store(database).await;
        for tenant in [ann, bob] {
            write(&store, tenant, 300).await;
        }
        assert_eq!(Postgres::index_vectors(&url, 200).await.unwrap().len(), 2);
        let (both, rows) = graphs(&mut owner).await;
        // For each graph, one row of its own and 33 of moments.
        assert_eq!((both.len(), rows), (2, 68));

        // An incomplete graph is created again.
        sqlx::query("update pg_index set indisvalid = false where indexrelid = $1::text::regclass")
            .bind(format!("konstruct.{}", both[0]))
            .execute(&mut owner)
            .await
            .unwrap();
        assert_eq!(Postgres::index_vectors(&url, 200).await.unwrap().len(), 2);
        let whole: bool = sqlx::query_scalar("select bool_and(indisvalid) from pg_index")
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert!(whole);
        assert_eq!(graphs(&mut owner).await, (both, 68));

        // Erased spaces have no graph after the next run.
        let erased = store.erase(ann, Erase::Tenant, Depth::Logical).await;
        erased.unwrap();
        assert_eq!(graphs(&mut owner).await.1, 34);
        let left = Postgres::index_vectors(&url, 200).await.unwrap();
        assert_eq!(left.iter().map(|one| one.tenant).collect::<Vec<_>>(), [bob]);
        assert_eq!(graphs(&mut owner).await.0.len(), 1);

        // Spaces that are no longer large enough have none either.
        assert_eq!(Postgres::index_vectors(&url, 301).await.unwrap(), []);
        assert_eq!(graphs(&mut owner).await, (Vec::new(), 0));
    })
    .await;
}

#[tokio::test]
async fn a_role_that_cannot_see_vectors_is_refused() {
    Database::with(async |database| {
        let refused = Postgres::index_vectors(&database.url("konstruct_app"), 1).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Forbidden);
    })
    .await;
}
