//! A whole recall on redb: words, meaning, and reading the hits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use konstruct_core::{
    Audience, DocumentFormat, MemoryStore, NewDocument, Recall, TenantId, memory::Scope,
};
use konstruct_memory::StaticEmbedder;

use crate::{
    Failed,
    dice::Dice,
    recall::{Chat, Speaker, Turn, feed},
    store::{Kind, Store},
};

/// The number of words of the documents' language, and of a passage.
const WORDS: u64 = 20_000;
const PASSAGE: u64 = 60;
/// The number of passages of a document, each of which is found by itself.
pub const PASSAGES: usize = 100;
const QUESTIONS: usize = 2000;

/// The writer's pause between two documents.
const PAUSE: Duration = Duration::from_millis(10);

/// Measures questions to a tenant with this many passages: of documents, of documents during writes, and of messages.
///
/// # Errors
/// Errors of the store.
pub async fn rows(passages: usize) -> Result<Vec<String>, Failed> {
    let mut dice = Dice::new(7);
    let store = Store::open(Kind::Redb, Some(Arc::new(StaticEmbedder::new()))).await?;
    let tenant = TenantId::new();
    let begin = Instant::now();
    for (number, from) in (0..passages).step_by(PASSAGES).enumerate() {
        let many = PASSAGES.min(passages - from);
        let document = document(&mut dice, number, many);
        store.memory.put_document(tenant, document).await?;
    }
    store.memory.catch_up(tenant).await?;
    let built = begin.elapsed().as_secs_f64();
    let scope = (Audience::Tenant, Scope::KNOWLEDGE);
    let times = ask(&*store.memory, tenant, scope.clone(), &mut dice).await?;
    let mut rows = vec![row(&store, tenant, ("documents", built), &times).await?];

    let stop = Arc::new(AtomicBool::new(false));
    let (memory, stopped) = (Arc::clone(&store.memory), Arc::clone(&stop));
    let writing = tokio::spawn(async move {
        let mut dice = Dice::new(8);
        // New versions of one document, so that the searched passages stay the same.
        while !stopped.load(Ordering::Relaxed) {
            let document = document(&mut dice, usize::MAX, 1);
            memory.put_document(tenant, document).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok::<_, konstruct_core::Error>(())
    });
    let times = ask(&*store.memory, tenant, scope, &mut dice).await;
    stop.store(true, Ordering::Relaxed);
    writing.await??;
    rows.push(row(&store, tenant, ("documents_beside_writes", built), &times?).await?);
    store.close().await?;

    let store = Store::open(Kind::Redb, Some(Arc::new(StaticEmbedder::new()))).await?;
    let begin = Instant::now();
    let turns = (0..passages).map(|at| Turn {
        speaker: match at % 2 {
            0 => Speaker::Person("Kim".into()),
            _ => Speaker::Employee,
        },
        text: words(&mut dice, PASSAGE),
        session: at / PASSAGES,
    });
    let chat = Chat {
        turns: turns.collect(),
        questions: Vec::new(),
    };
    let fed = feed(&*store.turn_store, &chat).await?;
    store.memory.catch_up(fed.tenant).await?;
    let built = begin.elapsed().as_secs_f64();
    let audience = Audience::Conversation {
        channel: fed.channel.clone(),
        conversation: fed.conversation,
    };
    let scope = (audience, Scope::HISTORY);
    let times = ask(&*store.memory, fed.tenant, scope, &mut dice).await?;
    rows.push(row(&store, fed.tenant, ("messages", built), &times).await?);
    store.close().await?;
    Ok(rows)
}

/// Creates a document with this many passages.
pub fn document(dice: &mut Dice, number: usize, passages: usize) -> NewDocument {
    let mut text = String::new();
    for at in 0..passages {
        text.push_str(&format!("## {at}\n{}\n\n", words(dice, PASSAGE)));
    }
    NewDocument::new(format!("Document {number}"), DocumentFormat::Markdown, text)
}

/// Asks the questions. Returns the sorted latencies in milliseconds.
async fn ask(
    memory: &dyn MemoryStore,
    tenant: TenantId,
    (audience, scope): (Audience, Scope),
    dice: &mut Dice,
) -> Result<Vec<f64>, Failed> {
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let query = Recall::new(words(dice, 8), audience.clone(), scope);
        let begin = Instant::now();
        let hits = memory.recall(tenant, query).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        if hits.is_empty() {
            return Err("a recall found nothing".into());
        }
    }
    // The first questions fill the cache.
    let mut times = times.split_off(QUESTIONS / 10);
    times.sort_by(f64::total_cmp);
    Ok(times)
}

async fn row(
    store: &Store,
    tenant: TenantId,
    (of, built): (&str, f64),
    times: &[f64],
) -> Result<String, Failed> {
    let progress = store.memory.progress(tenant).await?;
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(format!(
        "recall store=redb passages={} embedded={} of={of} build_s={built:.1} p50_ms={:.3} p99_ms={:.3} max_ms={:.3}",
        progress.passages,
        progress.embedded,
        at(0.5),
        at(0.99),
        at(1.0),
    ))
}

/// Generates words with a natural frequency: a few are common, most are rare. They consist of syllables, so that the embedder
/// knows parts of them.
pub fn words(dice: &mut Dice, count: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "con", "de", "fer", "gi", "hol", "in", "ka", "lo", "mer", "no", "par", "re", "sta",
        "ter", "un",
    ];
    let word = |dice: &mut Dice| {
        // Approximately Zipf's law: the logarithm of the rank is uniform.
        let rank =
            ((WORDS as f64).ln() * (dice.below(1 << 20) as f64 / f64::from(1 << 20))).exp() as u64;
        let (mut rest, mut word) = (rank + 16, String::new());
        while rest > 0 {
            word.push_str(SYLLABLES[(rest % 16) as usize]);
            rest /= 16;
        }
        word
    };
    (0..count).map(|_| word(dice)).collect::<Vec<_>>().join(" ")
}
