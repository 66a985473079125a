//! Word documents.

mod list;
mod style;

use std::collections::BTreeMap;

use konstruct_core::Result;

use super::{escaped, package::Package, unreadable, xml::Node};
use list::Lists;
use style::Styles;

/// The most cells of a row, with those that are repeated because they are merged.
const COLUMNS: usize = 200;

pub(super) fn markdown(mut package: Package<'_>) -> Result<String> {
    const BODY: &str = "word/document.xml";
    let root = package.part(BODY)?.ok_or_else(unreadable)?;
    let mut notes = BTreeMap::new();
    for (part, name) in [
        ("word/footnotes.xml", "footnote"),
        ("word/endnotes.xml", "endnote"),
    ] {
        for note in package.part(part)?.iter().flat_map(|root| root.all(name)) {
            // The separators of notes have a type.
            if let (Some(id), None) = (note.get("id"), note.get("type")) {
                let words = Document::default().inline(note);
                let words: Vec<&str> = words.split_whitespace().collect();
                notes.insert((name, id.to_owned()), words.join(" "));
            }
        }
    }
    let mut document = Document {
        notes,
        styles: Styles::new(package.part("word/styles.xml")?),
        lists: Lists::new(package.part("word/numbering.xml")?),
        ..Document::default()
    };
    if let Some(body) = root.kid("body") {
        document.blocks(body);
    }
    Ok(document.out)
}

#[derive(Debug, Default)]
struct Document {
    out: String,
    notes: BTreeMap<(&'static str, String), String>,
    styles: Styles,
    lists: Lists,
    /// The text boxes of the paragraph that is being read, in Markdown.
    boxes: Vec<String>,
}

impl Document {
    /// Writes the paragraphs and tables within a node.
    fn blocks(&mut self, node: &Node) {
        for kid in &node.kids {
            match kid.name.as_str() {
                "p" => self.paragraph(kid),
                "tbl" => self.table(kid),
                "del" | "moveFrom" | "sectPr" => {}
                "AlternateContent" => {
                    if let Some(choice) = kid.kid("Choice").or(kid.kid("Fallback")) {
                        self.blocks(choice);
                    }
                }
                _ => self.blocks(kid),
            }
        }
    }

    fn paragraph(&mut self, node: &Node) {
        let properties = node.kid("pPr");
        let text = self.inline(node);
        let boxes = std::mem::take(&mut self.boxes);
        let style = properties.and_then(|properties| value(properties, "pStyle"));
        let style = self.styles.get(style).clone();
        let list = properties
            .and_then(|properties| properties.kid("numPr"))
            .map(|number| {
                let level = value(number, "ilvl").and_then(|level| level.parse().ok());
                (value(number, "numId").map(str::to_owned), level)
            });
        let (own_list, own_level) = list.unwrap_or_default();
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        if !lines.is_empty() {
            let list = own_list.or(style.list);
            let mark = list.and_then(|list| self.lists.next(&list, own_level.or(style.list_level)));
            let own_outline = properties.and_then(|properties| value(properties, "outlineLvl"));
            let outline = own_outline.and_then(|level| level.parse::<usize>().ok());
            let heading = match outline {
                Some(level) => (level < 9).then_some(level + 1),
                None => style.heading,
            };
            if let Some(level) = heading {
                let mark = mark
                    .filter(|mark| mark != "-")
                    .map_or(String::new(), |mark| mark + " ");
                self.gap();
                self.out.push_str(&"#".repeat(level.min(6)));
                self.out
                    .push_str(&format!(" {mark}{}\n\n", lines.join(" ")));
            } else if let Some(mark) = mark {
                self.out.push_str(&format!("{mark} {}\n", lines.join("\n")));
            } else {
                self.gap();
                for line in lines {
                    self.out.push_str(&escaped(line));
                    self.out.push('\n');
                }
                self.out.push('\n');
            }
        }
        for text in boxes {
            self.gap();
            self.out.push_str(&text);
        }
    }

