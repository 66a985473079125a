//! A memory that was there before passages had numbers.

use konstruct_core::{
    Audience, DocumentFormat, KnowledgeStore as _, MemoryStore as _, NewDocument, Recall, Scope,
    TenantId,
};
use konstruct_memory::Postgres;

use crate::{database::Database, memory::Words};

/// The database as the migration before left it.
const BEFORE: &str = "
drop table konstruct.graphs, konstruct.moments;
drop index konstruct.passages_number;
alter table konstruct.passages drop column n;
alter table konstruct.postings drop column n;
alter table konstruct.vectors drop column n;
alter table konstruct.memory_heads drop column numbered;
delete from konstruct.migrations where name >= '0003'";

#[tokio::test]
async fn what_was_there_gets_numbers() {
    Database::with(async |database| {
        let embedder = std::sync::Arc::new(Words);
        let builder = database.builder().embedder(embedder);
        let store = builder.clone().connect().await.unwrap();
        let tenants = [TenantId::new(), TenantId::new()];
        let document = |n: usize| {
            let text =
                format!("## Opening hours\nShop {n} opens at {n}.\n\n## Returns\nWithin {n} days.");
            NewDocument::new(format!("Shop {n}"), DocumentFormat::Markdown, text)
        };
        for tenant in tenants {
            for n in 0..4 {
                store.put_document(tenant, document(n)).await.unwrap();
            }
            store.catch_up(tenant).await.unwrap();
        }
        let ask = async |store: &Postgres, tenant| {
            let question = Recall::new("when does shop 3 open", Audience::Tenant, Scope::ALL);
            store.recall(tenant, question).await.unwrap()
        };
        let before = ask(&store, tenants[0]).await;
        assert!(before.iter().all(|hit| hit.score.is_finite()) && before.len() > 4);
        drop(store);

        let mut owner = database.connect("postgres").await;
        sqlx::raw_sql(BEFORE).execute(&mut owner).await.unwrap();
        Postgres::migrate(&database.url("postgres")).await.unwrap();
        let store = builder.connect().await.unwrap();
        for tenant in tenants {
            let after = ask(&store, tenant).await;
            let texts = |hits: &[konstruct_core::Hit]| {
                hits.iter()
                    .map(|hit| (hit.text.clone(), hit.score))
                    .collect::<Vec<_>>()
            };
            assert_eq!(texts(&after), texts(&before));
            // No number is given twice.
            store.put_document(tenant, document(9)).await.unwrap();
            assert!(!ask(&store, tenant).await.is_empty());
        }
    })
    .await;
}
