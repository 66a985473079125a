//! Splits a text into the pieces of the table, as the encoder's own tokenizer does (SentencePiece, "unigram"): of all ways to
//! compose the text of pieces, the most probable one.

use unicode_normalization::UnicodeNormalization as _;

use super::table::Table;

/// What stands for a space in a piece.
const SPACE: char = '▁';
/// The place of text that no piece covers.
pub(super) const UNKNOWN: u32 = u32::MAX;
/// How much less probable a character that no piece covers is than the least probable piece.
const UNKNOWN_PENALTY: f64 = 10.0;

/// Returns the places of a text's pieces in the table.
pub(super) fn pieces(table: &Table, text: &str) -> Vec<u32> {
    /// The best way to compose the text up to a byte.
    #[derive(Clone, Copy)]
    struct Best {
        score: f64,
        begin: usize,
        piece: u32,
    }
    let lowest = table.lowest_score();
    let text = normalized(text);
    let unreached = Best {
        score: f64::NEG_INFINITY,
        begin: 0,
        piece: UNKNOWN,
    };
    let mut best = vec![unreached; text.len() + 1];
    best[0].score = 0.0;
    for (begin, character) in text.char_indices() {
        let score = best[begin].score;
        // At equal scores the piece that begins first wins: it was entered first.
        let mut enter = |length: usize, piece: u32, score: f64| {
            let end = &mut best[begin + length];
            if score > end.score {
                *end = Best {
                    score,
                    begin,
                    piece,
                };
            }
        };
        let mut single = false;
        table.beginnings(&text[begin..], |length, piece| {
            single |= length == character.len_utf8();
            enter(length, piece, score + table.score(piece));
        });
        if !single {
            enter(
                character.len_utf8(),
                UNKNOWN,
                score + lowest - UNKNOWN_PENALTY,
            );
        }
    }
    let mut pieces = Vec::new();
    let mut end = text.len();
    while end > 0 {
        pieces.push(best[end].piece);
        end = best[end].begin;
    }
    pieces.reverse();
    pieces
}

/// Returns a text in Unicode's normal form KC, with one mark before each word and no other white space.
fn normalized(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut between = true;
    let mut add = |character: char| {
        if is_space(character) {
            between = true;
            return;
        }
        if std::mem::take(&mut between) {
            out.push(SPACE);
        }
        out.push(character);
    };
    if text.is_ascii() {
        text.chars().for_each(&mut add);
    } else {
        // The full-width tilde is a letter of its own for the encoder.
        for part in text.split_inclusive('～') {
            let tilde = part.strip_suffix('～');
            tilde.unwrap_or(part).nfkc().for_each(&mut add);
            if tilde.is_some() {
                add('～');
            }
        }
    }
    out
}

fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | SPACE
            | '\t'
            | '\n'
            | '\u{c}'
            | '\r'
            | '\u{1680}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffd}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_normalised() {
        let check = |text: &str, expected: &str| assert_eq!(normalized(text), expected, "{text:?}");
        check("", "");
        check(" \t\u{200b}\n", "");
        check(" a  b\u{a0}c\u{3000}d ", "▁a▁b▁c▁d");
        check("ﬁ １２ ㎏ ①", "▁fi▁12▁kg▁1");
        check("▁x", "▁x");
        check("e\u{301}", "▁é");
        check("5～6 ~", "▁5～6▁~");
    }
}
