//! Sheets of Excel. The cells are read one by one: a grid over the used range may be as large as a file wants.

use std::collections::{BTreeMap, BTreeSet};

use konstruct_core::Result;

use super::{escaped, grid, number, package::Package, unreadable, xml::Node};

/// The most cells of a file, with those that are repeated because they are merged, and the most columns of a sheet.
const CELLS: usize = 300_000;
const COLUMNS: usize = 1_000;

pub(super) fn markdown(mut package: Package<'_>) -> Result<String> {
    const BOOK: &str = "xl/workbook.xml";
    let book = package.part(BOOK)?.ok_or_else(unreadable)?;
    let relations = package.relations(BOOK)?;
    let strings = package.part("xl/sharedStrings.xml")?;
    let strings: Vec<String> = strings
        .iter()
        .flat_map(|root| root.all("si"))
        .map(rich_text)
        .collect();
    let formats = package
        .part("xl/styles.xml")?
        .map_or_else(Vec::new, formats);
    let since_1904 = book
        .kid("workbookPr")
        .and_then(|properties| properties.get("date1904"))
        .is_some_and(|value| value == "1" || value == "true");
    let mut cells = 0;
    let mut out = String::new();
    for sheet in book
        .kid("sheets")
        .iter()
        .flat_map(|sheets| sheets.all("sheet"))
    {
        let hidden = sheet.get("state").is_some_and(|state| state != "visible");
        let part = sheet.get("id").and_then(|id| relations.get(id));
        let Some(part) = part.filter(|_| !hidden) else {
            continue;
        };
        let Some(root) = package.part(part)? else {
            continue;
        };
        let value = |cell: &Node| value(cell, &strings, &formats, since_1904);
        let text = grid::paragraphs(rows(&root, value, &mut cells));
        if !text.is_empty() {
            let name = sheet.get("name").unwrap_or_default();
            out.push_str(&format!("## {}\n\n{text}", escaped(name)));
        }
    }
    Ok(out)
}

/// Returns the visible rows of a sheet. Merged cells have the value of their first.
fn rows(root: &Node, value: impl Fn(&Node) -> String, count: &mut usize) -> Vec<Vec<String>> {
    let hidden = |node: &Node| {
        node.get("hidden")
            .is_some_and(|value| value == "1" || value == "true")
    };
    let mut grid: BTreeMap<usize, BTreeMap<usize, String>> = BTreeMap::new();
    let mut hidden_rows = BTreeSet::new();
    let mut next_row = 0;
    for row in root
        .kid("sheetData")
        .iter()
        .flat_map(|data| data.all("row"))
    {
        let at = row
            .number("r")
            .map_or(next_row, |number| number.saturating_sub(1));
        next_row = at + 1;
        if hidden(row) {
            hidden_rows.insert(at);
        }
        let mut next = 0;
        for cell in row.all("c") {
            let column = cell
                .get("r")
                .and_then(place)
                .map_or(next, |(_, column)| column);
            next = column + 1;
            let text = value(cell);
            if !text.trim().is_empty() && column < COLUMNS && *count < CELLS {
                *count += 1;
                grid.entry(at).or_default().insert(column, text);
            }
        }
    }
    for merge in root
        .kid("mergeCells")
        .iter()
        .flat_map(|merges| merges.all("mergeCell"))
    {
        let Some((from, to)) = merge.get("ref").and_then(|range| range.split_once(':')) else {
            continue;
        };
        let (Some(from), Some(to)) = (place(from), place(to)) else {
            continue;
        };
        let Some(text) = grid.get(&from.0).and_then(|row| row.get(&from.1)).cloned() else {
            continue;
        };
        // Only rows that exist: a merge may reach to the last row of a sheet.
        let rows: Vec<usize> = grid
            .range(from.0..=to.0.max(from.0))
            .map(|(at, _)| *at)
            .collect();
        for row in rows {
            for column in from.1..=to.1.min(COLUMNS) {
                *count += 1;
                if *count < CELLS {
                    let row = grid.entry(row).or_default();
                    row.entry(column).or_insert_with(|| text.clone());
                }
            }
        }
    }
    let mut hidden_columns = BTreeSet::new();
    for column in root
        .kid("cols")
        .iter()
        .flat_map(|columns| columns.all("col"))
    {
        if let (true, Some(from), Some(to)) =
            (hidden(column), column.number("min"), column.number("max"))
        {
            hidden_columns.extend((from.saturating_sub(1)..to).take_while(|at| *at < COLUMNS));
        }
    }
    let visible = grid.into_iter().filter(|(at, _)| !hidden_rows.contains(at));
    visible
        .map(|(_, mut row)| {
            row.retain(|at, _| !hidden_columns.contains(at));
            dense(row, &hidden_columns)
        })
        .collect()
}

