//! Long passages into shorter ones.

/// A longer passage is parted.
pub(super) const LONGEST: usize = 120;
/// The bytes of a long word: what is longer counts for several.
const WORD: usize = 64;
/// Paragraphs are put together up to so many words when a long passage is parted.
const GOAL: usize = 80;

/// How many words a text is as long as: a text without blanks is not one word.
fn length(text: &str) -> usize {
    text.split_whitespace()
        .map(|word| word.len().div_ceil(WORD))
        .sum()
}

/// Puts paragraphs together: all of them if they are not long, otherwise by [`GOAL`]. A paragraph that is too long by itself is
/// parted at its lines or sentences.
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

/// Puts pieces together up to the goal.
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

/// The lines of a paragraph, or its sentences; what is still too long is cut between words.
fn sentences(paragraph: &str) -> Vec<(&'static str, String)> {
    let mut pieces = Vec::new();
    for line in paragraph.lines() {
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

/// A sentence ends at a mark with a blank after it: `9.30` is none.
fn by_sentence(line: &str) -> impl Iterator<Item = &str> {
    let mut ended = false;
    line.split_inclusive(move |c: char| {
        let end = ended && c.is_whitespace();
        ended = matches!(c, '.' | '!' | '?' | '。');
        end
    })
    .map(str::trim)
}

/// Cuts what has no end into pieces of at most [`GOAL`] words.
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
