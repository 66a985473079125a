//! From text to terms: words in lower case, without those that say nothing, cut to their stems.

use std::collections::HashMap;

use konstruct_core::Language;
use rust_stemmers::{Algorithm, Stemmer};

fn algorithm(language: Language) -> Algorithm {
    match language {
        Language::German => Algorithm::German,
        Language::Spanish => Algorithm::Spanish,
        Language::French => Algorithm::French,
        Language::Italian => Algorithm::Italian,
        Language::Portuguese => Algorithm::Portuguese,
        Language::Dutch => Algorithm::Dutch,
        // A language that this build does not know yet.
        _ => Algorithm::English,
    }
}

/// Words that say nothing about what a text is about, in order. Among them is the small talk around a question.
fn stop_words(language: Language) -> &'static [&'static str] {
    match language {
        Language::English => ENGLISH,
        Language::German => GERMAN,
        // BM25 gives frequent words little weight by itself; lists for these come with their first tenants.
        _ => &[],
    }
}

/// Cuts a text into terms, in their order.
///
/// ```
/// use konstruct_core::Language;
/// use konstruct_memory::terms;
///
/// assert_eq!(terms(Language::English, "Hi! When are you OPENING on Saturdays?"), ["open", "saturday"]);
/// assert_eq!(terms(Language::German, "die Öffnungszeiten"), ["offnungszeit"]);
/// ```
pub fn terms(language: Language, text: &str) -> Vec<String> {
    let stemmer = Stemmer::create(algorithm(language));
    let stop = stop_words(language);
    words(text)
        .filter(|word| stop.binary_search(&word.as_str()).is_err())
        .map(|word| stemmer.stem(&word).into_owned())
        .collect()
}

/// Counts terms.
pub(crate) fn count(terms: Vec<String>) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for term in terms {
        *counts.entry(term).or_insert(0) += 1;
    }
    counts
}

/// Words of letters and digits in lower case. An apostrophe within joins: `don't` is `dont`, `Acme's` is `acme`.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’'))
        .filter_map(|word| {
            let word = word.to_lowercase().replace('’', "'");
            let word = word.trim_matches('\'');
            let word = word.strip_suffix("'s").unwrap_or(word).replace('\'', "");
            (!word.is_empty()).then_some(word)
        })
}

/// How many words a text has.
pub(crate) fn word_count(text: &str) -> usize {
    text.split_whitespace().count()
}

const ENGLISH: &[&str] = &[
    "a",
    "about",
    "after",
    "again",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "anyone",
    "are",
    "arent",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "being",
    "both",
    "but",
    "by",
    "can",
    "cannot",
    "cant",
    "could",
    "couldnt",
    "did",
    "didnt",
    "do",
    "does",
    "doesnt",
    "doing",
    "dont",
    "each",
    "either",
    "else",
    "etc",
    "ever",
    "every",
    "few",
    "for",
    "from",
    "further",
    "get",
    "gets",
    "getting",
    "give",
    "go",
    "goes",
    "going",
    "good",
    "got",
    "had",
    "has",
    "hasnt",
    "have",
    "havent",
    "having",
    "he",
    "hello",
    "help",
    "her",
    "here",
    "hers",
    "hey",
    "hi",
    "him",
    "his",
    "how",
    "i",
    "id",
    "if",
    "ill",
    "im",
    "in",
    "into",
    "is",
    "isnt",
    "it",
    "its",
    "ive",
    "just",
    "kindly",
    "know",
    "let",
    "lets",
    "like",
    "ll",
    "look",
    "looking",
    "maybe",
    "me",
    "might",
    "mine",
    "more",
    "most",
    "much",
    "my",
    "need",
    "no",
    "nor",
    "not",
    "now",
    "of",
    "off",
    "ok",
    "okay",
    "on",
    "once",
    "one",
    "only",
    "or",
    "other",
    "our",
    "ours",
    "out",
    "over",
    "own",
    "please",
    "pls",
    "question",
    "quick",
    "re",
    "really",
    "regarding",
    "s",
    "same",
    "say",
    "shall",
    "she",
    "should",
    "so",
    "some",
    "someone",
    "something",
    "still",
    "such",
    "t",
    "tell",
    "than",
    "thank",
    "thanks",
    "that",
    "thats",
    "the",
    "their",
    "theirs",
    "them",
    "then",
    "there",
    "theres",
    "these",
    "they",
    "thing",
    "things",
    "this",
    "those",
    "through",
    "to",
    "too",
    "u",
    "under",
    "until",
    "up",
    "us",
    "use",
    "ve",
    "very",
    "want",
    "wanted",
    "wants",
    "was",
    "wasnt",
    "we",
    "well",
    "were",
    "what",
    "whats",
    "when",
    "whens",
    "where",
    "wheres",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "without",
    "wont",
    "would",
    "wouldnt",
    "yes",
    "yet",
    "you",
    "youd",
    "youll",
    "your",
    "youre",
    "yours",
    "youve",
];

const GERMAN: &[&str] = &[
    "aber", "alle", "als", "also", "am", "an", "auch", "auf", "aus", "bei", "bin", "bis", "bist",
    "bitte", "da", "danke", "dann", "das", "dass", "dein", "dem", "den", "denn", "der", "des",
    "die", "dies", "diese", "dieser", "dieses", "dir", "doch", "du", "ein", "eine", "einem",
    "einen", "einer", "eines", "er", "es", "euch", "euer", "eure", "für", "gibt", "guten", "habe",
    "haben", "habt", "hallo", "hast", "hat", "hier", "ich", "ihr", "ihre", "im", "in", "ist", "ja",
    "kann", "kannst", "kein", "keine", "können", "man", "mein", "meine", "mich", "mir", "mit",
    "möchte", "nach", "nein", "nicht", "noch", "nur", "ob", "oder", "schon", "sehr", "sein",
    "sich", "sie", "sind", "so", "tag", "um", "und", "uns", "unser", "vom", "von", "vor", "wann",
    "war", "warum", "was", "wenn", "wer", "werden", "wie", "wir", "wird", "wo", "zu", "zum", "zur",
    "über",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_in_order() {
        for language in [Language::English, Language::German] {
            assert!(stop_words(language).is_sorted(), "{language:?}");
        }
    }

    #[test]
    fn words_lose_case_apostrophes_and_small_talk() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(terms(Language::English, text), expected, "{text}");
        };
        check("", &[]);
        check("can you please tell me", &[]);
        check("Acme’s bikes don't break", &["acm", "bike", "break"]);
        check("order #A-1042", &["order", "1042"]);
        check("shipping, ships, shipped", &["ship", "ship", "ship"]);
        check("naïve Ünïcode", &["naïv", "ünïcode"]);
    }
}
