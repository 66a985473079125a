//! Comma-separated values: each row is a passage.

use super::Section;
use super::word_count;

/// The most words of a first cell that is used as a title.
const TITLE: usize = 16;

/// Names of columns that contain questions; [`ANSWER`] for answers.
const QUESTION: &[&str] = &[
    "question",
    "questions",
    "q",
    "frage",
    "pregunta",
    "domanda",
    "pergunta",
    "vraag",
];
const ANSWER: &[&str] = &[
    "answer",
    "answers",
    "a",
    "antwort",
    "respuesta",
    "réponse",
    "risposta",
    "resposta",
    "antwoord",
];

/// Returns a section for each row, with the names of its columns. A table of a question column and an answer column is an FAQ.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut rows = reader.records().map_while(Result::ok).map(|row| {
        let cells = row
            .iter()
            .map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" "));
        cells.collect::<Vec<String>>()
    });
    let names = rows.next().unwrap_or_default();
    let faq = is_faq(&names);
    let sections: Vec<Section> = rows
        .filter(|row| row.iter().any(|cell| !cell.is_empty()))
        .map(|row| match row.as_slice() {
            [question, answer] if faq && !answer.is_empty() => Section {
                path: [question]
                    .into_iter()
                    .filter(|text| !text.is_empty())
                    .cloned()
                    .collect(),
                paragraphs: vec![answer.clone()],
            },
            _ => section(&names, &row),
        })
        .collect();
    if sections.is_empty() {
        // Only a header row.
        let text = names.join(", ");
        return vec![Section {
            path: Vec::new(),
            paragraphs: vec![text],
        }];
    }
    sections
}

fn section(names: &[String], row: &[String]) -> Section {
    let first = row
        .first()
        .filter(|cell| !cell.is_empty() && word_count(cell) <= TITLE);
    let named = row.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
    let lines = named.map(
        |(at, cell)| match names.get(at).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name}: {cell}"),
            None => cell.clone(),
        },
    );
    Section {
        path: first.into_iter().cloned().collect(),
        paragraphs: vec![lines.collect::<Vec<_>>().join("\n")],
    }
}

fn is_faq(names: &[String]) -> bool {
    let [question, answer] = names else {
        return false;
    };
    let is = |name: &String, known: &[&str]| known.contains(&name.to_lowercase().as_str());
    is(question, QUESTION) && is(answer, ANSWER)
}

/// Guesses the delimiter: the usual one that occurs most often in the first line, outside quotes.
fn delimiter(text: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut quoted = false;
    for byte in text.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if !quoted => {
                let count = counts.iter_mut().find(|(mark, _)| *mark == byte);
                count.into_iter().for_each(|(_, count)| *count += 1);
            }
            _ => {}
        }
    }
    // The first of equally frequent ones.
    let most = counts.iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(b',', |(mark, _)| *mark)
}
