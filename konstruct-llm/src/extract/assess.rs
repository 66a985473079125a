//! Judges passages: how likely each of them answers a question, and whether any of them does.

use std::collections::HashMap;

use konstruct_core::{
    Embedder, Result,
    embed::EmbedContext,
    llm::Passage,
    memory::Language,
    text::{Word, language_of, question_language, question_words, words_of},
};

use super::quote::sentences;

/// What speaks for a passage as the answer to a question.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its index among the passages.
    pub passage: usize,
    /// The cosine of the question and of the passage with its heading.
    pub whole: f32,
    /// The cosine of the question and of the nearest sentence.
    pub sentence: f32,
    /// The share of the question's words that the passage covers, from 0 to 1. A rare word counts more than one that most passages
    /// contain, and a word of similar meaning counts in part.
    pub covered: f32,
    /// The share of the heading's words that the question covers, from 0 to 1.
    pub heading: f32,
    /// How well it fits, compared with the other passages.
    pub rank: f32,
}

/// The judgement of a question.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Assessment {
    /// The passages, the best first.
    pub candidates: Vec<Candidate>,
    /// The share of the question's words that all passages together cover, from 0 to 1.
    pub known: f32,
    /// The number of the question's words that are not stop words.
    pub words: usize,
    /// The log-odds that the best passage is the answer.
    pub answered: f32,
    /// The log-odds that the question is about one of the passages.
    pub inside: f32,
}

/// A match in the text counts less than one in the heading, which states the topic.
const TEXT: f32 = 0.9;
/// How much a word with a typo counts, and one that is a part of a longer word.
const SLIP: f32 = 0.85;
const PART: f32 = 0.8;
/// If this many passages are in the language of the question, the others are not considered.
const ENOUGH: usize = 4;
/// More words make a question no easier to judge.
const MOST_WORDS: usize = 8;

/// The weights of a logistic regression, of [`features`] and last the constant.
struct Weights([f32; 8]);

/// Fitted by `benches/data/phone`, only on the businesses of the development half, with an embedder.
const RANK: [f32; 4] = [4.5, 1.6, 11.1, 4.3];
const ANSWERED: Weights = Weights([1.97, -0.29, 2.01, 0.2, 2.76, 0.42, 0.47, -6.37]);
const INSIDE: Weights = Weights([2.21, -0.72, 1.16, 0.37, 3.96, 0.95, 0.22, -6.19]);
/// Without an embedder the cosines say nothing.
const RANK_WORDS: f32 = 9.0;
const ANSWERED_WORDS: Weights = Weights([10.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.2, -9.0]);
const INSIDE_WORDS: Weights = Weights([6.0, 0.0, 0.0, 2.0, 4.0, 0.0, 0.0, -4.0]);

impl Weights {
    fn apply(&self, features: [f32; 7]) -> f32 {
        let sum: f32 = features.iter().zip(&self.0).map(|(a, b)| a * b).sum();
        sum + self.0[7]
    }
}

/// Judges questions about the same passages. Each text is embedded once.
pub(super) struct Judge<'a> {
    language: Language,
    read: Vec<Read<'a>>,
    embedder: Option<(&'a dyn Embedder, EmbedContext)>,
    meanings: Meanings,
}

