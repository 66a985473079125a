//! Turns texts into units: passages of hashed stems, and the texts to embed.

use std::collections::HashMap;

use konstruct_core::{
    memory::Language,
    text::{language_of, terms},
    turn::SpokenMessage,
};

use super::backend::{Passage, Stem};
use crate::seal::TenantKey;

/// Longer messages are split into passages of about this many words, so that a detail is not lost in a long reply.
const PASSAGE_WORDS: usize = 80;
/// The number of words of the previous message that a message is also found by.
const BEFORE_WORDS: usize = 80;

/// Analyses a text under a heading.
pub(super) fn passage(key: &TenantKey, language: Language, heading: &str, text: &str) -> Passage {
    let (heading, text) = (terms(language, heading), terms(language, text));
    let length = heading.len() + text.len();
    let mut counts: HashMap<String, (u32, u32)> = HashMap::new();
    for (stem, n) in count(text) {
        counts.entry(stem).or_default().0 = n;
    }
    for (stem, n) in count(heading) {
        counts.entry(stem).or_default().1 = n;
    }
    let mut stems: Vec<Stem> = counts
        .into_iter()
        .map(|(stem, (text, heading))| Stem {
            hash: stem_hash(key, &stem),
            text: u16::try_from(text).unwrap_or(u16::MAX),
            heading: u8::try_from(heading).unwrap_or(u8::MAX),
        })
        .collect();
    stems.sort_unstable_by_key(|stem| stem.hash);
    Passage {
        stems,
        terms: u16::try_from(length).unwrap_or(u16::MAX),
        vector: None,
    }
}

/// Counts each term.
fn count(terms: Vec<String>) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for term in terms {
        *counts.entry(term).or_insert(0) += 1;
    }
    counts
}

/// Returns the hash under which a stem is indexed.
pub(super) fn stem_hash(key: &TenantKey, stem: &str) -> [u8; 16] {
    key.hash("stem", stem.as_bytes())
}

/// Analyses a message. Each passage is found by its own words, which count twice, by the name of the speaker, and by the previous
/// message.
pub(super) fn message(
    key: &TenantKey,
    language: Language,
    said: &SpokenMessage,
    before: Option<&SpokenMessage>,
) -> Vec<Passage> {
    let language = language_of(&said.text, language);
    let before = before.map_or("", |before| last_words(&before.text, BEFORE_WORDS));
    parts(&said.text)
        .into_iter()
        .map(|part| {
            passage(
                key,
                language,
                &said.name,
                &format!("{part}\n{part}\n{before}"),
            )
        })
        .collect()
}

/// Splits a message into passages, at the ends of lines or sentences if possible.
pub(super) fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut words, mut end) = (0, 0, None);
    let mut in_word = false;
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            if in_word {
                words += 1;
                if c == '\n' || matches!(last, '.' | '!' | '?' | ':' | ';') {
                    end = Some(at);
                }
                if words >= PASSAGE_WORDS {
                    // A sentence that began in the first half continues in the next passage.
                    let cut = end.filter(|end| end - from > (at - from) / 2).unwrap_or(at);
                    parts.push(text[from..cut].trim());
                    words = text[cut..at].split_whitespace().count();
                    (from, end) = (cut, None);
                }
            }
            in_word = false;
        } else {
            in_word = true;
            last = c;
        }
    }
    let rest = text[from..].trim();
    if !rest.is_empty() || parts.is_empty() {
        parts.push(rest);
    }
    parts
}

/// Returns the last words of a text.
fn last_words(text: &str, words: usize) -> &str {
    let mut starts = text
        .char_indices()
        .rev()
        .zip(
            text.char_indices()
                .rev()
                .skip(1)
                .map(|(_, c)| c)
                .chain([' ']),
        )
        .filter(|((_, c), before)| !c.is_whitespace() && before.is_whitespace())
        .map(|((at, _), _)| at);
    starts
        .nth(words.saturating_sub(1))
        .map_or(text, |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_split_without_loss() {
        let sentence = "one two three four five six seven eight nine ten. ";
        for text in [
            sentence.repeat(30),
            "word ".repeat(500),
            "w".repeat(900),
            String::new(),
        ] {
            let parts = parts(&text);
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                parts
                    .iter()
                    .flat_map(|part| words(part))
                    .collect::<Vec<_>>(),
                words(&text)
            );
            for part in &parts {
                assert!(
                    words(part).len() <= PASSAGE_WORDS,
                    "{} words",
                    words(part).len()
                );
            }
        }
        assert!(parts(&sentence.repeat(30))[0].ends_with("ten."));
        assert_eq!(parts("short"), ["short"]);
    }

    #[test]
    fn the_last_words_are_whole_words() {
        assert_eq!(last_words("a bc  def ghi", 2), "def ghi");
        assert_eq!(last_words("a bc", 9), "a bc");
        assert_eq!(last_words("", 9), "");
    }
}
