//! Values in rows: each row is a passage.

mod rows;

use super::Section;
use crate::chunk::word_count;

/// The most words of a cell or line that is used as a title.
const TITLE: usize = 16;

/// Names of columns that contain questions; [`ANSWER`] for answers.
const QUESTION: &[&str] = &[
    "question",
    "questions",
    "q",
    "frage",
    "fragen",
    "pregunta",
    "preguntas",
    "domanda",
    "domande",
    "pergunta",
    "perguntas",
    "vraag",
    "vragen",
    "fråga",
    "pytanie",
    "soru",
    "вопрос",
    "質問",
    "问题",
    "問題",
];
const ANSWER: &[&str] = &[
    "answer",
    "answers",
    "a",
    "antwort",
    "antworten",
    "respuesta",
    "respuestas",
    "réponse",
    "réponses",
    "reponse",
    "risposta",
    "risposte",
    "resposta",
    "respostas",
    "antwoord",
    "antwoorden",
    "svar",
    "odpowiedź",
    "cevap",
    "ответ",
    "回答",
    "答案",
    "答え",
];

/// Returns a section for each row, with the names of its columns. A table with a column of questions and one of answers is an FAQ.
/// Lines above the names of the columns are the title of the table.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut rows = rows::rows(text);
    let widths: Vec<usize> = rows.iter().map(|row| filled(row).count()).collect();
    let width = rows::commonest(&widths).unwrap_or(1);
    // The title has fewer cells than the names, which may be fewer than the values of a row.
    let above = widths
        .iter()
        .take_while(|cells| **cells < 2 && width > 1)
        .count();
    let mut title: Vec<String> = rows
        .drain(..above)
        .map(|row| filled(&row).cloned().collect())
        .collect();
    if rows.is_empty() {
        return vec![table(title.join("\n"))];
    }
    let names = if has_names(&rows) {
        rows.remove(0)
    } else {
        Vec::new()
    };
    if rows.is_empty() {
        title.push(names.join(", "));
        return vec![table(title.join("\n"))];
    }
    join_decimals(&mut rows, names.len());
    let mut sections = Vec::new();
    if title.len() > 1 || title.iter().any(|line| word_count(line) > TITLE) {
        sections.push(table(title.join("\n")));
    }
    title.truncate(1);
    title.retain(|line| word_count(line) <= TITLE);
    let pair = pair(&names, &rows);
    sections.extend(rows.iter().map(|row| section(&title, &names, row, pair)));
    sections
}

fn filled(row: &[String]) -> impl Iterator<Item = &String> {
    row.iter().filter(|cell| !cell.is_empty())
}

/// Returns a section without a title.
fn table(text: String) -> Section {
    Section {
        path: Vec::new(),
        paragraphs: vec![text],
    }
}

/// Returns whether the first row names the columns: it has no values where the other rows have them.
fn has_names(rows: &[Vec<String>]) -> bool {
    let Some((first, others)) = rows.split_first() else {
        return false;
    };
    if first.iter().any(|cell| cell.ends_with(['?', '？', '؟'])) {
        return false;
    }
    let is_value = |at: usize, cell: &String| {
        let alike = others
            .iter()
            .filter(|row| row.get(at).is_some_and(|cell| is_number(cell)));
        is_number(cell) && alike.count() * 2 > others.len()
    };
    !first
        .iter()
        .enumerate()
        .any(|(at, cell)| is_value(at, cell))
}

/// Returns whether a cell is a price, a time or an amount. A year may be the name of a column.
fn is_number(cell: &str) -> bool {
    let number = cell.trim_start_matches(|c: char| !c.is_alphanumeric());
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let letters = number.chars().filter(|c| c.is_alphabetic()).count();
    let is_year =
        cell.len() == 4 && digits == 4 && (cell.starts_with("19") || cell.starts_with("20"));
    let currency = ["EUR", "USD", "GBP", "CHF"]
        .iter()
        .any(|name| cell.starts_with(name));
    digits > 0
        && (number.starts_with(|c: char| c.is_ascii_digit()) || currency)
        && letters <= 8
        && !is_year
}

/// Joins prices that a comma has parted: `59,90` in two cells where there is a name for one.
fn join_decimals(rows: &mut [Vec<String>], names: usize) {
    let digits = |cell: &String| !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
    for row in rows
        .iter_mut()
        .filter(|row| names > 0 && row.len() == names + 1)
    {
        let pair = |pair: &[String]| digits(&pair[0]) && digits(&pair[1]) && pair[1].len() == 2;
        if let Some(at) = row.windows(2).position(pair) {
            let cents = row.remove(at + 1);
            row[at].push(',');
            row[at].push_str(&cents);
        }
    }
}

/// Returns the columns of questions and answers.
fn pair(names: &[String], rows: &[Vec<String>]) -> Option<(usize, usize)> {
    if names.is_empty() {
        let is_pair = |row: &Vec<String>| matches!(row.as_slice(), [question, _] if question.ends_with(['?', '？', '؟']));
        return rows.iter().all(is_pair).then_some((0, 1));
    }
    let find = |known: &[&str]| {
        let is = |name: &String| {
            known.contains(
                &name
                    .trim_end_matches([':', '*'])
                    .trim()
                    .to_lowercase()
                    .as_str(),
            )
        };
        names.iter().position(is)
    };
    find(QUESTION).zip(find(ANSWER))
}

fn section(
    title: &[String],
    names: &[String],
    row: &[String],
    pair: Option<(usize, usize)>,
) -> Section {
    let cell = |at: usize| row.get(at).filter(|cell| !cell.is_empty());
    let line = |at: usize| {
        let cell = cell(at)?;
        let name = names.get(at).map(|name| name.trim_end_matches(':'));
        let name = name.filter(|name| !name.is_empty());
        Some(name.map_or_else(|| cell.clone(), |name| format!("{name}: {cell}")))
    };
    let found = pair
        .and_then(|(question, answer)| Some(((question, answer), cell(question)?, cell(answer)?)));
    let (heading, lines): (Option<&String>, Vec<String>) = match found {
        Some(((question, answer), asked, said)) => {
            let others = (0..row.len())
                .filter(|at| ![question, answer].contains(at))
                .filter_map(line);
            (
                Some(asked),
                [said.clone()].into_iter().chain(others).collect(),
            )
        }
        None => (
            name_of(row).filter(|cell| word_count(cell) <= TITLE),
            (0..row.len()).filter_map(line).collect(),
        ),
    };
    Section {
        path: title.iter().chain(heading).cloned().collect(),
        paragraphs: vec![lines.join("\n")],
    }
}

/// Returns the cell that names a row: the first one, or the one after a number.
fn name_of(row: &[String]) -> Option<&String> {
    let mut first = filled(row);
    let name = first.next()?;
    let is_id = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |cell: &&String| cell.starts_with(char::is_alphabetic);
    first
        .next()
        .filter(|cell| is_id && is_name(cell))
        .or(Some(name))
}
