//! Combines lexical and semantic scores for stores that do it in memory: z-scores over the whole collection.

use super::backend::{STEMS, WordStem};
use crate::bm25::{Collection, Posting};

/// The passages of a collection that contain a stem.
#[derive(Clone, Debug)]
pub(crate) struct Postings<P> {
    pub(crate) stem: WordStem,
    pub(crate) passages: Vec<(P, Posting)>,
}

/// The lexical score of a passage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lexical {
    pub(crate) score: f32,
    pub(crate) coverage: f32,
    pub(crate) stems: u32,
}

impl Lexical {
    /// Adds the contribution of a stem.
    pub(crate) fn add(&mut self, stem: Self) {
        self.score += stem.score;
        self.coverage += stem.coverage;
        self.stems += stem.stems;
    }
}

/// Calls back with the contribution of each of a question's words to each passage that contains it. All stems must be passed,
/// including those without passages. The coverage contributions of a passage that contains all words add up to 1.
pub(crate) fn lexical<P: Copy>(
    size: Collection,
    mut stems: Vec<Postings<P>>,
    mut add: impl FnMut(P, Lexical),
) {
    // A passage is in one language, so it contains a word by one of its stems at most.
    stems.sort_unstable_by_key(|postings| postings.stem);
    stems.dedup_by(|next, first| {
        let same = next.stem.word == first.stem.word;
        if same {
            first.passages.append(&mut next.passages);
        }
        same
    });
    let weight: f32 = stems
        .iter()
        .map(|stem| size.weight(stem.passages.len()))
        .sum();
    stems.retain(|stem| !stem.passages.is_empty());
    stems.sort_unstable_by_key(|postings| (postings.passages.len(), postings.stem.hash));
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

/// Mean and standard deviation, for z-scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Distribution {
    mean: f64,
    deviation: f64,
}

impl Distribution {
    /// Computes them from the given numbers and zeros, `among` in all.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f32>, among: u64) -> Self {
        let (mut sum, mut squares) = (0.0_f64, 0.0_f64);
        for number in numbers {
            let number = f64::from(number);
            sum += number;
            squares += number * number;
        }
        Self::of_sums(sum, squares, among)
    }

    /// Computes them from a sum and a sum of squares.
    #[expect(clippy::cast_precision_loss, reason = "counts of passages")]
    pub(crate) fn of_sums(sum: f64, squares: f64, among: u64) -> Self {
        let among = (among as f64).max(1.0);
        let mean = sum / among;
        Self {
            mean,
            deviation: (squares / among - mean * mean).max(0.0).sqrt(),
        }
    }

    /// Returns the number of standard deviations above the mean; 0 if all numbers are equal.
    #[expect(clippy::cast_possible_truncation, reason = "a few deviations")]
    pub(crate) fn z(&self, number: f32) -> f32 {
        // Smaller deviations are only rounding errors.
        if self.deviation < 1e-6 {
            return 0.0;
        }
        ((f64::from(number) - self.mean) / self.deviation) as f32
    }
}
