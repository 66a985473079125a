//! The tree becomes blocks. Without recursion: a page nests as deep as it likes.

use std::collections::HashSet;

use super::{
    Block, Kind, TITLE,
    dom::{Data, Dom, Id, ROOT},
    inline::{self, END, LINK, STRIKE, TO},
    list::{Item, List},
    panel::{Panels, is_in_heading, is_surrounding, style},
    table::{Cell, Row, Table},
};
use crate::chunk::word_count;

/// Elements that begin and end a paragraph.
const BLOCK: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "body",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
    "html",
    "legend",
    "main",
    "menu",
    "nav",
    "aside",
    "ol",
    "p",
    "section",
    "ul",
    "dialog",
    "hgroup",
    "li",
    "summary",
    "dt",
    "caption",
    "td",
    "th",
    "table",
    "option",
    "tr",
];

/// The most addresses of a page. A page with more is a directory.
const LINKS: usize = 50;
/// The fewest items of a menu.
const MENU: usize = 4;

/// Returns the title of a page as a heading.
pub(super) fn title(dom: &Dom) -> Option<Block> {
    let is_title =
        |id: &Id| dom.name(*id) == "title" && dom.ancestors(*id).all(|id| dom.name(id) != "svg");
    let title = dom.descendants(ROOT).find(is_title)?;
    let text = dom.text(title);
    (!text.is_empty()).then(|| Block::new(Kind::Heading(1), text))
}

/// Returns the blocks of a page.
pub(super) fn blocks(dom: &Dom, is_fragment: bool, with_surroundings: bool) -> Vec<Block> {
    let mut walk = Walk {
        dom,
        panels: Panels::of(dom),
        keeps_surroundings: is_fragment || with_surroundings,
        text: Text::default(),
        outer: Vec::new(),
        tables: Vec::new(),
        struck: 0,
        linked: HashSet::new(),
    };
    let mut steps = vec![Step::Enter(ROOT)];
    while let Some(step) = steps.pop() {
        match step {
            Step::Leave(id) => walk.leave(id),
            Step::Enter(id) if walk.enter(id) => {
                steps.push(Step::Leave(id));
                let from = steps.len();
                steps.extend(dom.children(id).map(Step::Enter));
                steps[from..].reverse();
            }
            Step::Enter(_) => {}
        }
    }
    walk.flush();
    walk.text.blocks
}

enum Step {
    Enter(Id),
    Leave(Id),
}

struct Walk<'a> {
    dom: &'a Dom,
    panels: Panels,
    keeps_surroundings: bool,
    text: Text,
    /// The texts around the current table cell.
    outer: Vec<Text>,
    tables: Vec<Table>,
    /// How many elements around strike the text.
    struck: usize,
    /// The addresses shown so far: each is shown once.
    linked: HashSet<String>,
}

/// The text of the page, or of a table cell.
#[derive(Debug, Default)]
struct Text {
    blocks: Vec<Block>,
    /// The current paragraph.
    line: String,
    /// Whether text is struck at the end of the line.
    is_struck: bool,
    /// How many elements around make the text bold, and whether the line has text that is not.
    bold: usize,
    has_plain: bool,
    /// Whether any of the text is not bold.
    is_plain: bool,
    /// The level of the current heading.
    heading: Option<u8>,
    /// The level of the last heading, and whether its text has ended.
    level: u8,
    is_ended: bool,
    /// Where the text of a link begins in the line, and its address.
    link: Option<(usize, String)>,
    lists: Vec<List>,
    items: Vec<Item>,
}

