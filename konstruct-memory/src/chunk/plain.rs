//! Plain text.

use super::{Section, mark::is_question, word_count};

/// Returns a section for each paragraph. A short line that is a question or ends with a colon is the heading of the text below
/// it.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut heading: Option<String> = None;
    for paragraph in paragraphs(text) {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((&paragraph, ""));
        let (title, body) = if heading.is_none() && !rest.is_empty() && is_heading(first) {
            (Some(first.trim_end_matches(':')), rest)
        } else {
            (None, paragraph.as_str())
        };
        let alone = title.is_none() && rest.is_empty() && is_heading(first);
        if let Some(title) = title.filter(|_| body.trim().is_empty()) {
            heading = Some(title.to_owned());
        } else if alone {
            heading = Some(first.trim_end_matches(':').to_owned());
        } else {
            let title = title.map(str::to_owned).or(heading.take());
            heading = None;
            sections.push(Section {
                path: title.into_iter().collect(),
                paragraphs: vec![body.trim().to_owned()],
            });
        }
    }
    if let Some(heading) = heading {
        sections.push(Section {
            path: Vec::new(),
            paragraphs: vec![heading],
        });
    }
    sections
}

/// Returns whether a line is short and ends like a question or an announcement.
fn is_heading(line: &str) -> bool {
    word_count(line) <= 16 && (is_question(line) || line.ends_with(':'))
}

/// Splits text into paragraphs at blank lines.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if !line.trim().is_empty() {
            lines.push(line.trim());
        } else if !lines.is_empty() {
            paragraphs.push(lines.join("\n"));
            lines.clear();
        }
    }
    paragraphs
}
