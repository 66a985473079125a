//! The built-in embedder: a table with a vector for each word piece of 16 languages.

mod pieces;
mod table;

use std::sync::LazyLock;

use async_trait::async_trait;
use konstruct_core::{Embedder, Result, embed::EmbedContext, memory::Language};

use self::{pieces::UNKNOWN, table::Table};

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(konstruct_embed_data::TABLE));

/// The most bytes of a text that are read. A passage has far fewer.
const LONGEST: usize = 32 << 10;

/// Embeds texts in 16 languages without a network and without a neural network.
///
/// The languages are Arabic, Chinese (simplified and traditional), Dutch, English, French, German, Italian, Japanese, Korean,
/// Polish, Portuguese, Russian, Spanish, Thai and Turkish. Texts in different languages can be compared.
///
/// The vector of a text is the sum of its pieces' vectors, normalised to length 1. It is zero for a text of white space. The table was
/// made from Google's Universal Sentence Encoder: the crate `konstruct-embed-data` describes how, and contains the licence.
///
/// ```
/// use konstruct_memory::StaticEmbedder;
///
/// let embed = |text| StaticEmbedder::new().embed_one(text);
/// let (a, b) = (embed("repair my bicycle"), embed("Fahrrad reparieren"));
/// let cosine: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
/// assert!(cosine > 0.3);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StaticEmbedder;

impl StaticEmbedder {
    /// Creates an embedder. The table is compiled in.
    pub fn new() -> Self {
        Self
    }

    /// Embeds one text.
    pub fn embed_one(self, text: &str) -> Vec<f32> {
        let table = &*TABLE;
        let mut sum = vec![0.0; table.dim()];
        for at in places(text) {
            if at != UNKNOWN {
                table.add(at, &mut sum);
            }
        }
        let length = sum.iter().map(|at| at * at).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|at| *at /= length);
        }
        sum
    }

    /// Returns the ids of the word pieces that a text consists of, as the encoder's own tokenizer does without the marks at both
    /// ends. The id of text that is in no piece is 0.
    pub fn pieces(self, text: &str) -> Vec<u32> {
        let id = |at| if at == UNKNOWN { 0 } else { TABLE.id(at) };
        places(text).into_iter().map(id).collect()
    }
}

fn places(text: &str) -> Vec<u32> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    pieces::pieces(&TABLE, text)
}

#[async_trait]
impl Embedder for StaticEmbedder {
    fn id(&self) -> &str {
        konstruct_embed_data::NAME
    }

    fn dim(&self) -> usize {
        TABLE.dim()
    }

    fn supports(&self, _: Language) -> bool {
        true
    }

    fn embeds_words(&self) -> bool {
        true
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
        let sum = hex::encode(Sha256::digest(konstruct_embed_data::TABLE));
        assert_eq!(
            sum,
            "584af225019a6534cfd8d4a8f1628a716c5234e7bd28fa643c1a903b9e9f70b8"
        );
        assert_eq!(StaticEmbedder::new().id(), "static-use-128@1");
        assert_eq!(StaticEmbedder::new().dim(), 128);
    }

    /// The expected values are those of the reference implementation of the tokenizer and of the vectors before they are stored.
    #[test]
    fn pieces_and_vectors_equal_those_of_the_reference() {
        let check = |text: &str, pieces: &[u32], numbers: [f32; 3]| {
            let embedder = StaticEmbedder::new();
            assert_eq!(embedder.pieces(text), pieces, "{text}");
            let vector = embedder.embed_one(text);
            for (at, expected) in [0, 1, 127].into_iter().zip(numbers) {
                assert!((vector[at] - expected).abs() < 1e-3, "{text}: {at}");
            }
        };
        check(
            "Do you deliver on Saturdays?",
            &[1038, 37, 11302, 54, 6958, 9, 21],
            [-0.2012, -0.1843, 0.0877],
        );
        check(
            "Wann öffnet die Küche?",
            &[52187, 87808, 86, 47981, 21],
            [0.0387, -0.1995, 0.0413],
        );
        check(
            "¿Hay menú sin gluten?",
            &[723, 48770, 459, 5519, 1238, 43951, 53, 21],
            [-0.0257, 0.0835, -0.1827],
        );
        check(
            "営業時間を教えてください",
            &[6, 21101, 36138, 2033, 2018],
            [-0.2708, -0.1993, 0.0214],
        );
        check(
            "พาสุนัขเข้าได้ไหม",
            &[6, 15300, 98226, 8191, 1557, 83773],
            [-0.3456, 0.0796, 0.1567],
        );
        check(
            "ｆｕｌｌ　ｗｉｄｔｈ ﬂat",
            &[1969, 16050, 9312],
            [-0.0020, -0.1237, -0.0190],
        );
        check("👋 hi", &[6, 0, 3859], [0.0009, -0.0863, -0.0427]);
        check("", &[], [0.0000, 0.0000, 0.0000]);
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
            ("voucher", "discount coupon", "wheelchair access"),
            ("wo kann ich parken", "free parking", "gift vouchers"),
            (
                "¿aceptan tarjeta?",
                "we take credit cards",
                "delivery to Norway",
            ),
            ("ร้านปิดกี่โมง", "เวลาเปิดร้าน", "ที่จอดรถฟรี"),
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
            assert_eq!(vector.len(), 128);
            let found: f32 = vector.iter().map(|at| at * at).sum();
            assert!((found - length).abs() < 1e-4, "{text}: {found}");
        };
        check("", 0.0);
        check(" \u{200b} \u{fffd}\t", 0.0);
        check("\u{10ffff}", 1.0);
        check("hello", 1.0);
        check("Ünïcödé", 1.0);
        check(&"refund ".repeat(200_000), 1.0);
        check(&"x".repeat(1_000_000), 1.0);
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
