//! How words and meaning are added up, for stores that do it in memory: z-scores over the whole collection.

use super::shelf::STEMS;
use crate::bm25::{Collection, Posting};

/// The passages of a collection that hold a stem.
#[derive(Clone, Debug)]
pub(crate) struct Postings<P> {
    pub(crate) hash: [u8; 16],
    pub(crate) passages: Vec<(P, Posting)>,
}

/// A passage, scored by its words.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lexical {
    pub(crate) score: f32,
    pub(crate) coverage: f32,
    pub(crate) stems: u32,
}

impl Lexical {
    /// Adds what a stem counts.
    pub(crate) fn add(&mut self, stem: Self) {
        self.score += stem.score;
        self.coverage += stem.coverage;
        self.stems += stem.stems;
    }
}

/// Tells what each of a question's stems adds to each passage that holds it; all of the stems must be there, those without
/// passages too. What is added as coverage comes to 1 in a passage that holds all of them.
pub(crate) fn lexical<P: Copy>(
    size: Collection,
    mut stems: Vec<Postings<P>>,
    mut add: impl FnMut(P, Lexical),
) {
    let weight: f32 = stems
        .iter()
        .map(|stem| size.weight(stem.passages.len()))
        .sum();
    stems.retain(|stem| !stem.passages.is_empty());
    stems.sort_unstable_by_key(|stem| (stem.passages.len(), stem.hash));
    stems.truncate(STEMS);
    for stem in &stems {
        let with = stem.passages.len();
        let (term, share) = (size.term(with), size.weight(with) / weight);
        for (passage, posting) in &stem.passages {
            let stem = Lexical {
                score: term.score(posting),
                coverage: share * posting.covers(),
                stems: 1,
            };
            add(*passage, stem);
        }
    }
}

/// Mean and standard deviation, of which a z-score is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    mean: f64,
    deviation: f64,
}

impl Spread {
    /// Measures numbers among so many, of which the others are zero.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f32>, among: u64) -> Self {
        let (mut sum, mut squares) = (0.0_f64, 0.0_f64);
        for number in numbers {
            let number = f64::from(number);
            sum += number;
            squares += number * number;
        }
        Self::of_sums(sum, squares, among)
    }

    /// The same of numbers that are added up already, and their squares.
    #[expect(clippy::cast_precision_loss, reason = "counts of passages")]
    pub(crate) fn of_sums(sum: f64, squares: f64, among: u64) -> Self {
        let among = (among as f64).max(1.0);
        let mean = sum / among;
        Self {
            mean,
            deviation: (squares / among - mean * mean).max(0.0).sqrt(),
        }
    }

    /// How many standard deviations a number lies above the mean; 0 where all are alike.
    #[expect(clippy::cast_possible_truncation, reason = "a few deviations")]
    pub(crate) fn z(&self, number: f32) -> f32 {
        // Below this the numbers differ by their rounding alone.
        if self.deviation < 1e-6 {
            return 0.0;
        }
        ((f64::from(number) - self.mean) / self.deviation) as f32
    }
}
