//! Sheets of OpenDocument. A cell contains the text that it shows.

use std::collections::{BTreeMap, BTreeSet};

use konstruct_core::Result;

use super::{escaped, grid, package::Package, unreadable, xml::Node};

/// The most cells of a file, with those that are repeated, and the most columns of a sheet.
const CELLS: usize = 300_000;
const COLUMNS: usize = 1_000;

pub(super) fn markdown(mut package: Package<'_>) -> Result<String> {
    let root = package.part("content.xml")?.ok_or_else(unreadable)?;
    let styles = root.kid("automatic-styles");
    let hidden: BTreeSet<&str> = styles
        .iter()
        .flat_map(|styles| styles.all("style"))
        .filter(|style| {
            let properties = style.kid("table-properties");
            properties.and_then(|properties| properties.get("display")) == Some("false")
        })
        .filter_map(|style| style.get("name"))
        .collect();
    let book = root.kid("body").and_then(|body| body.kid("spreadsheet"));
    let mut sheet = Sheet::default();
    let mut out = String::new();
    for table in book.iter().flat_map(|book| book.all("table")) {
        if table
            .get("style-name")
            .is_some_and(|style| hidden.contains(style))
        {
            continue;
        }
        sheet.rows.clear();
        sheet.spans.clear();
        sheet.read(table);
        let text = grid::paragraphs(std::mem::take(&mut sheet.rows));
        if !text.is_empty() {
            let name = table.get("name").unwrap_or_default();
            out.push_str(&format!("## {}\n\n{text}", escaped(name)));
        }
    }
    Ok(out)
}

#[derive(Default)]
struct Sheet {
    rows: Vec<Vec<String>>,
    /// The texts that cells above spread down, with the number of rows that are left, by column.
    spans: BTreeMap<usize, (usize, String)>,
    cells: usize,
}

impl Sheet {
    fn read(&mut self, node: &Node) {
        for kid in &node.kids {
            match kid.name.as_str() {
                "table-row" => self.row(kid),
                "table-header-rows" | "table-rows" | "table-row-group" => self.read(kid),
                _ => {}
            }
        }
    }

    fn row(&mut self, node: &Node) {
        let mut row: Vec<String> = Vec::new();
        for cell in &node.kids {
            if !cell.is("table-cell") && !cell.is("covered-table-cell") {
                continue;
            }
            let repeat = cell.number("number-columns-repeated").unwrap_or(1);
            let across = cell.number("number-columns-spanned").unwrap_or(1);
            let down = cell.number("number-rows-spanned").unwrap_or(1);
            let text = shown(cell);
            for _ in 0..repeat.min(COLUMNS.saturating_sub(row.len())) {
                let at = row.len();
                let above = self.spans.get(&at).map(|(_, text)| text.clone());
                row.push(
                    above
                        .filter(|_| cell.is("covered-table-cell"))
                        .unwrap_or_else(|| text.clone()),
                );
            }
            if !text.is_empty() && cell.is("table-cell") && (across > 1 || down > 1) {
                let first = row.len().saturating_sub(1);
                for at in first..(first + across).min(COLUMNS) {
                    // The cells that it covers follow and take its text.
                    self.spans.insert(at, (down + 1, text.clone()));
                }
            }
        }
        let visible = node
            .get("visibility")
            .is_none_or(|value| value == "visible");
        let used = row.iter().filter(|cell| !cell.is_empty()).count();
        let repeat = node.number("number-rows-repeated").unwrap_or(1);
        for _ in 0..repeat {
            self.cells += used;
            if !visible || used == 0 || self.cells > CELLS {
                break;
            }
            self.rows.push(row.clone());
        }
        self.spans.retain(|_, (left, _)| {
            *left = left.saturating_sub(1);
            *left > 1
        });
    }
}

/// Returns the text of a cell, without its comment.
fn shown(cell: &Node) -> String {
    fn text(node: &Node, out: &mut String) {
        out.push_str(&node.text);
        match node.name.as_str() {
            "annotation" => {}
            "s" | "tab" | "line-break" => out.push(' '),
            _ => node.kids.iter().for_each(|kid| text(kid, out)),
        }
    }
    let lines = cell.all("p").map(|paragraph| {
        let mut line = String::new();
        text(paragraph, &mut line);
        line
    });
    lines.collect::<Vec<_>>().join(" ")
}
