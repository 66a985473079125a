//! Recognises the language of a text.

use crate::memory::Language;
use whichlang::{Lang, detect_language};

/// The fewest words of a stored text for which the recognised language is believed. A wrong one hides the text.
const WORDS: usize = 8;
/// The fewest words of a question. A wrong language costs little, because the usual one is tried too.
const QUESTION_WORDS: usize = 3;
/// The most bytes that are read.
const LONGEST: usize = 4 << 10;

/// Returns the language of a stored text. `usual` is returned for a few words, and for a language without a stemmer.
pub fn language_of(text: &str, usual: Language) -> Language {
    recognised(text, WORDS).unwrap_or(usual)
}

/// Returns the language of a question.
pub fn question_language(question: &str, usual: Language) -> Language {
    recognised(question, QUESTION_WORDS).unwrap_or(usual)
}

fn recognised(text: &str, words: usize) -> Option<Language> {
    let enough = text.split_whitespace().nth(words - 1).is_some();
    enough.then(|| probable_language(text)).flatten()
}

/// Returns the most probable language of a text, however short it is; `None` for one without a stemmer.
pub(super) fn probable_language(text: &str) -> Option<Language> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    match detect_language(text) {
        Lang::Deu => Some(Language::German),
        Lang::Eng => Some(Language::English),
        Lang::Fra => Some(Language::French),
        Lang::Ita => Some(Language::Italian),
        Lang::Nld => Some(Language::Dutch),
        Lang::Por => Some(Language::Portuguese),
        Lang::Spa => Some(Language::Spanish),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_its_language_and_a_word_the_usual_one() {
        let check = |text: &str, expected: Language| {
            assert_eq!(question_language(text, Language::Dutch), expected, "{text}");
        };
        check("wann macht ihr am samstag auf", Language::German);
        check("are you open on saturday", Language::English);
        check("¿a qué hora abrís el sábado?", Language::Spanish);
        check("vous ouvrez quand le samedi", Language::French);
        check("quando aprite il sabato mattina", Language::Italian);
        check("a que horas vocês abrem no sábado", Language::Portuguese);
        check("hoe laat gaan jullie open", Language::Dutch);
        check("Samstag", Language::Dutch);
        check("วันเสาร์เปิดกี่โมง กี่ โมง", Language::Dutch);
        check("", Language::Dutch);
        let short = language_of("are you open on saturday", Language::Dutch);
        assert_eq!(short, Language::Dutch);
        let long = language_of(
            "are you open on saturday or on any other day",
            Language::Dutch,
        );
        assert_eq!(long, Language::English);
    }
}
