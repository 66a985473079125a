//! The rows of a table, however the spreadsheet wrote them.

use std::collections::BTreeMap;

/// The marks between cells, the usual one first where two part the rows equally well.
const MARKS: [char; 4] = [';', '\t', '|', ','];
/// How many rows are tried to find the mark.
const TRIED: usize = 100;

/// Returns the cells of each row that has any, with single blanks.
pub(super) fn rows(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    if let Some((mark, rest)) = declared(text) {
        return Reader::new(rest, mark).collect();
    }
    // The first of the best.
    let mark = MARKS
        .into_iter()
        .rev()
        .max_by_key(|mark| score(text, *mark));
    Reader::new(text, mark.unwrap_or(',')).collect()
}

/// Returns the mark that a line such as `sep=;` at the start declares, and the text after it.
fn declared(text: &str) -> Option<(char, &str)> {
    let (line, rest) = text.split_once('\n')?;
    let line = line.trim_matches(['\r', ' ', '"']).to_lowercase();
    let mut mark = line.strip_prefix("sep=")?.chars();
    Some((mark.next().unwrap_or('\t'), rest))
}

/// Returns how well a mark parts the first rows: the share of rows with the commonest number of cells, less what looks like a part
/// of a sentence or number.
fn score(text: &str, mark: char) -> usize {
    let rows: Vec<Vec<String>> = Reader::new(text, mark).take(TRIED).collect();
    let widths: Vec<usize> = rows.iter().map(Vec::len).collect();
    let Some(width) = commonest(&widths) else {
        return 0;
    };
    let alike = widths.iter().filter(|one| **one == width).count();
    let length: usize = rows.iter().flatten().map(|cell| cell.len() + 1).sum();
    let head = text.get(..length.min(text.len())).unwrap_or(text);
    let (mut all, mut odd) = (0, 0);
    let mut before = ' ';
    let mut rest = head.chars().peekable();
    while let Some(c) = rest.next() {
        if c == mark {
            let next = rest.peek().copied().unwrap_or('\n');
            let is_decimal = mark == ',' && before.is_ascii_digit() && next.is_ascii_digit();
            all += 1;
            odd += usize::from(is_decimal || (mark != '|' && next == ' '));
        }
        before = c;
    }
    1 + 1000 * alike / rows.len() + width.min(9)
        - (300 * odd)
            .checked_div(all)
            .unwrap_or(0)
            .min(1000 * alike / rows.len())
}

/// Returns the most frequent number of cells above one.
pub(super) fn commonest(widths: &[usize]) -> Option<usize> {
    let mut counts = BTreeMap::new();
    for width in widths.iter().filter(|width| **width > 1) {
        *counts.entry(*width).or_insert(0) += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(width, _)| width)
}

/// Parses rows. A quote opens a cell only at its start and closes it only at its end; any other is a character of the cell.
struct Reader<'a> {
    rest: &'a str,
    mark: char,
    /// Whether no quote closes a cell in the rest.
    has_no_quotes: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, mark: char) -> Self {
        Self {
            rest: text,
            mark,
            has_no_quotes: false,
        }
    }

    /// Returns the next cell, and whether the row goes on.
    fn cell(&mut self) -> (String, bool) {
        let blanks = |c: char| c == ' ' || c == '\u{a0}';
        let start = self.rest.trim_start_matches(blanks);
        if let Some(inner) = start.strip_prefix('"').filter(|_| !self.has_no_quotes)
            && let Some((cell, rest)) = self.quoted(inner)
        {
            self.rest = rest;
            return (cell, self.end());
        }
        let length = self
            .rest
            .find([self.mark, '\n', '\r'])
            .unwrap_or(self.rest.len());
        let (cell, rest) = self.rest.split_at(length);
        self.rest = rest;
        (cell.to_owned(), self.end())
    }

    /// Skips the mark or the end of the line. Returns whether it was a mark.
    fn end(&mut self) -> bool {
        let mut rest = self.rest.chars();
        match rest.next() {
            Some(c) if c == self.mark => {
                self.rest = rest.as_str();
                true
            }
            Some('\r') => {
                self.rest = rest.as_str().strip_prefix('\n').unwrap_or(rest.as_str());
                false
            }
            Some(_) => {
                self.rest = rest.as_str();
                false
            }
            None => false,
        }
    }

    /// Returns the content of a cell after its opening quote, and the text from the end of the cell. A cell that seems to contain
    /// the start of another one was opened by mistake.
    fn quoted(&mut self, inner: &'a str) -> Option<(String, &'a str)> {
        let is_end = |c: char| c == self.mark || c == '\n' || c == '\r';
        let mut cell = String::new();
        let mut rest = inner;
        while let Some((before, after)) = rest.split_once('"') {
            cell.push_str(before);
            if let Some(after) = after.strip_prefix('"') {
                // An empty cell is not an escaped quote.
                let closes =
                    cell.is_empty() && after.starts_with(is_end) && rest.len() == inner.len();
                if !closes {
                    cell.push('"');
                    rest = after;
                    continue;
                }
            }
            let end = after.trim_start_matches(' ');
            if end.is_empty() || end.starts_with(is_end) {
                return Some((cell, end));
            }
            if before.trim_end_matches(' ').ends_with(is_end) {
                return None;
            }
            cell.push('"');
            rest = after;
        }
        self.has_no_quotes = true;
        None
    }
}

