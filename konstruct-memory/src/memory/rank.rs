//! The second look at the best passages: who said it, when, and what stands beside it.
//!
//! What is added is in standard deviations of the first look. The weights are the same for every tenant and data set.

use std::collections::HashMap;

use konstruct_core::{Timestamp, memory::SaidBy};

use super::shelf::{Candidate, Group, Space, UnitKey, What};

/// The share of its own score that a person's message gets: what somebody said about themselves and their wishes is asked about
/// more often than what the employee answered.
const PERSON: f32 = 0.25;
/// The share of its better neighbour's score that a message gets: an answer is found by its question.
const NEIGHBOUR: f32 = 0.3;
/// What is gained by being of now; half of it after [`HALF_LIFE_DAYS`].
const RECENT: f64 = 0.1;
const HALF_LIFE_DAYS: f64 = 30.0;

/// A unit, or a passage of a document, with its score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranked {
    pub(super) best: Candidate,
    /// What the second look adds. Finer than the rest: what was said a moment later comes first whatever the time is now.
    pub(super) context: f64,
}

impl Ranked {
    pub(super) fn score(&self) -> f64 {
        f64::from(self.best.fused) + self.context
    }
}

/// Orders candidates, best first: a message counts once, by the best of its passages.
pub(super) fn rank(candidates: Vec<Candidate>, now: Timestamp) -> Vec<Ranked> {
    let mut best: Vec<Candidate> = Vec::new();
    let mut messages: HashMap<UnitKey, usize> = HashMap::new();
    // They come best first, so the first passage of a message is its best.
    for candidate in candidates {
        if candidate.about.what == What::History {
            if messages.contains_key(&candidate.unit) {
                continue;
            }
            messages.insert(candidate.unit, best.len());
        }
        best.push(candidate);
    }
    let beside = neighbours(&best);
    let mut ranked: Vec<Ranked> = best
        .into_iter()
        .zip(beside)
        .map(|(best, beside)| Ranked {
            context: context(&best, beside, now),
            best,
        })
        .collect();
    let order = |ranked: &Ranked| (ranked.best.unit, ranked.best.passage);
    ranked.sort_by(|a, b| {
        b.score()
            .total_cmp(&a.score())
            .then_with(|| order(a).cmp(&order(b)))
    });
    ranked
}

/// The better score of the messages right before and after each, if it is among the candidates.
fn neighbours(best: &[Candidate]) -> Vec<f32> {
    let place =
        |unit: &UnitKey, index: u64| -> (Space, Group, u64) { (unit.space, unit.group, index) };
    let mut scores: HashMap<(Space, Group, u64), f32> = HashMap::new();
    for candidate in best.iter().filter(|one| one.about.what == What::History) {
        scores.insert(
            place(&candidate.unit, candidate.unit.index()),
            candidate.fused,
        );
    }
    let mut beside = vec![0.0_f32; best.len()];
    let mut after: HashMap<(Space, Group, u64), f32> = HashMap::new();
    for (candidate, beside) in best.iter().zip(&mut beside) {
        if let Some(before) = candidate.about.before {
            let before = place(&candidate.unit, before);
            *beside = beside.max(scores.get(&before).copied().unwrap_or(0.0));
            after.insert(before, candidate.fused);
        }
    }
    for (candidate, beside) in best.iter().zip(&mut beside) {
        if candidate.about.what == What::History {
            let own = place(&candidate.unit, candidate.unit.index());
            *beside = beside.max(after.get(&own).copied().unwrap_or(0.0));
        }
    }
    beside
}

#[expect(clippy::cast_precision_loss, reason = "a share of a tenth")]
fn context(candidate: &Candidate, beside: f32, now: Timestamp) -> f64 {
    if candidate.about.what == What::Knowledge {
        return 0.0;
    }
    let person = if candidate.about.said_by == Some(SaidBy::Person) {
        PERSON * candidate.fused.max(0.0)
    } else {
        0.0
    };
    let days = (now.as_micros() - candidate.about.at.as_micros()).max(0) as f64 / 86.4e9;
    let recent = RECENT / (1.0 + days / HALF_LIFE_DAYS);
    f64::from(person + NEIGHBOUR * beside) + recent
}

impl UnitKey {
    /// The index of the record that it is.
    pub(super) fn index(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.item;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::shelf::UnitInfo;

    fn candidate(index: u8, at: i64) -> Candidate {
        let mut item = [0; 16];
        // None of them stands beside another.
        item[15] = 10 * index;
        Candidate {
            unit: UnitKey {
                space: Space([0; 16]),
                group: Group::NONE,
                item,
            },
            passage: 0,
            about: UnitInfo {
                what: What::History,
                version: 0,
                at: Timestamp::from_micros(at),
                said_by: None,
                persons: Vec::new(),
                expires_at: None,
                before: None,
            },
            lexical: 1.0,
            coverage: 1.0,
            stems: 1,
            cosine: None,
            fused: 5.3,
        }
    }

    #[test]
    fn of_equals_the_newer_comes_first_whatever_the_time_is() {
        for days in 0..200 {
            let candidates = vec![candidate(1, 0), candidate(2, 1000), candidate(3, 2000)];
            let now = Timestamp::from_micros(days * 86_400_000_000 + 3000);
            let order: Vec<u8> = rank(candidates, now)
                .iter()
                .map(|ranked| ranked.best.unit.item[15])
                .collect();
            assert_eq!(order, [30, 20, 10], "after {days} days");
        }
    }
}
