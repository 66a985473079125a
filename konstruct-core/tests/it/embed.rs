//! Embeddings that cost money: limited by the cap, and each request has its ledger row.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use konstruct_core::{
    Directory, Embedder, Employee, Error, ErrorKind, NanoUsd, Result, SystemClock, TenantId,
    embed::{EmbedContext, EmbedKind, PaidEmbedder},
    limit::Spent,
    money::{Basis, Usage},
    store::{Exported, Store},
    testkit::{ReferenceStore, ScriptedAnswer, ScriptedDirectory, ScriptedModel},
    tool::Toolbox,
};
use tokio::sync::Semaphore;

/// Makes two requests per call, at no more than 100 nano-USD each, of which 30 are spent.
#[derive(Debug)]
struct CostlyEmbedder {
    requests: AtomicU32,
    gate: Semaphore,
    breaks: bool,
}

#[async_trait]
impl Embedder for CostlyEmbedder {
    fn id(&self) -> &'static str {
        "oracle/words-1"
    }

    fn dim(&self) -> usize {
        1
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        for _ in 0..2 {
            let worst = Some(NanoUsd(100));
            let attempt = context.reserve(("oracle", "words-1"), worst).await?;
            self.requests.fetch_add(1, Ordering::Relaxed);
            let _pass = self.gate.acquire().await;
            if self.breaks {
                return Err(Error::new(ErrorKind::Truncated, "scripted"));
            }
            let usage = Usage {
                input: 3,
                ..Usage::default()
            };
            let (cost, basis) = (Some(NanoUsd(30)), Basis::Reported);
            context
                .budget
                .settle(&attempt, Spent { usage, cost, basis });
        }
        Ok(vec![vec![1.0]; texts.len()])
    }
}

struct Office {
    tenant: TenantId,
    journal: Arc<dyn Store>,
    /// The embedder has only a weak reference to the store.
    _directory: Arc<dyn Directory>,
    dear: Arc<CostlyEmbedder>,
    embedder: Arc<PaidEmbedder>,
}

impl Office {
    fn new(cap: Option<NanoUsd>, (breaks, open): (bool, usize)) -> Self {
        let journal: Arc<dyn Store> = Arc::new(ReferenceStore::new(Arc::new(SystemClock)));
        Self::on(journal, TenantId::new(), cap, (breaks, open))
    }

    fn on(
        journal: Arc<dyn Store>,
        tenant: TenantId,
        cap: Option<NanoUsd>,
        (breaks, open): (bool, usize),
    ) -> Self {
        let directory = ScriptedDirectory::default();
        let mut employee = Employee::builder("Ava");
        if let Some(cap) = cap {
            employee = employee.monthly_cap(cap);
        }
        let model = Arc::new(ScriptedModel::new(|_| ScriptedAnswer::text("Hi.")));
        directory.hire(tenant, employee.build().unwrap(), model, Toolbox::default());
        let directory: Arc<dyn Directory> = Arc::new(directory);
        let dear = Arc::new(CostlyEmbedder {
            requests: AtomicU32::default(),
            gate: Semaphore::new(open),
            breaks,
        });
        let embedder = Arc::new(PaidEmbedder::new(Arc::clone(&dear) as _));
        embedder.pay_from(&journal, &directory);
        Self {
            tenant,
            journal,
            _directory: directory,
            dear,
            embedder,
        }
    }

    /// Starts to embed, and returns once a request waits for its response.
    async fn begin(&self) -> tokio::task::JoinHandle<()> {
        let embedder = Arc::clone(&self.embedder);
        let context = EmbedContext::new(self.tenant, EmbedKind::Document, "embed.1");
        let call = tokio::spawn(async move {
            embedder.embed(&context, &["a", "b"]).await.unwrap();
        });
        while self.dear.requests.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        call
    }

