//! Text analysis: turns text into terms (lower-case words without stop words, stemmed, without accents), and recognises its
//! language. Needs the feature `text`.

mod language;
mod matcher;
mod segment;
mod sentences;
mod stop;
mod typo;

use std::borrow::Cow;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{
    UnicodeNormalization as _,
    char::{decompose_canonical, is_combining_mark},
};

use self::{language::probable_language, stop::is_stop_word};
pub use self::{
    language::{language_of, question_language},
    matcher::{Match, Matcher, Matches},
    sentences::sentences,
};
use crate::memory::Language;

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

/// Splits a text into terms, in order. Accents are removed because people leave them out in chat. Scripts without spaces between
/// words are split with a dictionary (Chinese, Japanese, Thai, Lao, Khmer, Burmese).
///
/// ```
/// use konstruct_core::memory::Language;
/// use konstruct_core::text::terms;
///
/// assert_eq!(terms(Language::English, "Hi! When are you OPENING on Saturdays?"), ["open", "saturday"]);
/// assert_eq!(terms(Language::German, "die Öffnungszeiten"), ["offnungszeit"]);
/// assert_eq!(terms(Language::Spanish, "las reservas y una reservacion"), ["reserv", "reserv"]);
/// assert_eq!(terms(Language::English, "ร้านเปิดวันเสาร์"), ["ร้าน", "เปิด", "วัน", "เสาร์"]);
/// ```
pub fn terms(language: Language, text: &str) -> Vec<String> {
    let analyzer = Analyzer::new(language);
    analyzer
        .words(text)
        .filter_map(|word| analyzer.term(&word))
        .collect()
}

/// A word of a text that is not a stop word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Word {
    /// The word in lower case.
    pub text: String,
    /// Its term in each language in which the text may be written.
    pub terms: Vec<String>,
}

/// Splits a text into the words from which [`terms`] makes its terms.
pub fn words_of(language: Language, text: &str) -> Vec<Word> {
    let analyzer = Analyzer::new(language);
    analyzer
        .words(text)
        .filter_map(|text| {
            let terms = vec![analyzer.term(&text)?];
            Some(Word { text, terms })
        })
        .collect()
}

/// Splits a question into words, each with its terms in the question's language, if it can be recognised, and in `usual`. A
/// document in either of them is found.
pub fn question_words(usual: Language, question: &str) -> Vec<Word> {
    let spoken = Analyzer::new(question_language(question, usual));
    let probable = Analyzer::new(probable_language(question).unwrap_or(usual));
    let usual = Analyzer::new(usual);
    spoken
        .words(question)
        .filter(|word| spoken.term(word).is_some())
        .map(|text| {
            let terms = [&probable, &usual].map(|it| it.term(&text));
            let mut terms: Vec<String> = terms.into_iter().flatten().collect();
            terms.dedup();
            Word { text, terms }
        })
        .collect()
}

/// Returns whether a text contains a name, as whole words and without regard to case and accents. In scripts without spaces
/// between words the name may stand anywhere, and endings after an apostrophe and particles of Korean are ignored. A name of one letter
/// must follow an `@`, because it is a word, or a part of one, in many texts.
///
/// ```
/// use konstruct_core::text::contains_name;
///
/// assert!(contains_name("hey AVA, are you open?", "Ava"));
/// assert!(contains_name("小美你们几点开门", "小美"));
/// assert!(!contains_name("I have a java question", "Ava"));
/// ```
pub fn contains_name(text: &str, name: &str) -> bool {
    let fold = |word: String| into_unaccented(word);
    let letters = words(name).into_iter().map(fold).collect::<String>();
    if letters.chars().count() == 1 {
        let addressed = text.split(['@', '\u{ff20}']).skip(1);
        let mut first = addressed.filter_map(|after| words(after).into_iter().next());
        return first.any(|word| fold(word) == letters);
    }
    if name.contains(segment::needs_dictionary) {
        let squeezed = |text: &str| words(text).into_iter().map(fold).collect::<String>();
        let name = squeezed(name);
        return !name.is_empty() && squeezed(text).contains(&name);
    }
    let name: Vec<String> = words(name).into_iter().map(fold).collect();
    let text: Vec<String> = words(text).into_iter().map(fold).collect();
    let Some((last, first)) = name.split_last() else {
        return false;
    };
    text.windows(name.len()).any(|words| {
        let ends = words[first.len()].strip_prefix(last.as_str());
        words.starts_with(first) && ends.is_some_and(is_ending)
    })
}

