//! The best of many, without sorting them all.

use std::{cmp::Ordering, collections::BinaryHeap};

/// The best `k` so far.
#[derive(Debug)]
pub(super) struct Top {
    k: usize,
    /// The kept ones, the worst on top.
    kept: BinaryHeap<Worst>,
    /// Scores must be above this to be kept.
    least: f32,
}

#[derive(Debug)]
struct Worst {
    slot: usize,
    score: f32,
}

impl Top {
    pub(super) fn new(k: usize) -> Self {
        let least = if k == 0 {
            f32::INFINITY
        } else {
            f32::NEG_INFINITY
        };
        let kept = BinaryHeap::new();
        Self { k, kept, least }
    }

    /// Offers the next slot; slots must be in order.
    #[inline]
    pub(super) fn offer(&mut self, slot: usize, score: f32) {
        if score > self.least || (self.kept.len() < self.k && !score.is_nan()) {
            self.keep(slot, score);
        }
    }

    fn keep(&mut self, slot: usize, score: f32) {
        if self.kept.len() == self.k {
            self.kept.pop();
        }
        self.kept.push(Worst { slot, score });
        if self.kept.len() == self.k {
            self.least = self.kept.peek().map_or(self.least, |worst| worst.score);
        }
    }

    /// Returns the kept ones, best first.
    pub(super) fn into_sorted(self) -> Vec<(usize, f32)> {
        let sorted = self.kept.into_sorted_vec();
        sorted
            .into_iter()
            .map(|kept| (kept.slot, kept.score))
            .collect()
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = other.score.total_cmp(&self.score);
        by_score.then(self.slot.cmp(&other.slot))
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Worst {}