    async fn embed(&self) -> Result<Vec<Vec<f32>>> {
        let context = EmbedContext::new(self.tenant, EmbedKind::Document, "embed.1");
        self.embedder.embed(&context, &["a", "b"]).await
    }

    async fn rows(&self) -> Vec<(String, Option<NanoUsd>, Basis)> {
        let export = self.journal.export(self.tenant).await.unwrap();
        let items: Vec<Exported> = export.try_collect().await.unwrap();
        let rows = items.into_iter().filter_map(|item| match item {
            Exported::Ledger(row) => Some((row.call, row.cost, row.basis)),
            _ => None,
        });
        rows.collect()
    }

    async fn held(&self) -> Vec<NanoUsd> {
        let mut held = Vec::new();
        for call in ["embed.1", "embed.1.a0", "embed.1.a1"] {
            held.extend(self.journal.reserved(self.tenant, call).await.unwrap());
        }
        held
    }
}

fn row(call: &str, cost: u64, basis: Basis) -> (String, Option<NanoUsd>, Basis) {
    (call.to_owned(), Some(NanoUsd(cost)), basis)
}

#[tokio::test]
async fn each_request_is_reserved_and_settled() {
    let office = Office::new(Some(NanoUsd(200)), (false, 1));
    assert_eq!(office.embed().await.unwrap(), [[1.0], [1.0]]);
    let mut paid = vec![
        row("embed.1", 30, Basis::Reported),
        row("embed.1.a1", 30, Basis::Reported),
    ];
    assert_eq!(office.rows().await, paid);
    assert_eq!(office.held().await, []);
    // 60 are spent, and two requests may cost 100 each.
    let error = office.embed().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
    assert_eq!(office.dear.requests.load(Ordering::Relaxed), 3);
    paid.push(row("embed.1", 30, Basis::Reported));
    assert_eq!(office.rows().await, paid);
    assert_eq!(office.held().await, []);
}

#[tokio::test]
async fn a_failed_request_costs_the_worst_case() {
    let office = Office::new(None, (true, 1));
    office.embed().await.unwrap_err();
    assert_eq!(office.rows().await, [row("embed.1", 100, Basis::WorstCase)]);
    assert_eq!(office.held().await, []);
}

#[tokio::test]
async fn a_dropped_call_is_paid_for() {
    let office = Office::new(None, (false, 0));
    office.begin().await.abort();
    office.dear.gate.add_permits(1);
    while office.rows().await.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(office.held().await, []);
}

/// The process ends during a call, and the next process makes the same call again.
#[test]
fn an_interrupted_call_is_settled_before_it_is_repeated() {
    let journal: Arc<dyn Store> = Arc::new(ReferenceStore::new(Arc::new(SystemClock)));
    let tenant = TenantId::new();
    let run = |work: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(work);
    };
    let kept = Arc::clone(&journal);
    run(Box::pin(async move {
        let office = Office::on(kept, tenant, None, (false, 0));
        drop(office.begin().await);
        assert_eq!(office.held().await, [NanoUsd(100)]);
    }));
    run(Box::pin(async move {
        let office = Office::on(journal, tenant, None, (false, 1));
        office.embed().await.unwrap();
        let total: u64 = office
            .rows()
            .await
            .iter()
            .filter_map(|row| row.1)
            .map(|cost| cost.0)
            .sum();
        assert_eq!(total, 100 + 30 + 30);
        assert_eq!(office.held().await, []);
    }));
}

#[tokio::test]
async fn nothing_is_embedded_without_a_payer() {
    let dear = Arc::new(CostlyEmbedder {
        requests: AtomicU32::default(),
        gate: Semaphore::new(1),
        breaks: false,
    });
    let embedder = PaidEmbedder::new(Arc::clone(&dear) as _);
    let context = EmbedContext::new(TenantId::new(), EmbedKind::Query, "embed.1");
    let error = embedder.embed(&context, &["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(dear.requests.load(Ordering::Relaxed), 0);
}
