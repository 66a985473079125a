//! Chooses the passage that answers a question, if any does.

use konstruct_core::llm::Passage;

use super::{
    quote::quote,
    words::{Term, asked, likeness, terms},
};

/// The minimum score for an answer. Below it the honest answer is "I don't know".
pub const THRESHOLD: f32 = 0.52;

/// A match in the text counts less than one in the heading, which states the topic.
const BODY: f32 = 0.8;

/// The passage that answers a question.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// Its index among the passages.
    pub passage: usize,
    /// The quoted answer: all of a short passage, the best one to three sentences of a long one.
    pub quote: String,
    /// How much of the question the passage covers, from 0 to 1; at least [`THRESHOLD`].
    pub score: f32,
}

/// Chooses the passage that answers a question, or returns none.
///
/// Each word of a question has a weight: stop words weigh nothing and everyday words little. Words that most passages contain
/// (`bike` in a bike shop) weigh less than others, and synonyms count once. A passage's score is the share of that weight that it
/// covers. A match in the heading counts fully, a match in the text somewhat less; an equal stem counts more than a synonym or a
/// word with a typo. A question about a topic in no passage therefore keeps an uncovered heavy word and falls below
/// [`THRESHOLD`]. Among the passages that reach it, one whose heading is about nothing else is preferred, and one that contains
/// the requested kind of fact (an amount for "how much", a time for "when").
///
/// ```
/// use konstruct_core::llm::Passage;
/// use konstruct_llm::extract::choose;
///
/// let passages = [Passage {
///     source: "FAQ › Returns".into(),
///     title: "Returns".into(),
///     text: "You can bring unused parts back within 30 days.".into(),
///     confidence: 0.4,
/// }];
/// assert_eq!(choose("Can I get a refund?", &passages).unwrap().passage, 0);
/// assert!(choose("Do you sell pizza?", &passages).is_none());
/// ```
pub fn choose(question: &str, passages: &[Passage]) -> Option<Choice> {
    let read: Vec<PassageTerms> = passages.iter().map(PassageTerms::new).collect();
    let asked = weigh(asked(question), &read);
    let total: f32 = asked.iter().map(|term| term.weight).sum();
    if total < 0.25 {
        return None;
    }
    let wanted = FactKind::of(question);
    let ranked = read
        .iter()
        .zip(passages)
        .enumerate()
        .map(|(index, (read, passage))| {
            let covered = asked
                .iter()
                .map(|term| term.weight * read.covers(term))
                .sum::<f32>()
                / total;
            let about = read.about(&asked);
            let has = if wanted.found_in(&passage.text) {
                1.0
            } else {
                0.0
            };
            let score = covered + 0.08 * about;
            let rank = covered + 0.3 * about + 0.1 * has + 0.1 * passage.confidence.clamp(0.0, 1.0);
            (index, score, rank)
        });
    let (passage, score, _) = ranked
        .filter(|(_, score, _)| *score >= THRESHOLD)
        .max_by(|a, b| a.2.total_cmp(&b.2))?;
    Some(Choice {
        passage,
        quote: quote(&asked, &passages[passage].text),
        score: score.min(1.0),
    })
}

/// Merges synonyms, and reduces the weight of terms that most passages contain.
fn weigh(terms: Vec<Term>, passages: &[PassageTerms]) -> Vec<Term> {
    let mut asked: Vec<Term> = Vec::new();
    for term in terms {
        let same = asked
            .iter_mut()
            .find(|known| known.groups.iter().any(|group| term.groups.contains(group)));
        match same {
            Some(known) => {
                // "Credit" by itself may mean a loan; "credit card" does not.
                known.groups.retain(|group| term.groups.contains(group));
                known.weight = known.weight.max(term.weight);
            }
            None => asked.push(term),
        }
    }
    for term in &mut asked {
        let having = passages
            .iter()
            .filter(|read| read.covers(term) > 0.0)
            .count();
        if passages.len() >= 4 && having * 2 > passages.len() {
            term.weight *= 0.5;
        }
    }
    asked
}

/// The terms of a passage.
struct PassageTerms {
    heading: Vec<Term>,
    body: Vec<Term>,
}

impl PassageTerms {
    fn new(passage: &Passage) -> Self {
        Self {
            heading: terms(&passage.title),
            body: terms(&passage.text),
        }
    }

    /// Returns how well the passage covers a term of the question, from 0 to 1.
    fn covers(&self, term: &Term) -> f32 {
        let best = |terms: &[Term]| {
            terms
                .iter()
                .map(|own| likeness(term, own))
                .fold(0.0, f32::max)
        };
        best(&self.heading).max(BODY * best(&self.body))
    }

    /// Returns how much of the heading the question mentions, from 0 to 1.
    fn about(&self, asked: &[Term]) -> f32 {
        let total: f32 = self.heading.iter().map(|term| term.weight).sum();
        let spoken = |own: &Term| {
            asked
                .iter()
                .map(|term| likeness(term, own))
                .fold(0.0, f32::max)
        };
        let met: f32 = self
            .heading
            .iter()
            .map(|own| own.weight * spoken(own))
            .sum();
        if total > 0.0 { met / total } else { 0.0 }
    }
}

/// The kind of fact that a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FactKind {
    Amount,
    Time,
    Span,
    Any,
}

impl FactKind {
    fn of(question: &str) -> Self {
        let question = question.to_lowercase();
        let asks = |phrases: &[&str]| phrases.iter().any(|phrase| question.contains(phrase));
        if asks(&["how much", "price", "cost", "charge", "fee"]) {
            Self::Amount
        } else if asks(&["how long", "how soon", "how many days", "turnaround"]) {
            Self::Span
        } else if asks(&["when", "what time", "open", "close"]) {
            Self::Time
        } else {
            Self::Any
        }
    }

    fn found_in(self, text: &str) -> bool {
        let text = text.to_lowercase();
        let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
        match self {
            Self::Amount => has(&["$", "€", "£", "free", " eur", " usd"]),
            Self::Time => has(&[
                "monday", "tuesday", "sunday", "saturday", "a.m", "p.m", " am", " pm", ":00", ":30",
            ]),
            Self::Span => has(&["day", "week", "month", "year", "hour", "minute"]),
            Self::Any => false,
        }
    }
}
