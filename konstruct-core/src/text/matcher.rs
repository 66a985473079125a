//! Compares questions with passages, by words and by meaning.

use std::collections::HashMap;

use super::{
    Word,
    language::{language_of, probable_language, question_language},
    question_words,
    sentences::sentences,
    typo::is_typo,
    words_of,
};
use crate::{Embedder, Result, embed::EmbedContext, memory::Language};

/// How well a passage fits a question.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Match {
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

/// How well passages fit a question.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Matches {
    /// The passages, best first. If enough of them are in the language of the question, the others are left out.
    pub passages: Vec<Match>,
    /// The share of the question's words that all passages together cover, from 0 to 1.
    pub known: f32,
    /// The number of the question's words that are not stop words.
    pub words: usize,
    /// Whether most passages are in a language whose stop words and stems are known. In another language chance matches count more.
    pub analysed: bool,
}

/// A match in the text counts less than one in the heading, which states the topic.
const TEXT: f32 = 0.9;
/// How much a word with a typo counts, and one that is a part of a longer word.
const TYPO: f32 = 0.85;
const PART: f32 = 0.8;
/// If this many passages are in the language of the question, the others are not considered.
const ENOUGH: usize = 4;

/// The most words of a question that are compared, each with every word of the passages. A question has fewer; a pasted document has
/// thousands.
const ASKED: usize = 100;

/// The weights of the cosine of the whole, that of the nearest sentence, the covered words and the heading. Fitted by
/// `benches/data/phone`, only on the businesses of the development half, with the built-in embedder.
const RANK: [f32; 4] = [4.5, 1.6, 11.1, 4.3];
/// Without an embedder the cosines say nothing.
const RANK_WORDS: f32 = 9.0;

/// Compares questions with the same passages. Each text is embedded once.
///
/// ```
/// use konstruct_core::{memory::Language, text::Matcher};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let passages = [("Parking", "Two spaces behind the house."), ("Opening hours", "From 9 to 5.")];
/// let mut matcher = Matcher::new(Language::English, passages, None);
/// let matches = matcher.compare("When do you open?").await?;
/// assert_eq!(matches.passages[0].passage, 1);
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Matcher<'a> {
    language: Language,
    read: Vec<Read<'a>>,
    embedder: Option<(&'a dyn Embedder, EmbedContext)>,
    meanings: Meanings,
}

impl<'a> Matcher<'a> {
    /// Prepares passages, each a heading and a text. `language` is that of most passages. `embedder` compares meanings, also of single
    /// words; without one, only words are compared.
    pub fn new(
        language: Language,
        passages: impl IntoIterator<Item = (&'a str, &'a str)>,
        embedder: Option<(&'a dyn Embedder, EmbedContext)>,
    ) -> Self {
        let read = passages.into_iter().enumerate();
        Self {
            language,
            read: read.map(|(at, it)| Read::new(language, at, it)).collect(),
            embedder,
            meanings: Meanings::default(),
        }
    }

    /// Compares a question with the passages. Of a long text, the first 100 different words are compared.
    ///
    /// # Errors
    /// Those of the embedder.
    pub async fn compare(&mut self, question: &str) -> Result<Matches> {
        let mut asked: Vec<Word> = Vec::new();
        for word in question_words(self.language, question) {
            if asked.len() == ASKED {
                break;
            }
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
        Ok(matches(question, &asked, &read, &self.meanings, embedded))
    }
}

/// Compares by the words and vectors of the question and of the passages. `embedded` is whether there are vectors.
fn matches(
    question: &str,
    asked: &[Word],
    read: &[&Read<'_>],
    meanings: &Meanings,
    embedded: bool,
) -> Matches {
    let rarity: Vec<f32> = asked.iter().map(|word| rarity(word, read)).collect();
    let all: f32 = rarity.iter().sum::<f32>().max(f32::EPSILON);
    let share = |matches: &[f32]| -> f32 {
        let covered = matches.iter().zip(&rarity);
        covered.map(|(share, rarity)| share * rarity).sum::<f32>() / all
    };
    let mut known = vec![0.0f32; asked.len()];
    let mut passages = Vec::with_capacity(read.len());
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
        passages.push(Match {
            passage: of.passage,
            whole,
            sentence,
            covered,
            heading,
            rank,
        });
    }
    passages.sort_by(|a, b| b.rank.total_cmp(&a.rank));
    Matches {
        passages,
        known: share(&known),
        words: asked.len(),
        analysed: 2 * read.iter().filter(|of| of.analysed).count() > read.len(),
    }
}

/// The words and sentences of a passage.
#[derive(Debug)]
struct Read<'a> {
    /// Its index among the passages.
    passage: usize,
    language: Language,
    /// Whether the stop words of its language are known.
    analysed: bool,
    heading: Vec<Word>,
    text: Vec<Word>,
    whole: String,
    sentences: Vec<&'a str>,
}

impl<'a> Read<'a> {
    fn new(usual: Language, at: usize, (heading, text): (&'a str, &'a str)) -> Self {
        let whole = format!("{heading} {text}");
        let language = language_of(&whole, usual);
        Self {
            passage: at,
            language,
            analysed: probable_language(&whole).is_some(),
            heading: words_of(language, heading),
            text: words_of(language, text),
            whole,
            sentences: sentences(text),
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
#[derive(Debug, Default)]
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
                if best < TYPO && is_typo(a, b) {
                    best = TYPO;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_a_long_question_some_words_are_compared() {
        let words: String = (0..20_000).map(|n| format!("word{n} ")).collect();
        let question = words + "zebra";
        let passages = [("word0", "word1"), ("zebra", "")];
        let mut matcher = Matcher::new(Language::English, passages, None);
        let matches = matcher.compare(&question).await.unwrap();
        assert_eq!((matches.words, matches.passages[0].passage), (ASKED, 0));
        assert_eq!(matches.passages[1].covered, 0.0);
    }

    #[tokio::test]
    async fn texts_without_words_match_nothing() {
        for question in ["", "the of and", "\u{1f600}\u{1f600}", "\0"] {
            let passages = [("", ""), ("\u{1f600}", "the"), ("Parking", "Two spaces.")];
            let mut matcher = Matcher::new(Language::English, passages, None);
            let matches = matcher.compare(question).await.unwrap();
            let found = matches.passages.iter();
            let sum: f32 = found.map(|it| it.covered + it.heading + it.rank).sum();
            assert_eq!(
                (matches.words, matches.known, sum),
                (0, 0.0, 0.0),
                "{question:?}"
            );
        }
    }
}