/// Returns the cells of a row, with empty ones between them and without the hidden columns.
fn dense(row: BTreeMap<usize, String>, hidden: &BTreeSet<usize>) -> Vec<String> {
    let mut cells = Vec::new();
    let mut next = 0;
    for (at, text) in row {
        let between = (next..at).filter(|at| !hidden.contains(at)).count();
        cells.resize(cells.len() + between, String::new());
        cells.push(text);
        next = at + 1;
    }
    cells
}

/// Returns the row and column of a place such as `B3`, from 0.
fn place(name: &str) -> Option<(usize, usize)> {
    let name = name.replace('$', "");
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (letters, row) = name.split_at(digits);
    let mut column = 0_usize;
    for letter in letters.bytes() {
        let value = letter.to_ascii_uppercase().checked_sub(b'A')?;
        column = column
            .checked_mul(26)?
            .checked_add(usize::from(value) + 1)?;
    }
    Some((
        row.parse::<usize>().ok()?.checked_sub(1)?,
        column.checked_sub(1)?,
    ))
}

fn value(cell: &Node, strings: &[String], formats: &[String], since_1904: bool) -> String {
    let raw = cell.kid("v").map(Node::content).unwrap_or_default();
    match cell.get("t") {
        Some("s") => {
            let at = raw.trim().parse::<usize>().ok();
            at.and_then(|at| strings.get(at))
                .cloned()
                .unwrap_or_default()
        }
        Some("inlineStr") => cell.kid("is").map(rich_text).unwrap_or_default(),
        Some("b") => if raw.trim() == "1" { "TRUE" } else { "FALSE" }.to_owned(),
        Some("e") => String::new(),
        Some("str" | "d") => raw,
        _ => {
            let format = cell.number("s").and_then(|style| formats.get(style));
            match raw.trim().parse::<f64>() {
                Ok(value) if value.is_finite() => {
                    number::shown(value, format.map_or("General", String::as_str), since_1904)
                }
                _ => raw,
            }
        }
    }
}

/// Returns the text of a string with formats, without the pronunciation.
fn rich_text(node: &Node) -> String {
    let runs = node.kids.iter().map(|kid| match kid.name.as_str() {
        "t" => kid.content(),
        "r" => kid.all("t").map(Node::content).collect(),
        _ => String::new(),
    });
    runs.collect()
}

/// Returns the format code of each cell style.
fn formats(styles: Node) -> Vec<String> {
    let own: BTreeMap<usize, &str> = styles
        .kid("numFmts")
        .iter()
        .flat_map(|formats| formats.all("numFmt"))
        .filter_map(|format| Some((format.number("numFmtId")?, format.get("formatCode")?)))
        .collect();
    let code = |style: &Node| {
        let id = style.number("numFmtId").unwrap_or(0);
        let own = own.get(&id).copied();
        own.unwrap_or_else(|| number::built_in(id)).to_owned()
    };
    let styles = styles.kid("cellXfs");
    styles
        .iter()
        .flat_map(|styles| styles.all("xf"))
        .map(code)
        .collect()
}
