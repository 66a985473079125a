//! A whole recall on redb: words, meaning, and the rows of what is found.

use std::{sync::Arc, time::Instant};

use konstruct_core::{Audience, DocumentFormat, NewDocument, Recall, Scope, TenantId};
use konstruct_memory::StaticEmbedder;

use crate::{
    Failed,
    dice::Dice,
    store::{Kind, Store},
};

/// How many words the documents' language has, and how many a passage has.
const WORDS: u64 = 20_000;
const PASSAGE: u64 = 60;
/// How many passages one document holds: each is found by itself.
const PASSAGES: usize = 100;
const QUESTIONS: usize = 2000;

/// Measures questions to a tenant of so many passages.
///
/// # Errors
/// Those of the store.
pub async fn row(passages: usize) -> Result<String, Failed> {
    let store = Store::open(Kind::Redb, Some(Arc::new(StaticEmbedder::new()))).await?;
    let tenant = TenantId::new();
    let mut dice = Dice::new(7);
    let begin = Instant::now();
    for (number, from) in (0..passages).step_by(PASSAGES).enumerate() {
        let mut text = String::new();
        for at in from..passages.min(from + PASSAGES) {
            text.push_str(&format!("## {at}\n{}\n\n", words(&mut dice, PASSAGE)));
        }
        let document =
            NewDocument::new(format!("Document {number}"), DocumentFormat::Markdown, text);
        store.memory.put_document(tenant, document).await?;
    }
    store.memory.catch_up(tenant).await?;
    let build = begin.elapsed().as_secs_f64();
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let text = words(&mut dice, 8);
        let query = Recall::new(text, Audience::Tenant, Scope::KNOWLEDGE);
        let begin = Instant::now();
        let hits = store.memory.recall(tenant, query).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        if hits.is_empty() {
            return Err("a recall found nothing".into());
        }
    }
    let progress = store.memory.progress(tenant).await?;
    store.close().await?;
    // The first questions fill the cache.
    let mut times = times.split_off(QUESTIONS / 10);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(format!(
        "recall store=redb passages={} embedded={} build_s={build:.1} p50_ms={:.3} p99_ms={:.3} max_ms={:.3}",
        progress.passages,
        progress.embedded,
        at(0.5),
        at(0.99),
        at(1.0),
    ))
}

/// Words of which some are frequent and most are rare, as in a language. They are made of syllables, so that the embedder knows parts
/// of them.
fn words(dice: &mut Dice, count: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "con", "de", "fer", "gi", "hol", "in", "ka", "lo", "mer", "no", "par", "re", "sta",
        "ter", "un",
    ];
    let word = |dice: &mut Dice| {
        // About as Zipf says: the logarithm of the rank is even.
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
