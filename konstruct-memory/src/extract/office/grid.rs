//! Writes the rows of a sheet, each with the names of its columns.

use super::escaped;

/// The rows from which the usual width is taken.
const SAMPLE: usize = 50;

/// Returns a paragraph for each row: `Name: value; Name: value`. Rows above the names, and rows with one text across all columns,
/// are paragraphs of their own.
pub(super) fn paragraphs(rows: Vec<Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(trimmed).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().filter(|row| !row.is_empty()).collect();
    let (names, from) = names(&rows);
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        let header = !names.is_empty() && (from.0..from.1).contains(&at);
        if header && rows.len() > from.1 {
            continue;
        }
        let cells = row.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
        let line = if let Some(only) = only(row) {
            only.to_owned()
        } else if at < from.1 {
            let cells: Vec<&str> = cells.map(|(_, cell)| cell.as_str()).collect();
            cells.join("; ")
        } else {
            let cells = cells.map(|(at, cell)| match names.get(at) {
                Some(name) if !name.is_empty() => format!("{name}: {cell}"),
                _ => cell.clone(),
            });
            cells.collect::<Vec<_>>().join("; ")
        };
        out.push_str(&escaped(&line));
        out.push_str("\n\n");
    }
    out
}

fn trimmed(row: Vec<String>) -> Vec<String> {
    let words = |cell: String| cell.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut row: Vec<String> = row.into_iter().map(words).collect();
    while row.last().is_some_and(String::is_empty) {
        row.pop();
    }
    row
}

/// Returns the text of a row whose cells are all the same, as those of a merged title are.
fn only(row: &[String]) -> Option<&str> {
    let mut cells = row.iter().filter(|cell| !cell.is_empty());
    let first = cells.next()?;
    cells.all(|cell| cell == first).then_some(first.as_str())
}

fn width(row: &[String]) -> usize {
    row.iter().filter(|cell| !cell.is_empty()).count()
}

/// Returns the names of the columns and the rows that hold them: the first row of the usual width, if it has no numbers. Names
/// that are merged over several columns are joined with those of the row below.
fn names(rows: &[Vec<String>]) -> (Vec<String>, (usize, usize)) {
    let sample = || rows.iter().take(SAMPLE).filter(|row| only(row).is_none());
    let usual = sample()
        .map(|row| width(row))
        .filter(|width| *width > 1)
        .max_by_key(|wanted| {
            (
                sample().filter(|row| width(row) == *wanted).count(),
                *wanted,
            )
        });
    let Some(usual) = usual else {
        return (Vec::new(), (0, 0));
    };
    let first = rows
        .iter()
        .position(|row| only(row).is_none() && width(row) >= usual);
    let Some(first) = first else {
        return (Vec::new(), (0, 0));
    };
    let is_header = |row: &[String]| row.iter().all(|cell| !has_value(cell));
    let row = &rows[first];
    if !is_header(row) {
        return (Vec::new(), (first, first));
    }
    let repeated = row
        .windows(2)
        .any(|pair| !pair[0].is_empty() && pair[0] == pair[1]);
    match rows.get(first + 1) {
        Some(below) if repeated && is_header(below) => {
            let name = |at: usize| match (row.get(at), below.get(at)) {
                (Some(one), Some(two)) if one != two && !two.is_empty() => format!("{one} {two}"),
                (Some(name), _) | (None, Some(name)) => name.clone(),
                (None, None) => String::new(),
            };
            let names = (0..row.len().max(below.len())).map(|at| name(at).trim().to_owned());
            (names.collect(), (first, first + 2))
        }
        _ => (row.clone(), (first, first + 1)),
    }
}

/// Returns whether a cell is a number, a price, a date or a time rather than a name.
fn has_value(cell: &str) -> bool {
    let digits = cell.chars().filter(char::is_ascii_digit).count();
    let letters = cell.chars().filter(|c| c.is_alphabetic()).count();
    digits > 0 && digits >= letters
}
