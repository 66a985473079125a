//! The built-in embedder: a table with a vector for each token of a vocabulary.

mod table;
mod token;

use std::sync::LazyLock;

use async_trait::async_trait;
use konstruct_core::{Embedder, Result, embed::EmbedContext, memory::Language};

use self::table::Table;

static BYTES: &[u8] = include_bytes!("../../data/static-minilm-256.bin");
static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(BYTES));

/// The most tokens of a text that are read. A passage has far fewer.
const TOKENS: usize = 4096;

/// Embeds English texts without a network and without a neural network.
///
/// The vector of a text is the mean of its tokens' vectors, normalised to length 1. It is zero if no token is known. The table
/// was distilled from all-MiniLM-L6-v2: `data/NOTICE.md` describes how, and the licence.
///
/// ```
/// use konstruct_memory::StaticEmbedder;
///
/// let embed = |text| StaticEmbedder::new().embed_one(text);
/// let (a, b) = (embed("fix my bike"), embed("bicycle repair"));
/// let cosine: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
/// assert!(cosine > 0.3);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StaticEmbedder;

impl StaticEmbedder {
    /// Creates an embedder. The table is compiled in, and parsed at the first use.
    pub fn new() -> Self {
        Self
    }

    /// Embeds one text.
    pub fn embed_one(self, text: &str) -> Vec<f32> {
        let table = &*TABLE;
        let mut sum = vec![0.0; table.dim()];
        token::tokens(text, |word, first| table.find(word, first))
            .take(TOKENS)
            .for_each(|token| table.add(token, &mut sum));
        let length = sum.iter().map(|at| at * at).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|at| *at /= length);
        }
        sum
    }
}

#[async_trait]
impl Embedder for StaticEmbedder {
    fn id(&self) -> &str {
        "static-minilm-256@1"
    }

    fn dim(&self) -> usize {
        TABLE.dim()
    }

    fn supports(&self, language: Language) -> bool {
        language == Language::English
    }

    async fn embed(&self, _: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| self.embed_one(text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use konstruct_core::{TenantId, embed::EmbedKind};
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        let embed = |text| StaticEmbedder::new().embed_one(text);
        embed(a).iter().zip(embed(b)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn the_table_matches_the_id() {
        // Stores keep vectors by this id, so another table needs another version in the id.
        let sum = hex::encode(Sha256::digest(BYTES));
        assert_eq!(
            sum,
            "d8b679ded4a26779bc899687e525ba02a526e520297f892131f5f3f6e5b77309"
        );
        assert!(BYTES.len() < 8_000_000);
        assert_eq!(StaticEmbedder::new().dim(), 256);
    }

    #[test]
    fn texts_with_the_same_meaning_are_nearer() {
        for (question, near, far) in [
            ("refund my order", "money back", "opening hours"),
            (
                "reschedule my appointment",
                "change the date",
                "lactose free",
            ),
            ("voucher", "discount code", "wheelchair access"),
            (
                "when are you open",
                "opening hours on Sunday",
                "we ship to France",
            ),
            ("my bicycle is broken", "repair a bike", "gift vouchers"),
            (
                "is there parking",
                "where to leave your car",
                "a cake with strawberries",
            ),
            (
                "do you deliver to Berlin",
                "shipping to Germany",
                "allergic to nuts",
            ),
        ] {
            let (near_by, far_off) = (cosine(question, near), cosine(question, far));
            assert!(near_by > far_off + 0.05, "{question}: {near_by} {far_off}");
        }
    }

    #[test]
    fn a_vector_has_length_one_or_is_zero() {
        let check = |text: &str, length: f32| {
            let vector = StaticEmbedder::new().embed_one(text);
            assert_eq!(vector.len(), 256);
            let found: f32 = vector.iter().map(|at| at * at).sum();
            assert!((found - length).abs() < 1e-4, "{text}: {found}");
        };
        check("", 0.0);
        check(" \u{0} \u{fffd}\t", 0.0);
        check("\u{10ffff}", 0.0);
        check("hello", 1.0);
        check("Ünïcödé", 1.0);
        check(&"refund ".repeat(200_000), 1.0);
        check(&"x".repeat(1_000_000), 0.0);
    }

    #[tokio::test]
    async fn a_batch_embeds_each_text_in_order() {
        let embedder = StaticEmbedder::new();
        let texts = ["one", "", "two three"];
        let context = |kind| EmbedContext::new(TenantId::new(), kind, "c");
        let document = context(EmbedKind::Document);
        let together = embedder.embed(&document, &texts).await.unwrap();
        for (text, vector) in texts.iter().zip(&together) {
            assert_eq!(&embedder.embed_one(text), vector);
            let query = embedder
                .embed(&context(EmbedKind::Query), &[text])
                .await
                .unwrap();
            assert_eq!(&query[0], vector);
        }
        assert_ne!(together[0], together[2]);
    }
}