    /// Begins a new paragraph, after a list for example.
    fn gap(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// Returns the text of the runs within a node, and keeps the text boxes in it.
    fn inline(&mut self, node: &Node) -> String {
        let mut out = String::new();
        for kid in &node.kids {
            match kid.name.as_str() {
                "r" => self.run(kid, &mut out),
                "del" | "moveFrom" | "pPr" | "rPr" | "sdtPr" | "instrText" => {}
                "AlternateContent" => {
                    if let Some(choice) = kid.kid("Choice").or(kid.kid("Fallback")) {
                        out.push_str(&self.inline(choice));
                    }
                }
                "txbxContent" => self.text_box(kid),
                _ => out.push_str(&self.inline(kid)),
            }
        }
        out
    }

    fn text_box(&mut self, node: &Node) {
        let boxes = std::mem::take(&mut self.boxes);
        let out = std::mem::take(&mut self.out);
        self.blocks(node);
        let text = std::mem::replace(&mut self.out, out);
        self.boxes = boxes;
        if !text.trim().is_empty() {
            self.boxes.push(text);
        }
    }

    fn run(&mut self, node: &Node, out: &mut String) {
        let properties = node.kid("rPr");
        let on = |name: &str| {
            let property = properties.and_then(|properties| properties.kid(name));
            property.is_some_and(|property| {
                !matches!(property.get("val"), Some("0" | "false" | "off" | "none"))
            })
        };
        let style = properties.and_then(|properties| value(properties, "rStyle"));
        if on("vanish") || on("webHidden") || self.styles.get(style).hidden {
            return;
        }
        let mut text = String::new();
        for kid in &node.kids {
            match kid.name.as_str() {
                "t" => text.push_str(&kid.content()),
                "tab" | "ptab" => text.push(' '),
                "br" | "cr" => text.push('\n'),
                "noBreakHyphen" => text.push('-'),
                "footnoteReference" | "endnoteReference" => {
                    let name = if kid.is("footnoteReference") {
                        "footnote"
                    } else {
                        "endnote"
                    };
                    let id = kid.get("id").unwrap_or_default().to_owned();
                    if let Some(note) = self.notes.get(&(name, id)) {
                        text.push_str(&format!(" [{note}]"));
                    }
                }
                "drawing" | "pict" | "object" | "AlternateContent" => {
                    // Only text boxes, which are kept apart.
                    let choice = kid.kid("Choice").or(kid.kid("Fallback"));
                    self.inline(choice.unwrap_or(kid));
                }
                _ => {}
            }
        }
        let struck = on("strike") || on("dstrike");
        if struck && !text.trim().is_empty() {
            out.push_str(&format!("~~{}~~", text.trim()));
        } else {
            out.push_str(&text);
        }
    }

    /// Writes a table: a line for each row. Merged cells are repeated.
    fn table(&mut self, node: &Node) {
        let mut above: Vec<String> = Vec::new();
        let mut lines = Vec::new();
        for row in rows(node) {
            let deleted = row.kid("trPr").and_then(|properties| properties.kid("del"));
            if deleted.is_some() {
                continue;
            }
            let mut cells: Vec<String> = Vec::new();
            for cell in cells_of(row) {
                let properties = cell.kid("tcPr");
                let span = properties.and_then(|properties| value(properties, "gridSpan"));
                let span = span.and_then(|span| span.parse().ok()).unwrap_or(1_usize);
                let merge = properties.and_then(|properties| properties.kid("vMerge"));
                let continued = merge.is_some_and(|merge| merge.get("val") != Some("restart"));
                let text = match above.get(cells.len()).filter(|_| continued) {
                    Some(text) => text.clone(),
                    None => self.cell(cell),
                };
                let span = span.min(COLUMNS.saturating_sub(cells.len()));
                cells.extend(std::iter::repeat_n(text, span));
            }
            if cells.iter().any(|cell| !cell.is_empty()) {
                let once = cells.windows(2).all(|pair| pair[0] == pair[1]);
                let line = if once {
                    cells[0].clone()
                } else {
                    cells.join(" | ")
                };
                lines.push(escaped(line.trim()));
            }
            above = cells;
        }
        self.gap();
        self.out.push_str(&lines.join("\n"));
        self.out.push_str("\n\n");
    }

    /// Returns the text of a cell in one line.
    fn cell(&mut self, node: &Node) -> String {
        let out = std::mem::take(&mut self.out);
        self.blocks(node);
        let text = std::mem::replace(&mut self.out, out);
        let words = text
            .split_whitespace()
            .filter(|word| !word.chars().all(|c| c == '#'));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Returns an attribute `val` of a child.
fn value<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.kid(name)?.get("val")
}

/// Returns the rows of a table, also those in content controls.
fn rows(table: &Node) -> Vec<&Node> {
    wrapped(table, "tr")
}

fn cells_of(row: &Node) -> Vec<&Node> {
    wrapped(row, "tc")
}

fn wrapped<'a>(node: &'a Node, name: &str) -> Vec<&'a Node> {
    let mut found = Vec::new();
    for kid in &node.kids {
        match kid.name.as_str() {
            kind if kind == name => found.push(kid),
            "sdt" | "sdtContent" | "ins" | "moveTo" | "customXml" => {
                found.extend(wrapped(kid, name));
            }
            _ => {}
        }
    }
    found
}
