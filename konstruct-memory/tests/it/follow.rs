//! The index follows in the background, whatever the embedder does.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use konstruct_core::{
    ConnectionId, DocumentFormat, Embedder, Error, ErrorKind, MemoryStore as _, NewDocument,
    Result, TenantId,
    embed::EmbedContext,
    id::WorkerId,
    memory::{IndexProgress, KnowledgeStore as _},
    store::{Append, ClaimRequest, Mailbox as _},
};
use konstruct_memory::Redb;
use tokio::sync::Semaphore;

use crate::{common::message, seal::sent};

/// An embedder that fails for some tenants, hangs for others, or waits, and records the tenants of its calls.
#[derive(Debug, Default)]
struct Picky {
    fails: Mutex<Vec<TenantId>>,
    hangs: Mutex<Vec<TenantId>>,
    asked: Mutex<Vec<TenantId>>,
    /// If set, every call waits for a permit.
    gate: Option<Semaphore>,
}

impl Picky {
    fn asked(&self) -> Vec<TenantId> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Embedder for Picky {
    fn id(&self) -> &'static str {
        "picky/words"
    }

    fn dim(&self) -> usize {
        2
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        self.asked.lock().unwrap().push(context.tenant);
        if let Some(gate) = &self.gate {
            let _permit = gate.acquire().await.unwrap();
        }
        if self.fails.lock().unwrap().contains(&context.tenant) {
            return Err(Error::new(ErrorKind::QuotaExhausted, "scripted"));
        }
        if self.hangs.lock().unwrap().contains(&context.tenant) {
            std::future::pending::<()>().await;
        }
        Ok(vec![vec![1.0, 0.0]; texts.len()])
    }
}

/// Adds a document and a message of a tenant.
async fn fill(store: &Redb, tenant: TenantId) {
    let faq = NewDocument::new("FAQ", DocumentFormat::Text, "We are open from ten to six.");
    store.put_document(tenant, faq).await.unwrap();
    let event = message(ConnectionId::new(), "C1", "1", "U1");
    store.accept(tenant, vec![event]).await.unwrap();
    let request = ClaimRequest::new(WorkerId::new(), Duration::from_secs(60));
    let claim = store.claim(request).await.unwrap().conversation().unwrap();
    let append = Append {
        records: vec![sent(&[], "hello")],
        ..Append::default()
    };
    store.append(&claim, 0, append).await.unwrap();
}

async fn until(store: &Redb, tenant: TenantId, so: impl Fn(IndexProgress) -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..2_000 {
        ticks.tick().await;
        if so(store.progress(tenant).await.unwrap()) {
            return;
        }
    }
    panic!("{:?}", store.progress(tenant).await.unwrap());
}

#[tokio::test]
async fn a_tenant_with_a_failing_embedder_delays_nobody() {
    let picky = Arc::new(Picky::default());
    let store = Redb::builder()
        .embedder(Arc::clone(&picky) as _)
        .in_memory()
        .unwrap();
    let tenants: Vec<TenantId> = (0..8).map(|_| TenantId::new()).collect();
    let (poor, well) = tenants.split_at(4);
    picky.fails.lock().unwrap().extend(poor);
    for tenant in &tenants {
        fill(&store, *tenant).await;
    }
    for tenant in well {
        until(&store, *tenant, |progress| progress.is_complete()).await;
    }
    for tenant in poor {
        until(&store, *tenant, |it| {
            it.indexed == it.records && it.embedded == 0
        })
        .await;
    }
    // They are retried automatically.
    picky.fails.lock().unwrap().clear();
    for tenant in poor {
        until(&store, *tenant, |progress| progress.is_complete()).await;
    }
}

#[tokio::test]
async fn indexing_does_not_wait_for_a_hanging_embedder() {
    let picky = Arc::new(Picky::default());
    let store = Redb::builder()
        .embedder(Arc::clone(&picky) as _)
        .in_memory()
        .unwrap();
    let (first, second) = (TenantId::new(), TenantId::new());
    picky.hangs.lock().unwrap().push(first);
    for tenant in [first, second] {
        fill(&store, tenant).await;
        until(&store, tenant, |it| {
            it.records > 0 && it.indexed == it.records
        })
        .await;
    }
    // Closing the store does not wait for it either.
    drop(store);
}