impl Walk<'_> {
    fn enter(&mut self, id: Id) -> bool {
        match &self.dom.nodes[id].data {
            Data::Text(text) => {
                self.push(text);
                return false;
            }
            Data::Other => return true,
            Data::Element(..) => {}
        }
        let dom = self.dom;
        if self.panels.is_left_out(dom, id) || (!self.keeps_surroundings && is_surrounding(dom, id))
        {
            return false;
        }
        if let Some(title) = self.panels.title(id).map(str::to_owned) {
            self.flush();
            self.head(7, title);
        }
        let name = dom.name(id);
        if self.panels.is_button(id) || (name == "button" && !is_in_heading(dom, id)) {
            return false;
        }
        if BLOCK.contains(&name) {
            self.flush();
        }
        if self.is_strike(id) {
            self.struck += 1;
        }
        match name {
            "br" => self.line_break(),
            "pre" => {
                self.flush();
                let code = dom.text_as_it_is(id);
                let code: Vec<&str> = code.lines().map(str::trim_end).collect();
                let code = code.join("\n");
                self.emit(Kind::Code, code.trim_matches('\n').to_owned());
                return false;
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                self.text.heading = Some(name.as_bytes()[1] - b'0');
            }
            "dt" | "summary" | "caption" => self.text.heading = Some(7),
            "b" | "strong" => self.text.bold += 1,
            "ol" | "ul" | "menu" => self.text.lists.push(List::of(dom, id)),
            "li" => self.item(id),
            "table" => self.tables.push(Table::new(dom, id)),
            "tr" => self.row(id),
            "td" | "th" => self.outer.push(std::mem::take(&mut self.text)),
            "a" => {
                self.end_link();
                let address = dom
                    .attribute(id, "href")
                    .filter(|address| followed(address) && !is_menu_item(dom, id));
                self.text.link =
                    Some((self.text.line.len(), address.unwrap_or_default().to_owned()));
            }
            "q" => self.text.line.push('“'),
            _ if self.is_raised(id) => {
                self.raise(id);
                return false;
            }
            _ => {}
        }
        true
    }

    fn leave(&mut self, id: Id) {
        let name = self.dom.name(id);
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "dt" | "summary" | "caption" => {
                self.end_heading(id)
            }
            "b" | "strong" => self.text.bold = self.text.bold.saturating_sub(1),
            "a" => {
                if let Some((from, _)) = self.text.link
                    && self.images(id, from)
                {
                    // The address of a picture says nothing.
                    self.text.link = None;
                }
                self.end_link();
            }
            "q" => self.text.line.push('”'),
            _ if BLOCK.contains(&name) => self.flush(),
            _ => {}
        }
        match name {
            "ol" | "ul" | "menu" => drop(self.text.lists.pop()),
            "li" => drop(self.text.items.pop()),
            "td" | "th" => self.end_cell(id),
            "dl" | "details" | "hr" => self.end_title(),
            "table" => {
                if let Some(table) = self.tables.pop() {
                    let before = self.text.level;
                    for block in table.blocks() {
                        if block.kind == Kind::Item || block.is_indented() {
                            self.text.blocks.push(block);
                        } else {
                            self.emit(block.kind, block.text);
                        }
                    }
                    let has_caption = self
                        .dom
                        .children(id)
                        .any(|id| self.dom.name(id) == "caption");
                    if has_caption || before != 7 {
                        self.end_title();
                    }
                }
            }
            _ => {}
        }
        if self.panels.title(id).is_some() {
            self.flush();
            self.end_title();
        }
        if self.is_strike(id) {
            self.struck -= 1;
            if self.struck == 0 {
                self.end_strike();
            }
        }
    }

    fn push(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.text.has_plain |= self.text.bold == 0;
            self.text.is_plain |= self.text.bold == 0;
            if self.struck > 0 && !self.text.is_struck {
                if text.starts_with(char::is_whitespace) {
                    inline::blank(&mut self.text.line);
                }
                self.text.line.push(STRIKE);
                self.text.is_struck = true;
                return inline::push(&mut self.text.line, text.trim_start());
            }
        }
        inline::push(&mut self.text.line, text);
    }

    fn is_strike(&self, id: Id) -> bool {
        matches!(self.dom.name(id), "del" | "s" | "strike")
            || (self.dom.attribute(id, "style").is_some()
                && style(self.dom, id).contains("line-through"))
    }

    fn end_strike(&mut self) {
        if std::mem::take(&mut self.text.is_struck) {
            let line = &mut self.text.line;
            let end = line.trim_end().len();
            line.insert(end, STRIKE);
        }
    }

    /// Returns whether text is raised: an exponent, or the digits after the point of a price.
    fn is_raised(&self, id: Id) -> bool {
        let dom = self.dom;
        let class = dom
            .attribute(id, "class")
            .unwrap_or_default()
            .to_lowercase();
        let is_cents = || {
            let names = ["cent", "decimal", "fraction"];
            let text = dom.text(id);
            names.iter().any(|name| class.contains(name))
                && text.len() == 2
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && self.text.line.ends_with(|c: char| c.is_ascii_digit())
        };
        dom.name(id) == "sup"
            || (matches!(dom.name(id), "span" | "small" | "sub" | "b" | "i")
                && !class.is_empty()
                && is_cents())
            || (dom.attribute(id, "style").is_some()
                && ["vertical-align:super", "vertical-align:top"]
                    .iter()
                    .any(|raised| style(dom, id).contains(raised))
                && matches!(dom.name(id), "span" | "small" | "b" | "strong"))
    }

    fn raise(&mut self, id: Id) {
        let text = self.dom.text(id);
        if text.is_empty() {
            return;
        }
        let line = &self.text.line;
        let near = line.char_indices().rev().nth(40).map_or(0, |(at, _)| at);
        let before = &line[near..];
        let after = self.dom.following(id).take(6);
        let is_price = has_currency(before)
            || after.into_iter().any(
                |id| matches!(&self.dom.nodes[id].data, Data::Text(text) if has_currency(text)),
            );
        let raised = inline::raised(&self.text.line, &text, is_price);
        self.push(&raised);
    }

    /// Shows the texts of the images in a heading or link, if these are all that it has. Returns whether they are.
    fn images(&mut self, id: Id, from: usize) -> bool {
        let shown = self.text.line.get(from..).unwrap_or_default();
        if !shown.trim().is_empty() {
            return false;
        }
        for image in self.dom.descendants(id) {
            if let Some(alt) = self
                .dom
                .attribute(image, "alt")
                .filter(|_| self.dom.name(image) == "img")
            {
                inline::blank(&mut self.text.line);
                self.push(alt);
            }
        }
        true
    }

    fn line_break(&mut self) {
        if self.text.heading.is_some() || !self.outer.is_empty() {
            inline::blank(&mut self.text.line);
        } else if self.is_bold_line() {
            self.flush();
        } else {
            self.end_link();
            self.end_strike();
            self.text.line.push('\n');
        }
    }

    fn end_link(&mut self) {
        if let Some((from, address)) = self.text.link.take()
            && let Some(text) = self.text.line.get(from..)
            && !address.is_empty()
            && !text.trim().is_empty()
            && !text.contains(['\n', LINK])
            && !address.ends_with(text.trim())
            && !(address.starts_with("tel:") && text.contains(char::is_numeric))
            && self.text.heading.is_none()
            && self.linked.len() < LINKS
            && self.linked.insert(address.clone())
        {
            let blank = if text.ends_with(' ') { " " } else { "" };
            let text = text.trim();
            let lead = if self.text.line[from..].starts_with(' ') {
                " "
            } else {
                ""
            };
            let link = format!("{lead}{LINK}{text}{TO}{address}{END}{blank}");
            self.text.line.truncate(from);
            self.text.line.push_str(&link);
        }
    }

    /// Returns whether the line so far is entirely bold, which makes it a heading.
    fn is_bold_line(&self) -> bool {
        let text = &self.text;
        self.outer.is_empty()
            && text.items.is_empty()
            && text.heading.is_none()
            && !text.has_plain
            && !text.line.trim().is_empty()
            && !text.line.contains(['\n', STRIKE, LINK])
            && word_count(&text.line) <= TITLE
    }

    /// Ends a paragraph.
    fn flush(&mut self) {
        if self.text.heading.is_some() {
            inline::blank(&mut self.text.line);
            return;
        }
        self.end_link();
        self.end_strike();
        let is_heading = self.is_bold_line();
        let text = inline::trim(&std::mem::take(&mut self.text.line));
        self.text.has_plain = false;
        if text.is_empty() {
            return;
        }
        if is_heading {
            self.head(7, text.trim_end_matches(':').to_owned());
        } else {
            self.emit(Kind::Text, text);
        }
    }

    fn end_heading(&mut self, id: Id) {
        let Some(level) = self.text.heading else {
            return;
        };
        self.images(id, 0);
        self.end_link();
        self.end_strike();
        self.text.heading = None;
        self.text.has_plain = false;
        let mut text = inline::one_line(&std::mem::take(&mut self.text.line));
        if text.is_empty() {
            return;
        }
        // Terms of the same definition.
        let previous = self.dom.previous_element(id).map(|id| self.dom.name(id));
        if self.dom.name(id) == "dt" && previous == Some("dt") {
            let before = self
                .text
                .blocks
                .pop_if(|last| last.kind == Kind::Heading(7));
            text = before.map_or(text.clone(), |before| format!("{} / {text}", before.text));
        }
        self.head(level, text);
    }

    /// Ends the text of a term, a panel or a titled table: what follows belongs to the heading above.
    fn end_title(&mut self) {
        self.text.is_ended = self.text.level == 7;
    }

    fn head(&mut self, level: u8, text: String) {
        self.text.level = level;
        self.text.is_ended = false;
        // A heading ends the indent of lists: what follows it is its text.
        for item in &mut self.text.items {
            (item.width, item.is_written) = (0, true);
        }
        if level == 7 && word_count(&text) > TITLE {
            return self.emit(Kind::Text, text);
        }
        let is_same = |last: &mut Block| last.kind == Kind::Heading(7) && last.text == text;
        self.text.blocks.pop_if(is_same);
        self.text
            .blocks
            .push(Block::new(Kind::Heading(level), text));
    }

    fn emit(&mut self, kind: Kind, text: String) {
        if let Kind::Heading(level) = kind {
            return self.head(level, text);
        }
        if text.trim().is_empty() {
            return;
        }
        if std::mem::take(&mut self.text.is_ended) {
            self.text.level = 0;
            self.text.blocks.push(Block::new(Kind::Rule, String::new()));
        }
        let items = &mut self.text.items;
        let indent = items.iter().map(|item| item.width).sum();
        let mut block = Block {
            indent,
            ..Block::new(kind, text)
        };
        if let Some(item) = items.last_mut().filter(|item| !item.is_written) {
            (block.kind, block.mark) = (Kind::Item, item.mark.clone());
            item.is_written = true;
            item.width = item.mark.chars().count();
        }
        self.text.blocks.push(block);
    }

    fn item(&mut self, id: Id) {
        let list = self.text.lists.last_mut();
        let mark = list.map_or_else(|| "- ".to_owned(), |list| list.mark(self.dom, id));
        self.text.items.push(Item {
            mark,
            width: 0,
            is_written: false,
        });
    }

    fn row(&mut self, id: Id) {
        let is_head = self
            .dom
            .ancestors(id)
            .take(2)
            .any(|above| self.dom.name(above) == "thead");
        if let Some(table) = self.tables.last_mut() {
            table.rows.push(Row {
                is_head,
                cells: Vec::new(),
            });
        }
    }

    fn end_cell(&mut self, id: Id) {
        let Some(outer) = self.outer.pop() else {
            return;
        };
        let cell = std::mem::replace(&mut self.text, outer);
        let span = |name| {
            self.dom
                .attribute(id, name)
                .and_then(|value| value.parse().ok())
        };
        let row = self
            .tables
            .last_mut()
            .and_then(|table| table.rows.last_mut());
        if let Some(row) = row {
            row.cells.push(Cell {
                blocks: cell.blocks,
                is_header: self.dom.name(id) == "th",
                is_bold: !cell.is_plain,
                rows: span("rowspan").unwrap_or(1),
                columns: span("colspan").unwrap_or(1),
            });
        }
    }
}