impl<'a> Judge<'a> {
    /// `language` is that of most passages. `embedder` compares meanings; without one, only words are compared.
    pub(super) fn new(
        passages: &'a [Passage],
        language: Language,
        embedder: Option<(&'a dyn Embedder, EmbedContext)>,
    ) -> Self {
        let read = passages.iter().enumerate();
        Self {
            language,
            read: read.map(|(at, it)| Read::new(language, at, it)).collect(),
            embedder,
            meanings: Meanings::default(),
        }
    }

    /// Judges a question.
    pub(super) async fn assess(&mut self, question: &str) -> Result<Assessment> {
        let mut asked: Vec<Word> = Vec::new();
        for word in question_words(self.language, question) {
            if asked.iter().all(|known| known.terms != word.terms) {
                asked.push(word);
            }
        }
        let mut read: Vec<&Read<'_>> = self.read.iter().collect();
        // A business with documents in several languages says the same in each of them.
        let spoken = question_language(question, self.language);
        if read.iter().filter(|of| of.language == spoken).count() >= ENOUGH {
            read.retain(|of| of.language == spoken);
        }
        if let Some((embedder, context)) = &self.embedder {
            let meanings = &mut self.meanings;
            meanings
                .learn(*embedder, context, question, &asked, &read)
                .await?;
        }
        let embedded = self.embedder.is_some();
        Ok(judged(question, &asked, &read, &self.meanings, embedded))
    }
}

/// Judges a question from the words and vectors of it and of the passages. `embedded` is whether there are vectors.
fn judged(
    question: &str,
    asked: &[Word],
    read: &[&Read<'_>],
    meanings: &Meanings,
    embedded: bool,
) -> Assessment {
    let rarity: Vec<f32> = asked.iter().map(|word| rarity(word, read)).collect();
    let all: f32 = rarity.iter().sum::<f32>().max(f32::EPSILON);
    let share = |matches: &[f32]| -> f32 {
        let covered = matches.iter().zip(&rarity);
        covered.map(|(share, rarity)| share * rarity).sum::<f32>() / all
    };
    let mut known = vec![0.0f32; asked.len()];
    let mut candidates = Vec::with_capacity(read.len());
    for of in read {
        let matches: Vec<f32> = asked
            .iter()
            .map(|word| {
                let heading = meanings.best(word, &of.heading);
                heading.max(TEXT * meanings.best(word, &of.text))
            })
            .collect();
        for (known, found) in known.iter_mut().zip(&matches) {
            *known = known.max(*found);
        }
        let whole = meanings.cosine(question, &of.whole);
        let sentence = of.sentences.iter();
        let sentence = sentence.map(|it| meanings.cosine(question, it));
        let sentence = sentence.fold(0.0, f32::max);
        let covered = share(&matches);
        let heading = of.heading.iter().map(|word| meanings.best(word, asked));
        let heading = heading.sum::<f32>() / of.heading.len().max(1) as f32;
        let rank = if embedded {
            RANK[0] * whole + RANK[1] * sentence + RANK[2] * covered + RANK[3] * heading
        } else {
            RANK_WORDS * (covered + 0.3 * heading)
        };
        candidates.push(Candidate {
            passage: of.passage,
            whole,
            sentence,
            covered,
            heading,
            rank,
        });
    }
    candidates.sort_by(|a, b| b.rank.total_cmp(&a.rank));
    let mut assessment = Assessment {
        candidates,
        known: share(&known),
        words: asked.len(),
        answered: f32::NEG_INFINITY,
        inside: f32::NEG_INFINITY,
    };
    if let Some(features) = features(&assessment) {
        let (answered, inside) = if embedded {
            (&ANSWERED, &INSIDE)
        } else {
            (&ANSWERED_WORDS, &INSIDE_WORDS)
        };
        assessment.answered = answered.apply(features);
        assessment.inside = inside.apply(features);
    }
    assessment
}

/// Returns what the regressions know of a question; `None` if it has no words or there is no passage.
fn features(assessment: &Assessment) -> Option<[f32; 7]> {
    let best = assessment.candidates.first()?;
    let second = assessment.candidates.get(1);
    let lead = second.map_or(best.rank, |second| best.rank - second.rank);
    let words = assessment.words.min(MOST_WORDS) as f32;
    (assessment.words > 0).then_some([
        best.covered,
        best.whole,
        best.sentence,
        best.heading,
        assessment.known,
        words,
        lead,
    ])
}

/// The words and sentences of a passage.
struct Read<'a> {
    /// Its index among the passages.
    passage: usize,
    language: Language,
    heading: Vec<Word>,
    text: Vec<Word>,
    whole: String,
    sentences: Vec<&'a str>,
}

impl<'a> Read<'a> {
    fn new(usual: Language, at: usize, passage: &'a Passage) -> Self {
        let whole = format!("{} {}", passage.title, passage.text);
        let language = language_of(&whole, usual);
        Self {
            passage: at,
            language,
            heading: words_of(language, &passage.title),
            text: words_of(language, &passage.text),
            whole,
            sentences: sentences(&passage.text),
        }
    }

