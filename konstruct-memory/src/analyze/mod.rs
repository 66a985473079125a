//! Turns text into terms: lower-case words without stop words, stemmed, without accents.

mod stop;

use std::{borrow::Cow, collections::HashMap};

use konstruct_core::memory::Language;
use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use self::stop::is_stop_word;

fn algorithm(language: Language) -> Algorithm {
    match language {
        Language::German => Algorithm::German,
        Language::Spanish => Algorithm::Spanish,
        Language::French => Algorithm::French,
        Language::Italian => Algorithm::Italian,
        Language::Portuguese => Algorithm::Portuguese,
        Language::Dutch => Algorithm::Dutch,
        // A language that this build does not support yet.
        _ => Algorithm::English,
    }
}

/// Splits a text into terms, in order. Accents are removed because people leave them out in chat.
///
/// ```
/// use konstruct_core::memory::Language;
/// use konstruct_memory::terms;
///
/// assert_eq!(terms(Language::English, "Hi! When are you OPENING on Saturdays?"), ["open", "saturday"]);
/// assert_eq!(terms(Language::German, "die Öffnungszeiten"), ["offnungszeit"]);
/// assert_eq!(terms(Language::Spanish, "las reservas y una reservacion"), ["reserv", "reserv"]);
/// ```
pub fn terms(language: Language, text: &str) -> Vec<String> {
    let stemmer = Stemmer::create(algorithm(language));
    let mut terms = Vec::new();
    for word in words(text).flat_map(|word| split_apostrophe(language, word)) {
        let word = respell(language, word);
        if !is_stop_word(language, &unaccented(&word)) {
            terms.push(into_unaccented(stemmer.stem(&word).into_owned()));
        }
    }
    terms
}

/// Counts each term.
pub(crate) fn count(terms: Vec<String>) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for term in terms {
        *counts.entry(term).or_insert(0) += 1;
    }
    counts
}

/// Splits text into lower-case words of letters and digits, with apostrophes inside a word kept.
fn words(text: &str) -> impl Iterator<Item = String> {
    let part = |c: char| !c.is_alphanumeric() && !is_combining_mark(c) && !matches!(c, '\'' | '’');
    text.split(part).filter_map(|word| {
        if word.is_ascii() {
            let word = word.trim_matches('\'');
            return (!word.is_empty()).then(|| word.to_ascii_lowercase());
        }
        let word: String = word.to_lowercase().replace('’', "'").nfc().collect();
        let word = word.trim_matches('\'');
        (!word.is_empty()).then(|| word.to_owned())
    })
}

/// Handles apostrophes. In French and Italian an apostrophe ends a word (`l'adresse`). In other languages a final `'s` and all
/// apostrophes are dropped: `don't` becomes `dont`, `Acme's` becomes `acme`.
fn split_apostrophe(language: Language, word: String) -> impl Iterator<Item = String> {
    let (mut whole, mut parts) = (None, Vec::new());
    if !word.contains('\'') {
        whole = Some(word);
    } else if matches!(language, Language::French | Language::Italian) {
        let some = word.split('\'').filter(|part| !part.is_empty());
        parts.extend(some.map(str::to_owned));
    } else {
        whole = Some(word.strip_suffix("'s").unwrap_or(&word).replace('\'', ""));
    }
    whole.into_iter().chain(parts)
}

/// Restores the spelling that the stemmer expects: people often omit accents or write an umlaut as two letters.
fn respell(language: Language, word: String) -> String {
    let ended = |from: &str, to: &str| word.strip_suffix(from).map(|begin| format!("{begin}{to}"));
    match language {
        Language::Spanish => ended("cion", "ción").or_else(|| ended("sion", "sión")),
        Language::Portuguese => ended("cao", "ção").or_else(|| ended("coes", "ções")),
        Language::German => return umlauts(&word),
        // English words do not need accents.
        Language::English => return into_unaccented(word),
        _ => None,
    }
    .unwrap_or(word)
}