#[tokio::test]
async fn tenants_with_a_hanging_embedder_delay_nobody() {
    let picky = Arc::new(Picky::default());
    let builder = Redb::builder().embedder(Arc::clone(&picky) as _);
    let store = builder.in_memory().unwrap();
    let tenants: Vec<TenantId> = (0..8).map(|_| TenantId::new()).collect();
    // The tenants that hang have their turn first.
    let (hanging, well) = tenants.split_at(3);
    picky.hangs.lock().unwrap().extend(hanging);
    for tenant in &tenants {
        fill(&store, *tenant).await;
    }
    for tenant in well {
        until(&store, *tenant, |progress| progress.is_complete()).await;
    }
    let asked = picky.asked();
    for tenant in hanging {
        let asked = asked.iter().filter(|asked| *asked == tenant).count();
        assert_eq!(asked, 1, "one turn of a tenant at a time");
    }
    // Closing the store ends every lane.
    drop(store);
}

#[tokio::test]
async fn a_big_backlog_is_embedded_in_turns_with_others() {
    let picky = Arc::new(Picky {
        gate: Some(Semaphore::new(0)),
        ..Picky::default()
    });
    let builder = Redb::builder().embedder(Arc::clone(&picky) as _);
    let store = builder.lanes(NonZeroUsize::MIN).in_memory().unwrap();
    let [first, big, small, last] = [1, 2, 3, 4].map(|n| TenantId::from_bytes([n; 16]));
    // Occupies the only lane until the gate opens.
    let faq = NewDocument::new("FAQ", DocumentFormat::Text, "We are open from ten to six.");
    store.put_document(first, faq).await.unwrap();
    for n in 0..150 {
        let (title, text) = (format!("Bike {n}"), format!("It costs {n} euros."));
        let document = NewDocument::new(title, DocumentFormat::Text, text);
        store.put_document(big, document).await.unwrap();
    }
    fill(&store, small).await;
    // Tenants are indexed in turn: when the last one is indexed, the others are queued for embedding.
    fill(&store, last).await;
    until(&store, last, |it| {
        it.records > 0 && it.indexed == it.records
    })
    .await;
    if let Some(gate) = &picky.gate {
        gate.add_permits(1);
    }
    for tenant in [big, small, last] {
        until(&store, tenant, |progress| progress.is_complete()).await;
    }
    let asked = picky.asked();
    assert_eq!(asked[..3], [first, big, small], "one after the other");
}

/// An embedder that writes to the tenant's memory during a call, and counts the embedded texts.
#[derive(Debug, Default)]
struct Busy {
    store: std::sync::OnceLock<Redb>,
    texts: Mutex<Vec<String>>,
}

#[async_trait]
impl Embedder for Busy {
    fn id(&self) -> &'static str {
        "busy/words"
    }

    fn dim(&self) -> usize {
        2
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let number = {
            let mut all = self.texts.lock().unwrap();
            all.extend(texts.iter().map(|text| (*text).to_owned()));
            all.len()
        };
        if number < 4 {
            let text = format!("Meanwhile {number}.");
            let more = NewDocument::new(text.clone(), DocumentFormat::Text, text);
            let store = self.store.get().unwrap();
            store.put_document(context.tenant, more).await.unwrap();
        }
        Ok(vec![vec![1.0, 0.0]; texts.len()])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_reused_after_a_conflict() {
    let busy = Arc::new(Busy::default());
    let builder = Redb::builder().embedder(Arc::clone(&busy) as _);
    let store = builder.in_memory().unwrap();
    busy.store.set(store.clone()).unwrap();
    let tenant = TenantId::new();
    let faq = NewDocument::new("FAQ", DocumentFormat::Text, "We are open from ten to six.");
    store.put_document(tenant, faq).await.unwrap();
    until(&store, tenant, |it| it.passages == 4 && it.is_complete()).await;
    let mut texts = busy.texts.lock().unwrap().clone();
    texts.sort();
    let asked = texts.len();
    texts.dedup();
    assert_eq!((asked, texts.len()), (4, 4), "{texts:?}");
}