    fn contains(&self, word: &Word) -> bool {
        let mut words = self.heading.iter().chain(&self.text);
        words.any(|own| same(word, own))
    }
}

fn same(a: &Word, b: &Word) -> bool {
    a.terms.iter().any(|term| b.terms.contains(term))
}

/// Returns how much a word says about the passage that is meant: inverse document frequency, as in Lucene.
fn rarity(word: &Word, passages: &[&Read<'_>]) -> f32 {
    /// Of a few passages none has rare words only.
    const FEWEST: usize = 16;
    let having = passages.iter().filter(|of| of.contains(word)).count() as f32;
    let all = passages.len().max(FEWEST) as f32;
    ((all - having + 0.5) / (having + 0.5)).ln_1p()
}

/// The vectors of texts.
#[derive(Default)]
struct Meanings(HashMap<String, Vec<f32>>);

impl Meanings {
    /// Embeds the texts that are not known yet.
    async fn learn(
        &mut self,
        embedder: &dyn Embedder,
        context: &EmbedContext,
        question: &str,
        asked: &[Word],
        passages: &[&Read<'_>],
    ) -> Result<()> {
        let mut texts: Vec<&str> = vec![question];
        texts.extend(asked.iter().map(|word| &*word.text));
        for of in passages {
            texts.push(&of.whole);
            texts.extend(&of.sentences);
            let words = of.heading.iter().chain(&of.text);
            texts.extend(words.map(|word| &*word.text));
        }
        texts.sort_unstable();
        texts.dedup();
        texts.retain(|text| !self.0.contains_key(*text));
        if texts.is_empty() {
            return Ok(());
        }
        let vectors = embedder.embed(context, &texts).await?;
        let owned = texts.into_iter().map(str::to_owned);
        self.0.extend(owned.zip(vectors));
        Ok(())
    }

    fn cosine(&self, a: &str, b: &str) -> f32 {
        let (Some(a), Some(b)) = (self.0.get(a), self.0.get(b)) else {
            return 0.0;
        };
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>().max(0.0)
    }

    /// Returns how well the best of some words matches a word, from 0 to 1.
    fn best(&self, word: &Word, among: &[Word]) -> f32 {
        let mut best = 0.0f32;
        for other in among {
            if same(word, other) {
                return 1.0;
            }
            best = best.max(self.cosine(&word.text, &other.text));
            let pairs = word.terms.iter().zip(&other.terms);
            for (a, b) in pairs {
                if best < SLIP && is_slip(a, b) {
                    best = SLIP;
                } else if best < PART && is_part(a, b) {
                    best = PART;
                }
            }
        }
        best
    }
}

/// Returns whether one of two terms is a part of the other, as in a compound word.
fn is_part(a: &str, b: &str) -> bool {
    const SHORTEST: usize = 5;
    let long = |term: &str| term.chars().nth(SHORTEST - 1).is_some();
    (long(a) && b.contains(a)) || (long(b) && a.contains(b))
}

/// Returns whether two stems differ by one typo (a letter added, missing, changed or swapped), or by two in a long word.
fn is_slip(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shorter = a.len().min(b.len());
    let allowed = match shorter {
        0..=3 => return false,
        4..=7 => 1,
        _ => 2,
    };
    // Short words that start with different letters are usually different words, not typos.
    if a[0] != b[0] || a.len().abs_diff(b.len()) > allowed {
        return false;
    }
    // Of four letters, one changed gives another word ("cash", "case"); one swapped or doubled is a typo.
    if shorter == 4 && a.len() == b.len() && sorted(a.clone()) != sorted(b.clone()) {
        return false;
    }
    distance(&a, &b) <= allowed
}

fn sorted(mut letters: Vec<char>) -> Vec<char> {
    letters.sort_unstable();
    letters
}

/// Returns the edit distance, with a swap of neighbours counted as one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips() {
        let check = |a, b, slip| assert_eq!(is_slip(a, b), slip, "{a} {b}");
        check("warranti", "waranti", true);
        check("deliveri", "delivrey", true);
        check("paymnet", "payment", true);
        check("cash", "case", false);
        check("pet", "pen", false);
        check("train", "brain", false);
    }
}