/// Turns `oeffnen` into `öffnen`. In `neue` the two letters are not an umlaut because a vowel precedes them.
fn umlauts(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut letters = word.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        let umlaut = match letter {
            'a' => 'ä',
            'o' => 'ö',
            'u' => 'ü',
            _ => letter,
        };
        let two = umlaut != letter && letters.peek() == Some(&'e');
        if two && !matches!(before, 'a' | 'e' | 'i' | 'o' | 'u' | 'ä' | 'ö' | 'ü' | 'q') {
            letters.next();
            out.push(umlaut);
            before = umlaut;
        } else {
            out.push(letter);
            before = letter;
        }
    }
    out
}

/// Removes the accents of a word.
fn unaccented(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        return Cow::Borrowed(word);
    }
    let mut out = String::with_capacity(word.len());
    for letter in word.nfd().filter(|letter| !is_combining_mark(*letter)) {
        match letter {
            'ß' => out.push_str("ss"),
            'œ' => out.push_str("oe"),
            'æ' => out.push_str("ae"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            _ => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// Removes the accents of a word, without a copy if it is ASCII.
fn into_unaccented(word: String) -> String {
    if word.is_ascii() {
        return word;
    }
    unaccented(&word).into_owned()
}

/// Counts the words of a text.
pub(crate) fn word_count(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_case_apostrophes_and_stop_words() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(terms(Language::English, text), expected, "{text}");
        };
        check("", &[]);
        check("can you please tell me", &[]);
        check("Acme’s bikes don't break", &["acm", "bike", "break"]);
        check("order #A-1042", &["order", "1042"]);
        check("shipping, ships, shipped", &["ship", "ship", "ship"]);
        check("naïve Ünïcode cafe\u{301}s", &["naiv", "unicod", "cafe"]);
    }

    #[test]
    fn a_question_finds_other_forms_of_its_words() {
        let check = |language: Language, question: &str, text: &str| {
            let (question, text) = (terms(language, question), terms(language, text));
            assert!(!question.is_empty(), "{language:?}");
            for term in &question {
                assert!(
                    text.contains(term),
                    "{language:?}: {term} of {question:?} is not in {text:?}"
                );
            }
        };
        check(
            Language::German,
            "Wie sind eure Öffnungszeiten, und kann ich eine Bestellung stornieren?",
            "Unsere Öffnungszeit am Samstag. Bestellungen zu stornieren",
        );
        check(
            Language::German,
            "oeffnen fuer Kaeufer",
            "Wir öffnen für die Käufer",
        );
        check(Language::German, "Größe der Räder", "groesse raeder neue");
        check(Language::German, "neue Fahrräder", "ein neues Fahrrad, neu");
        check(
            Language::Spanish,
            "¿Dónde están las tiendas y cómo cancelo mi reservación?",
            "la tienda; cancelamos reservaciones",
        );
        check(
            Language::Spanish,
            "la direccion del envio",
            "direcciones: el envío",
        );
        check(
            Language::French,
            "Où est l’adresse de livraison ?",
            "les adresses des livraisons",
        );
        check(
            Language::French,
            "reserver une table",
            "réservé: les tables",
        );
        check(
            Language::Italian,
            "Qual è l'indirizzo dell'ordine?",
            "gli indirizzi degli ordini",
        );
        check(
            Language::Portuguese,
            "a devolucao e as entregas",
            "devoluções, entrega",
        );
        check(
            Language::Dutch,
            "Wat zijn de openingstijden van de winkels?",
            "openingstijd winkel",
        );
    }

    #[test]
    fn small_talk_yields_no_terms_in_any_language() {
        for (language, text) in [
            (
                Language::German,
                "Hallo, können Sie mir bitte sagen, ob das für uns möglich wäre",
            ),
            (Language::Spanish, "Hola, buenos días, ¿me puede por favor"),
            (
                Language::French,
                "Bonjour, est-ce que vous pourriez s'il vous plaît",
            ),
            (Language::Italian, "Ciao, per favore, vorrei sapere se è"),
            (Language::Portuguese, "Olá, por favor, você pode"),
            (Language::Dutch, "Hallo, kunt u mij graag"),
        ] {
            let left = terms(language, text);
            assert!(left.len() <= 2, "{language:?}: {left:?}");
        }
    }
}
