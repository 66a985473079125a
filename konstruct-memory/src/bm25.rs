//! The arithmetic of recall: BM25 for the order, and coverage for how sure one can be.

/// How soon a repeated term stops to count.
const K1: f32 = 1.2;
/// How much a long text is held against itself.
const B: f32 = 0.75;
/// What a term of the heading or the title counts, in terms of the text.
const HEADING: f32 = 2.5;
/// The share of a term's weight that is covered when it stands in the text and not in the heading.
const IN_TEXT: f32 = 0.85;
/// The fewest chunks that coverage reckons with: among three documents no word is rare, and yet a word that stands in one of
/// them says more than one which stands in all.
const FEWEST: f32 = 50.0;

/// What is searched through, as one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Collection {
    /// How many chunks.
    pub(crate) chunks: u64,
    /// Their terms in all.
    pub(crate) terms: u64,
}

/// How often a term stands in a chunk, and how long that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Posting {
    /// How often in the text.
    pub(crate) text: u16,
    /// How often in the heading and the title.
    pub(crate) heading: u8,
    /// How many terms the chunk has in all.
    pub(crate) terms: u16,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of chunks and terms; a share of a millionth does not matter"
)]
impl Collection {
    /// Readies what is alike for all chunks that hold a term: it stands in so many of them.
    pub(crate) fn term(&self, chunks_with_term: usize) -> Term {
        Term {
            rarity: rarity(self.chunks as f32, chunks_with_term as f32),
            average: (self.terms as f32 / (self.chunks as f32).max(1.0)).max(1.0),
        }
    }

    /// The weight of a question's term that stands in so many chunks; in none is the heaviest.
    pub(crate) fn weight(&self, chunks_with_term: usize) -> f32 {
        rarity((self.chunks as f32).max(FEWEST), chunks_with_term as f32)
    }
}

/// A term of a question in a collection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Term {
    rarity: f32,
    /// The terms of a chunk, on average.
    average: f32,
}

impl Term {
    /// What the term adds to the score of a chunk that holds it.
    pub(crate) fn score(&self, posting: &Posting) -> f32 {
        let frequency = f32::from(posting.text) + HEADING * f32::from(posting.heading);
        let length = 1.0 - B + B * f32::from(posting.terms) / self.average;
        self.rarity * frequency * (K1 + 1.0) / (frequency + K1 * length)
    }
}

impl Posting {
    /// How much of a term's weight this covers.
    pub(crate) fn covers(&self) -> f32 {
        if self.heading > 0 { 1.0 } else { IN_TEXT }
    }
}

/// Inverse document frequency, as Lucene has it: never negative.
fn rarity(chunks: f32, with_term: f32) -> f32 {
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
    fn one_term_is_as_the_formula_says() {
        // idf = ln(1 + 950.5 / 50.5), and a chunk of average length with frequency 1 leaves it as it is.
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