fn has_currency(text: &str) -> bool {
    let signs = ['€', '$', '£', '¥', '₹', '₺', '₽', '₩', '฿', '₫', '₪', '₴'];
    let names = [
        "EUR", "USD", "GBP", "CHF", "PLN", "SEK", "NOK", "DKK", "kr", "zł", "Kč", "Ft", "lei",
    ];
    text.contains(signs)
        || text
            .split(|c: char| !c.is_alphabetic())
            .any(|word| names.contains(&word))
}

/// Returns whether a link is all that an item of a longer list has.
fn is_menu_item(dom: &Dom, id: Id) -> bool {
    let mut at = id;
    while dom.is_only_child(at) {
        let Some(parent) = dom.nodes[at].parent else {
            return false;
        };
        if dom.name(parent) == "li" {
            let list = dom.nodes[parent].parent.into_iter();
            let items = list.flat_map(|list| dom.children(list));
            let items = items.filter(|item| dom.name(*item) == "li");
            return items.take(MENU).count() == MENU;
        }
        at = parent;
    }
    false
}

/// Returns whether an address is worth keeping.
fn followed(address: &str) -> bool {
    let known = ["http://", "https://", "mailto:", "tel:"];
    let in_the_way =
        |c: char| c.is_whitespace() || matches!(c, ')' | '(' | '<' | '>' | '\\') || c >= '\u{E000}';
    known.iter().any(|scheme| address.starts_with(scheme)) && !address.contains(in_the_way)
}
