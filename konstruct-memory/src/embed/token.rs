//! Tokenizes text like the uncased English BERT: lower case, no accents, words and punctuation separated, and each word split
//! into the longest known tokens from left to right.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// The most bytes of a word; a longer one has no tokens.
const LONGEST: usize = 100;

/// Returns the tokens of a text. `find` looks up a part, given whether it begins a word. A word that cannot be split into known
/// tokens is skipped.
pub(super) fn tokens<'a, T: 'a>(
    text: &'a str,
    find: impl Fn(&str, bool) -> Option<T> + Copy + 'a,
) -> impl Iterator<Item = T> + 'a {
    text.split_whitespace().flat_map(move |piece| {
        let piece = normalized(piece);
        parts(&piece)
            .flat_map(|word| word_tokens(word, find))
            .collect::<Vec<_>>()
    })
}

/// Returns a piece in lower case, without accents and invisible characters.
fn normalized(piece: &str) -> String {
    if piece.is_ascii() {
        let visible = piece.chars().filter(|c| !c.is_control());
        return visible.map(|c| c.to_ascii_lowercase()).collect();
    }
    let visible = piece.chars().filter(|c| !is_invisible(*c));
    visible
        .flat_map(char::to_lowercase)
        .nfd()
        .filter(|c| !is_combining_mark(*c))
        .collect()
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{fffd}' | '\u{ad}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}')
}

/// Splits a piece into words. Each punctuation mark and each Chinese character is a part of its own.
fn parts(piece: &str) -> impl Iterator<Item = &str> {
    let mut rest = piece;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = if stands_alone(first) {
            first.len_utf8()
        } else {
            rest.find(stands_alone).unwrap_or(rest.len())
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

fn stands_alone(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation();
    }
    matches!(c,
        // Punctuation.
        '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{2043}' | '\u{2045}'..='\u{2051}'
        | '\u{2053}'..='\u{205e}' | '\u{207d}' | '\u{207e}' | '\u{2308}'..='\u{230b}' | '\u{2329}' | '\u{232a}' | '\u{3001}'..='\u{3003}'
        | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{30fb}' | '\u{ff01}'..='\u{ff03}' | '\u{ff05}'..='\u{ff0a}'
        | '\u{ff0c}'..='\u{ff0f}' | '\u{ff1a}' | '\u{ff1b}' | '\u{ff1f}' | '\u{ff20}' | '\u{ff3b}'..='\u{ff3d}' | '\u{ff61}'..='\u{ff65}'
        // Chinese characters.
        | '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{2ceaf}' | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}

fn word_tokens<T>(word: &str, find: impl Fn(&str, bool) -> Option<T>) -> Vec<T> {
    let mut tokens = Vec::with_capacity(1);
    if word.chars().nth(LONGEST).is_some() {
        return tokens;
    }
    let mut from = 0;
    while from < word.len() {
        let rest = &word[from..];
        let ends = rest.char_indices().rev().map(|(at, c)| at + c.len_utf8());
        let longest = ends
            .into_iter()
            .find_map(|end| Some((find(&rest[..end], from == 0)?, end)));
        let Some((token, end)) = longest else {
            return Vec::new();
        };
        tokens.push(token);
        from += end;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VOCABULARY: &[&str] = &[
        "un", "##aff", "##able", "want", "##ed", "the", "refund", "##s", "!", ",", "'", "cafe",
        "don", "t", "中", "文", "-", "9", "##0", "¿", "$",
    ];

    fn check(text: &str, expected: &[&str]) {
        let find = |part: &str, begins: bool| {
            VOCABULARY
                .iter()
                .find(|token| match token.strip_prefix("##") {
                    Some(rest) => !begins && rest == part,
                    None => begins && **token == part,
                })
        };
        let found: Vec<&str> = tokens(text, find).copied().collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn text_becomes_the_tokens_of_the_vocabulary() {
        check("", &[]);
        check("The refunds!", &["the", "refund", "##s", "!"]);
        check("UNwanted unaffable", &["un", "##aff", "##able"]);
        check("wanted,the", &["want", "##ed", ",", "the"]);
        check("don't", &["don", "'", "t"]);
        check("Café cafe\u{301} CAFÉ", &["cafe", "cafe", "cafe"]);
        check("中文the", &["中", "文", "the"]);
        check("¿refund\u{200b}s\u{0}?", &["¿", "refund", "##s"]);
        check("$90", &["$", "9", "##0"]);
        check("the\u{a0}the\nthe", &["the", "the", "the"]);
        check("xyz want", &["want"]);
        check(&"want".repeat(50), &[]);
    }

    proptest! {
        #[test]
        fn any_text_is_made_of_words_and_marks(text in ".{0,200}") {
            let kept: Vec<String> = text.split_whitespace().map(normalized).collect();
            for piece in kept {
                let together: String = parts(&piece).collect();
                prop_assert_eq!(together, piece);
            }
            tokens(&text, |_, _| Some(())).count();
        }
    }
}
