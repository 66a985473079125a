//! Intermediate results of a search, by passage number.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::memory::fuse::{Distribution, Lexical};

/// A passage: the area in which it was found, its lexical score and its cosine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// Counted from 0.
    pub(super) place: usize,
    pub(super) lexical: Lexical,
    pub(super) cosine: Option<f32>,
}

impl Slot {
    /// Returns the sum of the z-scores.
    pub(super) fn fused(&self, words: Distribution, meaning: Distribution) -> f32 {
        words.z(self.lexical.score) + self.cosine.map_or(0.0, |cosine| meaning.z(cosine))
    }
}

/// Sums of cosines, from which their z-scores are computed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) sum: f64,
    pub(super) squares: f64,
    pub(super) many: u64,
}

impl Sums {
    /// Adds a cosine.
    pub(super) fn count(&mut self, cosine: f32) {
        let cosine = f64::from(cosine);
        self.sum += cosine;
        self.squares += cosine * cosine;
        self.many += 1;
    }

    /// Adds other sums.
    pub(super) fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.squares += other.squares;
        self.many += other.many;
    }

    /// Returns the mean and the deviation.
    pub(super) fn distribution(&self) -> Distribution {
        Distribution::of_sums(self.sum, self.squares, self.many)
    }
}

/// Passages by number.
pub(super) type Slots = HashMap<i64, Slot, BuildHasherDefault<ByNumber>>;

/// Hashes numbers by identity: they are sequential.
#[derive(Debug, Default)]
pub(super) struct ByNumber(u64);

impl Hasher for ByNumber {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Returns the best numbers, and all that are as good as the last of them.
pub(super) fn best(mut scored: Vec<(f32, i64)>, limit: usize) -> Vec<(f32, i64)> {
    if limit == 0 {
        return Vec::new();
    }
    if scored.len() > limit {
        let (_, (least, _), _) =
            scored.select_nth_unstable_by(limit - 1, |a, b| b.0.total_cmp(&a.0));
        let least = *least;
        scored.retain(|(score, _)| *score >= least);
    }
    scored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_include_all_that_equal_the_last() {
        for (scores, limit, expected) in [
            (&[][..], 3, &[][..]),
            (&[1.0, 2.0], 3, &[1.0, 2.0]),
            (&[1.0, 3.0, 2.0], 2, &[2.0, 3.0]),
            (&[2.0, 1.0, 3.0, 2.0, 2.0], 2, &[2.0, 2.0, 2.0, 3.0]),
            (&[1.0], 0, &[]),
        ] {
            let scored = scores.iter().copied().zip(0..).collect();
            let mut found: Vec<f32> = best(scored, limit).into_iter().map(|one| one.0).collect();
            found.sort_by(f32::total_cmp);
            assert_eq!(found, expected, "{scores:?}, {limit}");
        }
    }
}
