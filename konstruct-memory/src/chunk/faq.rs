//! Questions and answers: `Q:` and `A:` lines.

use super::{
    Section,
    plain::{self, answer, question},
};

/// Returns a section for each pair. Text before the first question is plain text, and so is a text without questions.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut before = Vec::new();
    let mut pairs: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (question(line.trim()), pairs.last_mut()) {
            (Some(question), _) => pairs.push((question, Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => before.push(line),
        }
    }
    let mut sections = plain::sections(&before.join("\n"));
    for (question, lines) in pairs {
        let text = lines.join("\n");
        let paragraphs = answer(text.trim()).split("\n\n").map(str::trim);
        let paragraphs: Vec<String> = paragraphs
            .filter(|paragraph| !paragraph.is_empty())
            .map(str::to_owned)
            .collect();
        sections.push(if paragraphs.is_empty() {
            // A question without an answer is indexed too.
            Section {
                path: Vec::new(),
                paragraphs: vec![question.to_owned()],
            }
        } else {
            Section {
                path: vec![question.to_owned()],
                paragraphs,
            }
        });
    }
    sections
}
