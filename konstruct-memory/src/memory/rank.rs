//! Re-ranks the best passages: documents by the share of the question's words that they contain, messages by who said it, when, and which messages are next to it.
//!
//! The added scores are in standard deviations of the first ranking. The weights are the same for every tenant and data set.

use std::collections::HashMap;

use konstruct_core::{Timestamp, memory::SaidBy};

use super::backend::{Candidate, Group, Space, UnitKey, UnitKind};

/// The share of its own score that a person's message gains: questions are more often about what a person said about themselves
/// than about what the employee answered.
const PERSON: f32 = 0.25;
/// The share of its better neighbour's score that a message gains: an answer is found by its question.
const NEIGHBOUR: f32 = 0.3;
/// The gain of a message from now; it halves every [`HALF_LIFE_DAYS`].
const RECENT: f64 = 0.1;
const HALF_LIFE_DAYS: f64 = 30.0;

/// A unit, or a passage of a document, with its score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranked {
    pub(super) best: Candidate,
    /// The gain of re-ranking. It is an `f64`, so that a message sent a moment later ranks higher whatever the current time is.
    pub(super) context: f64,
}

impl Ranked {
    pub(super) fn score(&self) -> f64 {
        f64::from(self.best.fused) + self.context
    }
}

/// Ranks candidates, best first. A message counts once, with its best passage.
pub(super) fn rank(candidates: Vec<Candidate>, now: Timestamp) -> Vec<Ranked> {
    let mut best: Vec<Candidate> = Vec::new();
    let mut messages: HashMap<UnitKey, usize> = HashMap::new();
    // Candidates are sorted, so the first passage of a message is its best.
    for candidate in candidates {
        if candidate.about.what == UnitKind::History {
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

/// Returns for each message the better score of the messages directly before and after it, if they are candidates.
fn neighbours(best: &[Candidate]) -> Vec<f32> {
    let place =
        |unit: &UnitKey, index: u64| -> (Space, Group, u64) { (unit.space, unit.group, index) };
    let mut scores: HashMap<(Space, Group, u64), f32> = HashMap::new();
    for candidate in best
        .iter()
        .filter(|one| one.about.what == UnitKind::History)
    {
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
        if candidate.about.what == UnitKind::History {
            let own = place(&candidate.unit, candidate.unit.index());
            *beside = beside.max(after.get(&own).copied().unwrap_or(0.0));
        }
    }
    beside
}

#[expect(clippy::cast_precision_loss, reason = "a share of a tenth")]
fn context(candidate: &Candidate, beside: f32, now: Timestamp) -> f64 {
    if candidate.about.what == UnitKind::Knowledge {
        // A document rarely uses the words of the person who asks, so a few equal words say little.
        let uncovered = 1.0 - candidate.coverage.clamp(0.0, 1.0);
        return f64::from(-uncovered * candidate.words);
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
    /// Returns the index of the record.
    pub(super) fn index(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.item;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::backend::UnitInfo;

    fn candidate(index: u8, at: i64) -> Candidate {
        let mut item = [0; 16];
        // No two are adjacent.
        item[15] = 10 * index;
        Candidate {
            unit: UnitKey {
                space: Space([0; 16]),
                group: Group::NONE,
                item,
            },
            passage: 0,
            about: UnitInfo {
                what: UnitKind::History,
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
            words: 0.0,
            fused: 5.3,
        }
    }

    #[test]
    fn the_newer_of_equal_hits_ranks_first_at_any_time() {
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