/// Returns whether the rest of a word after a name is an ending: none, one after an apostrophe, or a particle of Korean.
fn is_ending(rest: &str) -> bool {
    let hangul = |c| matches!(c, '\u{ac00}'..='\u{d7a3}');
    rest.is_empty()
        || rest.starts_with('\'')
        || rest.chars().count() <= 2 && rest.chars().all(hangul)
}

/// Stems the words of a language.
struct Analyzer {
    language: Language,
    stemmer: Stemmer,
}

impl Analyzer {
    fn new(language: Language) -> Self {
        Self {
            language,
            stemmer: Stemmer::create(algorithm(language)),
        }
    }

    /// Splits a text into lower-case words, including stop words.
    fn words(&self, text: &str) -> impl Iterator<Item = String> + use<> {
        let language = self.language;
        let words = words(text).into_iter();
        words.flat_map(move |word| split_apostrophe(language, word))
    }

    /// Returns the term of a word; `None` for a stop word.
    fn term(&self, word: &str) -> Option<String> {
        let word = respell(self.language, word);
        let stop = is_stop_word(self.language, &unaccented(&word));
        (!stop).then(|| into_unaccented(self.stemmer.stem(&word).into_owned()))
    }
}

/// Splits text into lower-case words of letters and digits, with apostrophes inside a word kept. Unicode's compatible forms are
/// one word: `ﬁt` is `fit`.
fn words(text: &str) -> Vec<String> {
    let part = |c: char| !c.is_alphanumeric() && !is_combining_mark(c) && c != '\'';
    let trimmed = |word: &str| {
        let word = word.trim_matches('\'');
        (!word.is_empty()).then(|| word.to_owned())
    };
    if text.is_ascii() {
        return text
            .to_ascii_lowercase()
            .split(part)
            .filter_map(trimmed)
            .collect();
    }
    let visible = text.nfkc().filter(|c| !is_invisible(*c));
    let text: String = visible.map(fold).flat_map(char::to_lowercase).collect();
    let words = text.split(part);
    words
        .flat_map(|word| match word.contains(segment::needs_dictionary) {
            true => segment::words(word).filter_map(trimmed).collect(),
            false => Vec::from_iter(trimmed(word)),
        })
        .collect()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Folds letters that people often type as others, and that Unicode does not decompose.
fn fold(c: char) -> char {
    match c {
        '’' | 'ʼ' | '‘' => '\'',
        'ı' | 'İ' => 'i',
        'đ' | 'Đ' | 'ð' | 'Ð' => 'd',
        'ħ' | 'Ħ' => 'h',
        'ŧ' | 'Ŧ' => 't',
        'ł' | 'Ł' => 'l',
        'ø' | 'Ø' => 'o',
        'ς' => 'σ',
        c => c,
    }
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
fn respell(language: Language, word: &str) -> String {
    let ended = |from: &str, to: &str| word.strip_suffix(from).map(|begin| format!("{begin}{to}"));
    match language {
        Language::Spanish => ended("cion", "ción").or_else(|| ended("sion", "sión")),
        Language::Portuguese => ended("cao", "ção").or_else(|| ended("coes", "ções")),
        Language::German => return umlauts(word),
        // English words do not need accents.
        Language::English => return unaccented(word).into_owned(),
        _ => None,
    }
    .unwrap_or_else(|| word.to_owned())
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

/// Removes the accents of a word. In other scripts than Latin, Greek and Cyrillic a mark is part of the letter, except for the
/// vowel signs of Arabic, which are usually left out.
fn unaccented(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        return Cow::Borrowed(word);
    }
    let mut out = String::with_capacity(word.len());
    for letter in word.nfc() {
        match letter {
            'ß' => out.push_str("ss"),
            'œ' => out.push_str("oe"),
            'æ' => out.push_str("ae"),
            'þ' => out.push_str("th"),
            '\u{300}'..='\u{36f}' | '\u{640}' | '\u{64b}'..='\u{652}' => {}
            '\u{c0}'..='\u{52f}' | '\u{1e00}'..='\u{1fff}' => {
                decompose_canonical(letter, |part| {
                    if !is_combining_mark(part) {
                        out.push(part);
                    }
                });
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_words_in_any_script() {
        let check = |name: &str, text: &str, expected: bool| {
            assert_eq!(contains_name(text, name), expected, "{name} in {text}");
        };
        for (name, text) in [
            ("Ava", "ava?"),
            ("Ava", "@AVA, open?"),
            ("Ava", "thanks,Ava!"),
            ("Ava", "Ava's answer"),
            ("Ava", "Ava’ya sor"),
            ("Ava", "Ａｖａ"),
            ("Ava", "A\u{200b}va"),
            ("Ava", "Ava你好"),
            ("Zoë", "zoe, hallo"),
            ("Zoe", "Zoë"),
            ("Jörg Weiß", "hallo jörg WEISS"),
            ("Front Desk", "dear front  desk:"),
            ("O'Neil", "Hi O’Neil"),
            ("Ольга", "ольга, привет"),
            ("ΝΙΚΟΣ", "γεια Νίκος"),
            ("小美", "小美你们几点开门"),
            ("さくら", "さくらさん、おはよう"),
            ("มะลิ", "สวัสดีมะลิ"),
            ("지수", "지수야 안녕"),
            ("지수", "안녕 지수"),
            ("سارة", "مرحبا سارة"),
            ("رنا", "يا رَنا"),
            ("अदिति", "अदिति, नमस्ते"),
            ("A", "hello @a, are you open?"),
            ("美", "@美 你好"),
        ] {
            check(name, text, true);
        }
        for (name, text) in [
            ("Ava", "java"),
            ("Ava", "available"),
            ("Ava", "av a"),
            ("Front Desk", "front of the desk"),
            ("Front Desk", "desk front"),
            ("Ольга", "ольгация"),
            ("小美", "大美"),
            ("अदिति", "अदितिका"),
            ("Ava", ""),
            ("", "hello"),
            ("?!", "hello?!"),
            ("A", "I want a bike"),
            ("A", "mail me at x@acme.example"),
            ("美", "美国"),
        ] {
            check(name, text, false);
        }
    }

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
    fn letters_that_people_type_as_others_are_equal() {
        let check = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| terms(Language::English, text));
            assert!(!a.is_empty());
            assert_eq!(a, b);
        };
        check("KAPALI kapalı", "kapali kapali");
        check("açık", "acik");
        check("đặt bàn", "dat ban");
        check("İstanbul", "istanbul");
        check("mis\u{fb01}ts di\u{fb00}erently", "misfits differently");
        check("ｆｕｌｌ １２", "full 12");
        check("re\u{ad}fund pri\u{200b}ces", "refund prices");
        check("Straße œuvre Ørsted łódź", "strasse oeuvre orsted lodz");
        check("مُحَمَّد", "محمد");
        check("ΟΔΟΣ", "οδος");
        check("ｶﾞﾗｽ", "ガラス");
    }

    #[test]
    fn marks_that_are_part_of_a_letter_stay() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(terms(Language::English, text), expected);
        };
        check("สวัสดี", &["สวัสดี"]);
        check("ガラス", &["ガラス"]);
        check("दुकान", &["दुकान"]);
    }

    #[test]
    fn scripts_without_spaces_are_split_into_words() {
        let check = |text: &str, wanted: &[&str]| {
            let found = terms(Language::English, text);
            for word in wanted {
                assert!(found.iter().any(|term| term == word), "{word} in {found:?}");
            }
        };
        check("ร้านเปิดวันเสาร์กี่โมง", &["เปิด", "เสาร์", "โมง"]);
        check("เวลาทำการวันเสาร์", &["เสาร์"]);
        check("土曜日の営業時間", &["営業", "時間"]);
        check("请问营业时间是几点", &["营业", "时间"]);
        check("ហាងបើកថ្ងៃសៅរ៍", &["ហាង", "សៅរ៍"]);
        check("iPhone修理いくら", &["iphon", "修理"]);
    }

    #[test]
    fn a_question_has_the_terms_of_its_own_and_of_the_usual_language() {
        let terms = |usual, question| -> Vec<Vec<String>> {
            let words = question_words(usual, question).into_iter();
            words.map(|word| word.terms).collect()
        };
        let found = terms(Language::English, "wann sind die Öffnungszeiten am Samstag");
        assert_eq!(
            found,
            [vec!["offnungszeit", "offnungszeiten"], vec!["samstag"],]
        );
        let found = terms(Language::German, "are you open on saturdays");
        assert_eq!(found[0], ["open"]);
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
