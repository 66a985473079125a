//! Measures the latency of recalls on PostgreSQL, and the recall of approximate indexes.
//!
//! Every question is asked before the vectors of the tenant are indexed, and again after.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{sync::Arc, time::Instant};

use clap::Parser;
use konstruct_benches::{
    Failed,
    dice::Dice,
    search::recall::{PASSAGES, document, words},
    store::{Kind, Store},
};
use konstruct_core::{
    Audience, MemoryStore, Recall, TenantId,
    memory::{Scope, Source},
};
use konstruct_memory::StaticEmbedder;

/// Measures the latency of recalls on PostgreSQL.
#[derive(Parser)]
struct Arguments {
    /// Numbers of passages of the tenant, measured one after another.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000, 100_000])]
    sizes: Vec<usize>,
    /// Number of questions.
    #[arg(long, default_value_t = 500)]
    questions: usize,
    /// Number of words of a question.
    #[arg(long, default_value_t = 8)]
    words: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    for size in &arguments.sizes {
        measure(*size, &arguments).await?;
    }
    Ok(())
}

async fn measure(passages: usize, arguments: &Arguments) -> Result<(), Failed> {
    let mut dice = Dice::new(7);
    let store = Store::open(Kind::Postgres, Some(Arc::new(StaticEmbedder::new()))).await?;
    let tenant = TenantId::new();
    let begin = Instant::now();
    for (number, from) in (0..passages).step_by(PASSAGES).enumerate() {
        let many = PASSAGES.min(passages - from);
        let document = document(&mut dice, number, many);
        store.memory.put_document(tenant, document).await?;
    }
    store.memory.catch_up(tenant).await?;
    let built = begin.elapsed().as_secs_f64();
    let database = store.database().ok_or("no database")?;
    database.rewrite().await?;
    let questions: Vec<String> = (0..arguments.questions)
        .map(|_| words(&mut dice, arguments.words))
        .collect();
    let exact = ask(&*store.memory, tenant, &questions).await?;
    println!(
        "passages={passages} by=scan build_s={built:.1} {}",
        exact.row(&exact)
    );
    let begin = Instant::now();
    let indexes = database.index_vectors(1).await?;
    let indexed = begin.elapsed().as_secs_f64();
    let near = ask(&*store.memory, tenant, &questions).await?;
    println!(
        "passages={passages} by=index indexes={} used={} index_s={indexed:.1} {}",
        indexes.len(),
        indexes.iter().filter(|index| index.used).count(),
        near.row(&exact)
    );
    store.close().await
}

/// The results, and the sorted latencies in milliseconds.
struct Asked {
    found: Vec<Vec<Source>>,
    times: Vec<f64>,
}

impl Asked {
    fn row(&self, exact: &Self) -> String {
        let pairs = self.found.iter().zip(&exact.found);
        let hits: usize = pairs
            .map(|(own, exact)| exact.iter().filter(|one| own.contains(one)).count())
            .sum();
        let wanted: usize = exact.found.iter().map(Vec::len).sum();
        let short = self.found.iter().filter(|found| found.len() < 10).count();
        let at = |share: f64| self.times[((self.times.len() - 1) as f64 * share) as usize];
        format!(
            "recall@10={:.4} short={short} p50_ms={:.2} p99_ms={:.2} max_ms={:.2}",
            hits as f64 / wanted.max(1) as f64,
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }
}

async fn ask(
    memory: &dyn MemoryStore,
    tenant: TenantId,
    questions: &[String],
) -> Result<Asked, Failed> {
    let (mut found, mut times) = (Vec::new(), Vec::new());
    // The first questions open connections and plan statements.
    for (at, question) in questions.iter().take(20).chain(questions).enumerate() {
        let query = Recall::new(question, Audience::Tenant, Scope::KNOWLEDGE).with_limit(10);
        let begin = Instant::now();
        let hits = memory.recall(tenant, query).await?;
        if at >= 20.min(questions.len()) {
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            found.push(hits.iter().map(|hit| hit.source).collect());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(Asked { found, times })
}
