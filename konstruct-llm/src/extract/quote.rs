//! Selects the sentences of a passage that answer a question.

use konstruct_core::{
    memory::Language,
    text::{sentences, terms},
};

/// The maximum length of a passage that is quoted whole.
const SHORT: usize = 420;
/// The maximum number of sentences quoted from a longer one.
const SENTENCES: usize = 3;

/// Quotes a short passage whole; of a long one, the best sentence and its neighbours that also match the question.
pub(super) fn quote(language: Language, question: &str, text: &str) -> String {
    let asked = terms(language, question);
    let text = text.trim();
    let sentences = sentences(text);
    if text.len() <= SHORT || sentences.len() <= SENTENCES {
        return text.to_owned();
    }
    let scores: Vec<f32> = sentences
        .iter()
        .map(|sentence| score(language, &asked, sentence))
        .collect();
    // The first of equals, because a passage starts with its main point.
    let best = (0..scores.len())
        .rev()
        .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
        .unwrap_or(0);
    let (mut from, mut to) = (best, best);
    while to - from + 1 < SENTENCES {
        let before = from.checked_sub(1).map_or(0.0, |at| scores[at]);
        let after = scores.get(to + 1).copied().unwrap_or(0.0);
        if before.max(after) <= 0.0 {
            break;
        }
        if after >= before {
            to += 1;
        } else {
            from -= 1;
        }
    }
    sentences[from..=to].join(" ")
}

/// Returns the share of the question's terms in a sentence.
fn score(language: Language, asked: &[String], sentence: &str) -> f32 {
    let own = terms(language, sentence);
    let found = asked.iter().filter(|term| own.contains(term)).count();
    found as f32 / asked.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_passage_is_cut_to_the_answer() {
        let filler =
            "The workshop is behind the shop and full of tools that we are proud of. ".repeat(8);
        let text = format!("{filler}A puncture costs 15 euros. {filler}");
        let quoted = quote(Language::English, "What does a puncture cost?", &text);
        assert!(quoted.contains("A puncture costs 15 euros."), "{quoted}");
        assert!(quoted.len() < 300, "{quoted}");
    }
}
