//! Scoring of recall: BM25 for ranking, and coverage for how certain a match is.

/// BM25 `k1`: how soon repetitions of a term stop adding to the score.
const K1: f32 = 1.2;
/// BM25 `b`: how strongly long texts are penalised.
const B: f32 = 0.75;
/// The weight of an occurrence in the heading or the title, relative to one in the text.
const HEADING: f32 = 2.5;
/// The share of a term's weight that is covered if the term occurs only in the text, not in the heading.
const IN_TEXT: f32 = 0.85;
/// The minimum number of chunks that coverage assumes. In a collection of three documents no word is rare, and yet a word in one
/// of them is more specific than a word in all of them.
const MIN_CHUNKS: f32 = 50.0;

/// The size of the collection that is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Collection {
    /// The number of chunks.
    pub(crate) chunks: u64,
    /// The total number of terms.
    pub(crate) terms: u64,
}

/// How often a term occurs in a chunk, and the chunk's length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Posting {
    /// Occurrences in the text.
    pub(crate) text: u16,
    /// Occurrences in the heading and the title.
    pub(crate) heading: u8,
    /// The total number of terms of the chunk.
    pub(crate) terms: u16,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of chunks and terms; a share of a millionth does not matter"
)]
impl Collection {
    /// Precomputes the part of the score that is the same for every chunk with the term.
    pub(crate) fn term(&self, chunks_with_term: usize) -> Term {
        Term {
            idf: idf(self.chunks as f32, chunks_with_term as f32),
            average: (self.terms as f32 / (self.chunks as f32).max(1.0)).max(1.0),
        }
    }

    /// Returns the weight of a question's term that occurs in this many chunks. A term that occurs in none has the highest
    /// weight.
    pub(crate) fn weight(&self, chunks_with_term: usize) -> f32 {
        idf(
            (self.chunks as f32).max(MIN_CHUNKS),
            chunks_with_term as f32,
        )
    }
}

/// A question's term, with its statistics in a collection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Term {
    idf: f32,
    /// The average number of terms a chunk.
    average: f32,
}

impl Term {
    /// Returns what the term adds to the score of a chunk that contains it.
    pub(crate) fn score(&self, posting: &Posting) -> f32 {
        let frequency = f32::from(posting.text) + HEADING * f32::from(posting.heading);
        let length = 1.0 - B + B * f32::from(posting.terms) / self.average;
        self.idf * frequency * (K1 + 1.0) / (frequency + K1 * length)
    }
}

impl Posting {
    /// Returns the share of the term's weight that this posting covers.
    pub(crate) fn covers(&self) -> f32 {
        if self.heading > 0 { 1.0 } else { IN_TEXT }
    }
}

/// Inverse document frequency as in Lucene: never negative.
fn idf(chunks: f32, with_term: f32) -> f32 {
    ((chunks - with_term + 0.5).max(0.0) / (with_term + 0.5)).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: Collection = Collection {
        chunks: 1000,
        terms: 50_000,
    };

    fn posting(text: u16, heading: u8, terms: u16) -> Posting {
        Posting {
            text,
            heading,
            terms,
        }
    }

    #[test]
    fn rare_frequent_short_and_in_the_heading_score_higher() {
        let plain = MANY.term(50).score(&posting(1, 0, 50));
        assert!(MANY.term(5).score(&posting(1, 0, 50)) > plain);
        assert!(MANY.term(50).score(&posting(2, 0, 50)) > plain);
        assert!(MANY.term(50).score(&posting(1, 0, 20)) > plain);
        assert!(MANY.term(50).score(&posting(0, 1, 50)) > plain);
    }

    #[test]
    fn a_score_matches_the_formula() {
        // idf = ln(1 + 950.5 / 50.5); a chunk of average length with frequency 1 leaves it unchanged.
        let score = MANY.term(50).score(&posting(1, 0, 50));
        assert!(
            (score - (1.0f32 + 950.5 / 50.5).ln()).abs() < 1e-4,
            "{score}"
        );
    }

    #[test]
    fn an_unknown_term_weighs_the_most() {
        let few = Collection {
            chunks: 3,
            terms: 90,
        };
        for collection in [few, MANY, Collection::default()] {
            assert!(collection.weight(0) > collection.weight(1));
            assert!(collection.weight(1) > collection.weight(3));
            assert!(collection.weight(3) > 0.0);
        }
    }
}
