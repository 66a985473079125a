//! Splits long passages.

/// The most words of a passage that is not split.
pub(super) const LONGEST: usize = 120;
/// The most bytes of a word: a longer one counts as several.
const WORD: usize = 64;
/// The number of words up to which paragraphs are joined when a long passage is split.
const GOAL: usize = 80;

/// Returns the length of a text in words. Long runs without whitespace count as several words.
fn length(text: &str) -> usize {
    text.split_whitespace()
        .map(|word| word.len().div_ceil(WORD))
        .sum()
}

/// Joins paragraphs: all of them if they are short, otherwise up to [`GOAL`] words each. A paragraph that is too long is split at
/// its lines or sentences.
pub(super) fn parts(paragraphs: &[String]) -> Vec<String> {
    if length(&paragraphs.join("\n")) <= LONGEST {
        let text = paragraphs.join("\n\n");
        return if text.is_empty() { vec![] } else { vec![text] };
    }
    let mut pieces = Vec::new();
    for paragraph in paragraphs {
        if length(paragraph) <= LONGEST {
            pieces.push(("\n\n", paragraph.clone()));
        } else {
            let mut first = "\n\n";
            for (gap, piece) in sentences(paragraph) {
                pieces.push((std::mem::replace(&mut first, gap), piece));
            }
        }
    }
    join(pieces)
}

/// Joins pieces up to [`GOAL`] words.
fn join(pieces: Vec<(&str, String)>) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut words = usize::MAX;
    for (gap, piece) in pieces {
        let more = length(&piece);
        match parts.last_mut() {
            Some(last) if words < GOAL && words + more <= LONGEST => {
                last.push_str(gap);
                last.push_str(&piece);
                words += more;
            }
            _ => {
                parts.push(piece);
                words = more;
            }
        }
    }
    parts
}

/// Splits a paragraph into its lines and sentences. Longer ones are cut between words.
fn sentences(paragraph: &str) -> Vec<(&'static str, String)> {
    let mut pieces = Vec::new();
    for line in paragraph.lines() {
        if is_whole(line) && length(line) <= GOAL {
            pieces.push(("\n", line.trim_end().to_owned()));
            continue;
        }
        let mut gap = "\n";
        for sentence in by_sentence(line).flat_map(cut) {
            if !sentence.is_empty() {
                pieces.push((gap, sentence));
                gap = " ";
            }
        }
    }
    pieces
}

/// Returns whether a line is an item of a list or indented, as in code.
fn is_whole(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    line.starts_with([' ', '\t'])
        || line.starts_with("- ")
        || (digits > 0 && line[digits..].starts_with(". "))
}

/// Splits a line into sentences. A sentence ends at a punctuation mark followed by whitespace, so not within `9.30`.
fn by_sentence(line: &str) -> impl Iterator<Item = &str> {
    let mut ended = false;
    line.split_inclusive(move |c: char| {
        let end = ended && c.is_whitespace();
        ended = matches!(c, '.' | '!' | '?' | '。');
        end
    })
    .map(str::trim)
}

/// Cuts a long sentence into pieces of at most [`GOAL`] words.
fn cut(sentence: &str) -> Vec<String> {
    if length(sentence) <= LONGEST {
        return vec![sentence.to_owned()];
    }
    let mut pieces = vec![String::new()];
    let mut words = 0;
    for word in sentence.split_whitespace() {
        let characters: Vec<char> = word.chars().collect();
        // A character has at most four bytes.
        let whole = word.len() <= WORD;
        let most = if whole { WORD } else { WORD / 4 };
        for bit in characters.chunks(most) {
            if words >= GOAL {
                pieces.push(String::new());
                words = 0;
            }
            if let Some(last) = pieces.last_mut() {
                last.extend(bit);
            }
            words += 1;
        }
        if let Some(last) = pieces.last_mut() {
            last.push(' ');
        }
    }
    pieces.iter().map(|piece| piece.trim().to_owned()).collect()
}