impl Iterator for Reader<'_> {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        while !self.rest.is_empty() {
            let mut row = Vec::new();
            loop {
                let (cell, goes_on) = self.cell();
                row.push(cell.split_whitespace().collect::<Vec<_>>().join(" "));
                if !goes_on {
                    break;
                }
            }
            if row.iter().any(|cell| !cell.is_empty()) {
                return Some(row);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_parted_as_all_of_them_say() {
        let check = |text: &str, expected: &[&[&str]]| assert_eq!(rows(text), expected, "{text:?}");
        check("a,b\n1,2", &[&["a", "b"], &["1", "2"]]);
        check(
            "Ware;Preis (EUR, netto, ab Lager)\nSeil;9,90\nHaken;34,50\n",
            &[
                &["Ware", "Preis (EUR, netto, ab Lager)"],
                &["Seil", "9,90"],
                &["Haken", "34,50"],
            ],
        );
        check(
            "Seil;9,90\nHaken;34,50",
            &[&["Seil", "9,90"], &["Haken", "34,50"]],
        );
        check(
            "Mon,9-12; 13-18\nTue,9-12; 13-17",
            &[&["Mon", "9-12; 13-18"], &["Tue", "9-12; 13-17"]],
        );
        check("sep=|\na|b,c\n1|2,3", &[&["a", "b,c"], &["1", "2,3"]]);
        check("\"sep=;\"\r\na;b\r\n", &[&["a", "b"]]);
        check("\u{feff}a\tb\r1\t2\r\r", &[&["a", "b"], &["1", "2"]]);
        check(" a | b \n1|2", &[&["a", "b"], &["1", "2"]]);
        check("only\none", &[&["only"], &["one"]]);
        check(" \n;;\n", &[]);
    }

    #[test]
    fn a_stray_quote_is_a_character() {
        let check = |text: &str, expected: &[&[&str]]| assert_eq!(rows(text), expected, "{text:?}");
        check(
            "a;b\n28\" tube;9\nx;y",
            &[&["a", "b"], &["28\" tube", "9"], &["x", "y"]],
        );
        check(
            "a;b\n\"28 inch;9\nx;y",
            &[&["a", "b"], &["\"28 inch", "9"], &["x", "y"]],
        );
        check(
            "a;b\n\"28 inch;9\n\"Big; one\";3",
            &[&["a", "b"], &["\"28 inch", "9"], &["Big; one", "3"]],
        );
        check(
            "a,b\n\"Big \"B\" bike\",\"1,200\"",
            &[&["a", "b"], &["Big \"B\" bike", "1,200"]],
        );
        check(
            "a,b\n\"say \"\"hi\"\"\",\"\"",
            &[&["a", "b"], &["say \"hi\"", ""]],
        );
        check("a,b\n\"two\nlines\",x", &[&["a", "b"], &["two lines", "x"]]);
    }
}
