//! The hosted store as a memory.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use konstruct_core::{
    Audience, DocumentFormat, Embedder, Hit, MemoryStore, NewDocument, Recall, Result, TenantId,
    Timestamp,
    embed::EmbedContext,
    memory::{KnowledgeStore as _, Scope},
    testkit::{MemorySubject, VirtualClock, memories_agree, memory_suite},
};
use konstruct_memory::Oracle;

use crate::database::Database;

#[tokio::test]
async fn postgres_is_a_memory() {
    Database::with(async |database| memory_suite(async || database.fresh_memory().await).await)
        .await;
}

/// Ten random histories of five hundred operations.
async fn agree(seeds: std::ops::Range<u64>) {
    Database::with(async |database| {
        for seed in seeds.clone() {
            let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
            let oracle = Oracle::new(Arc::new(clock.clone()), None).unwrap();
            let reference = MemorySubject {
                store: Arc::new(oracle.clone()),
                memory: Arc::new(oracle),
                clock,
            };
            memories_agree(&database.fresh_memory().await, &reference, seed, 500).await;
        }
    })
    .await;
}

#[tokio::test]
async fn postgres_agrees_with_the_reference() {
    agree(0..5).await;
}

#[tokio::test]
async fn postgres_agrees_with_the_reference_again() {
    agree(5..10).await;
}

/// A pseudo-random generator with the same numbers in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    pub(crate) fn words(&mut self, many: usize) -> String {
        // A few words are common, and most are rare.
        let word = |dice: &mut Self| {
            let of = [3, 12, 60][dice.roll(3)];
            format!(
                "zab{}",
                ["a", "e", "i", "o", "u"]
                    .map(|vowel| format!("{vowel}{}", dice.roll(of) / 5))
                    .join("")
            )
        };
        (0..many).map(|_| word(self)).collect::<Vec<_>>().join(" ")
    }
}

/// An embedder with few dimensions: each word has another direction.
#[derive(Debug)]
pub(crate) struct Words;

#[async_trait]
impl Embedder for Words {
    fn id(&self) -> &'static str {
        "words"
    }

    fn dim(&self) -> usize {
        32
    }

    async fn embed(&self, _: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(texts
            .iter()
            .map(|text| {
                let mut vector = vec![0.25; 32];
                for word in text.split_whitespace() {
                    let seed = word
                        .bytes()
                        .fold(5, |seed: u64, byte| seed * 31 % 65_521 + u64::from(byte));
                    let mut dice = Dice(seed);
                    for at in &mut vector {
                        *at += if dice.roll(2) == 0 { 1.0 } else { -1.0 };
                    }
                }
                vector
            })
            .collect())
    }
}

/// Returns the hits by name and text, with their scores.
fn found(hits: &[Hit]) -> BTreeMap<(String, String), f32> {
    let of = |hit: &Hit| ((hit.name.clone(), hit.text.clone()), hit.score);
    hits.iter().map(of).collect()
}

async fn ask(memory: &dyn MemoryStore, tenant: TenantId, question: &str, limit: usize) -> Vec<Hit> {
    let query = Recall::new(question, Audience::Tenant, Scope::ALL)
        .with_limit(limit)
        .with(|it| it.explain = true);
    memory.recall(tenant, query).await.unwrap()
}

/// Compares two stores, ignoring differences among hits with almost equal scores.
fn compare(question: &str, ours: &[Hit], theirs: &[Hit], what: impl Debug) {
    assert_eq!(
        ours.len(),
        theirs.len(),
        "{what:?}: how many `{question}` finds"
    );
    let (ours, theirs) = (found(ours), found(theirs));
    let least = theirs.values().copied().fold(f32::INFINITY, f32::min);
    for (place, score) in &theirs {
        match ours.get(place) {
            Some(own) => assert!(
                (own - score).abs() < 5e-3,
                "{what:?}: `{question}` gives {place:?} {own}, not {score}"
            ),
            None => assert!(
                score - least < 5e-3,
                "{what:?}: `{question}` does not find {place:?}: {score}"
            ),
        }
    }
}

#[tokio::test]
async fn postgres_finds_what_the_reference_finds() {
    Database::with(async |database| {
        let clock = Arc::new(VirtualClock::default());
        for embedder in [None, Some(Arc::new(Words) as Arc<dyn Embedder>)] {
            let reference = Oracle::new(clock.clone(), embedder.clone()).unwrap();
            let mut builder = database.builder().clock(clock.clone());
            if let Some(embedder) = &embedder {
                builder = builder.embedder(Arc::clone(embedder));
            }
            let store = builder.connect().await.unwrap();
            let (tenant, mut dice) = (TenantId::new(), Dice(7));
            for n in 0..60 {
                let mut text = String::new();
                for _ in 0..=dice.roll(4) {
                    let (heading, body) = (dice.roll(4), dice.roll(90));
                    text.push_str(&format!(
                        "## {}\n{}.\n\n",
                        dice.words(heading + 1),
                        dice.words(body + 3)
                    ));
                }
                let title = format!("document {n} {}", dice.words(1));
                let document = NewDocument::new(title, DocumentFormat::Markdown, text);
                reference
                    .put_document(tenant, document.clone())
                    .await
                    .unwrap();
                store.put_document(tenant, document).await.unwrap();
            }
            for memory in [&reference as &dyn MemoryStore, &store] {
                memory.catch_up(tenant).await.unwrap();
            }
            let mut hits = 0;
            for _ in 0..120 {
                let (words, limit) = (dice.roll(24), dice.roll(12));
                let (question, limit) = (dice.words(words + 1), limit + 1);
                let ours = ask(&store, tenant, &question, limit).await;
                let theirs = ask(&reference, tenant, &question, limit).await;
                hits += ours.len();
                compare(&question, &ours, &theirs, &embedder);
            }
            assert!(hits > 400, "only {hits} hits");
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_embedder_embeds_existing_texts() {
    Database::with(async |database| {
        let tenants = [TenantId::new(), TenantId::new()];
        let store = database.builder().connect().await.unwrap();
        for tenant in tenants {
            let document =
                NewDocument::new("FAQ", DocumentFormat::Text, "We are open from ten to six.");
            store.put_document(tenant, document).await.unwrap();
            store.catch_up(tenant).await.unwrap();
        }
        drop(store);
        let builder = database.builder().embedder(Arc::new(Words));
        let store = builder.connect().await.unwrap();
        for tenant in tenants {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
            let mut progress = store.progress(tenant).await.unwrap();
            for _ in 0..1_500 {
                if progress.is_complete() {
                    break;
                }
                ticks.tick().await;
                progress = store.progress(tenant).await.unwrap();
            }
            assert_eq!((progress.passages, progress.embedded), (1, 1));
        }
    })
    .await;
}
