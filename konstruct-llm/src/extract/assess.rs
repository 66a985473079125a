//! Judges passages: how likely each of them answers a question, and whether any of them does.

use konstruct_core::text::{Match, Matches};

/// The judgement of a question.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Assessment {
    /// How well the passages fit.
    pub matches: Matches,
    /// The log-odds that the best passage is the answer.
    pub answered: f32,
    /// The log-odds that the question is about one of the passages.
    pub inside: f32,
}

/// More words make a question no easier to judge.
const MOST_WORDS: usize = 8;

/// How much surer it must be in a language for which the weights were not fitted. With it, none of 84 questions in seven such languages
/// (`benches/data/languages`) is answered with a wrong passage.
const UNFITTED: f32 = 2.0;

/// The weights of a logistic regression, of [`features`] and last the constant.
struct Weights([f32; 8]);

/// Fitted by `benches/data/phone`, only on the businesses of the development half, with an embedder.
const ANSWERED: Weights = Weights([1.97, -0.29, 2.01, 0.2, 2.76, 0.42, 0.47, -6.37]);
const INSIDE: Weights = Weights([2.21, -0.72, 1.16, 0.37, 3.96, 0.95, 0.22, -6.19]);
/// Without an embedder the cosines say nothing.
const ANSWERED_WORDS: Weights = Weights([10.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.2, -9.0]);
const INSIDE_WORDS: Weights = Weights([6.0, 0.0, 0.0, 2.0, 4.0, 0.0, 0.0, -4.0]);

impl Weights {
    fn apply(&self, features: [f32; 7]) -> f32 {
        let sum: f32 = features.iter().zip(&self.0).map(|(a, b)| a * b).sum();
        sum + self.0[7]
    }
}

impl Assessment {
    /// Judges a question by how well the passages fit. `embedded` is whether an embedder compared meanings.
    pub(super) fn of(matches: Matches, embedded: bool) -> Self {
        let (answered, inside) = if embedded {
            (&ANSWERED, &INSIDE)
        } else {
            (&ANSWERED_WORDS, &INSIDE_WORDS)
        };
        let features = features(&matches);
        let odds = |weights: &Weights| features.map_or(f32::NEG_INFINITY, |it| weights.apply(it));
        let margin = if matches.analysed { 0.0 } else { UNFITTED };
        Self {
            answered: odds(answered) - margin,
            inside: odds(inside),
            matches,
        }
    }

    /// Returns the best passage.
    pub(super) fn best(&self) -> Option<&Match> {
        self.matches.passages.first()
    }
}

/// Returns what the regressions know of a question; `None` if it has no words or there is no passage.
fn features(matches: &Matches) -> Option<[f32; 7]> {
    let best = matches.passages.first()?;
    let second = matches.passages.get(1);
    let lead = second.map_or(best.rank, |second| best.rank - second.rank);
    let words = matches.words.min(MOST_WORDS) as f32;
    (matches.words > 0).then_some([
        best.covered,
        best.whole,
        best.sentence,
        best.heading,
        matches.known,
        words,
        lead,
    ])
}
