//! A store that charges its embeddings to its own ledger.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use konstruct_core::{
    Audience, Directory, DocumentFormat, Embedder, Employee, Error, ErrorKind, MemoryStore as _,
    NanoUsd, NewDocument, Recall, Result, TenantId,
    embed::{EmbedContext, PaidEmbedder},
    limit::Spent,
    memory::{KnowledgeStore as _, Scope},
    money::{Basis, Usage},
    store::{Exported, Store},
    testkit::{ScriptedAnswer, ScriptedDirectory, ScriptedModel},
    tool::Toolbox,
};
use konstruct_memory::Redb;

/// An embedder whose requests cost 7 nano-USD each, however many texts they have.
#[derive(Debug, Default)]
struct Seven(AtomicU32);

#[async_trait]
impl Embedder for Seven {
    fn id(&self) -> &'static str {
        "seven/words"
    }

    fn dim(&self) -> usize {
        2
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let cost = Some(NanoUsd(7));
        let attempt = context.reserve(("seven", "words"), cost).await?;
        self.0.fetch_add(1, Ordering::Relaxed);
        let (usage, basis) = (Usage::default(), Basis::Reported);
        context
            .budget
            .settle(&attempt, Spent { usage, cost, basis });
        Ok(vec![vec![1.0, 0.0]; texts.len()])
    }
}

#[tokio::test]
async fn documents_and_questions_are_paid_for_under_the_cap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k.redb");
    let seven = Arc::new(Seven::default());
    let paid = Arc::new(PaidEmbedder::new(Arc::clone(&seven) as _));
    let store = Redb::builder()
        .embedder(Arc::clone(&paid) as _)
        .open(&path)
        .unwrap();
    let tenant = TenantId::new();
    let dynamic: Arc<dyn Store> = Arc::new(store.clone());
    let scripted = ScriptedDirectory::default();
    let employee = Employee::builder("Ava").monthly_cap(NanoUsd(21));
    let model = Arc::new(ScriptedModel::new(|_| ScriptedAnswer::text("Hi.")));
    scripted.hire(tenant, employee.build().unwrap(), model, Toolbox::default());
    let directory: Arc<dyn Directory> = Arc::new(scripted);
    paid.pay_from(&dynamic, &directory);

    let faq = NewDocument::new("FAQ", DocumentFormat::Text, "We are open from ten to six.");
    store.put_document(tenant, faq).await.unwrap();
    store.catch_up(tenant).await.unwrap();
    let made = || seven.0.load(Ordering::Relaxed);
    assert_eq!(made(), 1);
    let ask = async |text: &str| {
        let query = Recall::new(text, Audience::Tenant, Scope::KNOWLEDGE);
        store.recall(tenant, query).await.unwrap()
    };
    for _ in 0..3 {
        assert_eq!(ask("When are you open?").await.len(), 1);
    }
    assert_eq!(made(), 2, "a recent question is cached");
    ask("Till when?").await;
    assert_eq!(made(), 3);
    // The cap is reached: the search uses only words.
    assert_eq!(ask("open").await.len(), 1);
    assert_eq!(made(), 3);

    let export: Vec<Exported> = dynamic
        .export(tenant)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let rows = export.iter().filter_map(|item| match item {
        Exported::Ledger(row) => Some(row),
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(row.call.starts_with("embed."), "{row:?}");
        assert_eq!((row.cost, row.basis), (Some(NanoUsd(7)), Basis::Reported));
    }

    // The embedder does not keep the store open.
    drop((store, dynamic, directory));
    Redb::open(&path).unwrap();
}

/// An embedder that fails and counts, also with single words.
#[derive(Debug, Default)]
struct Out(AtomicU32);

#[async_trait]
impl Embedder for Out {
    fn id(&self) -> &'static str {
        "out/words"
    }

    fn dim(&self) -> usize {
        2
    }

    async fn embed(&self, _: &EmbedContext, _: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(ErrorKind::Unavailable, "scripted"))
    }

    fn embeds_words(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn without_its_embedder_recall_compares_words() {
    let store = Redb::builder().embedder(Arc::new(Out::default()));
    let store = store.in_memory().unwrap();
    let tenant = TenantId::new();
    let document = NewDocument::new("Hours", DocumentFormat::Text, "We open at nine.");
    store.put_document(tenant, document).await.unwrap();
    let query = Recall::new("When do you open?", Audience::Tenant, Scope::KNOWLEDGE);
    let hits = store.recall(tenant, query).await.unwrap();
    assert_eq!(hits.len(), 1, "{hits:?}");
}

#[tokio::test]
async fn a_call_embeds_its_question_once() {
    let out = Arc::new(Out::default());
    let store = Redb::builder()
        .embedder(Arc::clone(&out) as _)
        .in_memory()
        .unwrap();
    let tenant = TenantId::new();
    for (call, expected) in [("one", 1), ("one", 1), ("two", 2), ("two", 2)] {
        let query =
            Recall::new("open", Audience::Tenant, Scope::ALL).with(|it| it.call = call.into());
        store.recall(tenant, query).await.unwrap();
        assert_eq!(out.0.load(Ordering::Relaxed), expected, "{call}");
    }
}
