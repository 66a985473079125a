//! How words and meaning are added up, for stores that do it in memory: z-scores over the whole collection.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

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

/// Scores every passage that holds one of a question's stems; all of the stems must be there, those without passages too.
pub(crate) fn lexical<P: Copy + Eq + Hash, S: BuildHasher + Default>(
    size: Collection,
    mut stems: Vec<Postings<P>>,
) -> HashMap<P, Lexical, S> {
    let weight: f32 = stems
        .iter()
        .map(|stem| size.weight(stem.passages.len()))
        .sum();
    stems.retain(|stem| !stem.passages.is_empty());
    stems.sort_unstable_by_key(|stem| (stem.passages.len(), stem.hash));
    stems.truncate(STEMS);
    let mut scored: HashMap<P, Lexical, S> = HashMap::default();
    for stem in &stems {
        let with = stem.passages.len();
        let share = size.weight(with);
        for (passage, posting) in &stem.passages {
            let scored = scored.entry(*passage).or_default();
            scored.score += size.score(with, posting);
            scored.coverage += share * posting.covers();
            scored.stems += 1;
        }
    }
    for scored in scored.values_mut() {
        scored.coverage = (scored.coverage / weight).clamp(0.0, 1.0);
    }
    scored
}

/// Mean and standard deviation, of which a z-score is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    mean: f64,
    deviation: f64,
}

impl Spread {
    /// Measures numbers among so many, of which the others are zero.
    #[expect(clippy::cast_precision_loss, reason = "counts of passages")]
    pub(crate) fn of(numbers: impl IntoIterator<Item = f32>, among: u64) -> Self {
        let (mut sum, mut squares) = (0.0_f64, 0.0_f64);
        for number in numbers {
            let number = f64::from(number);
            sum += number;
            squares += number * number;
        }
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
