//! Words of scripts that are written without spaces.

use std::sync::LazyLock;

use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed, options::WordBreakInvariantOptions};

static SEGMENTER: LazyLock<WordSegmenterBorrowed<'static>> =
    LazyLock::new(|| WordSegmenter::new_dictionary(WordBreakInvariantOptions::default()));

/// Returns whether a character belongs to such a script: Thai, Lao, Burmese, Khmer, Chinese or Japanese.
pub(super) fn needs_dictionary(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Splits a text without spaces into words.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut from = 0;
    let ends = SEGMENTER.segment_str(text).skip(1);
    ends.map(move |to| &text[std::mem::replace(&mut from, to)..to])
}
