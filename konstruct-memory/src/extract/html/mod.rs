//! Reads HTML: the blocks of the visible text, and their Markdown.
//!
//! | file | what it holds |
//! |---|---|
//! | `dom` | the tree of a page |
//! | `panel` | what is displayed, and what a button opens |
//! | `walk` | the tree becomes blocks |
//! | `list` | the marks of list items |
//! | `table` | tables as grids |
//! | `inline` | the text of a block |
//! | `faq_page` | JSON-LD |
//! | `web_page` | what a crawler needs besides the text |

mod dom;
mod faq_page;
mod inline;
mod list;
mod panel;
mod table;
#[cfg(test)]
mod tests;
mod walk;
#[cfg(feature = "crawl")]
mod web_page;

use self::dom::Dom;
pub(crate) use self::inline::escaped;
#[cfg(feature = "crawl")]
pub(crate) use self::web_page::WebPage;

/// The most words of a title that is not a heading of the page.
const TITLE: usize = 16;

/// A piece of the visible text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// The mark of its list item, and how far it is indented.
    mark: String,
    indent: usize,
    /// Its text with the marks of `inline`; a code block without.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of level 1 to 6, or 7: a bold line, a term, the title of a panel.
    Heading(u8),
    Text,
    /// The first text of a list item. More text of the item is [`Kind::Text`] with an indent.
    Item,
    /// A row of a table.
    Row,
    Code,
    /// Where the text of a heading of level 7 ends. Text follows.
    Rule,
}

impl Block {
    fn new(kind: Kind, text: String) -> Self {
        Self {
            kind,
            mark: String::new(),
            indent: 0,
            text,
        }
    }

    /// Returns whether the block belongs to the list item before it.
    pub(crate) fn is_indented(&self) -> bool {
        self.indent > 0
    }

    /// Returns its text as a reader sees it, with the mark of its list item.
    pub(crate) fn plain(&self) -> String {
        match self.kind {
            Kind::Code => self.text.clone(),
            _ => self.indented(&inline::plain(&self.text)),
        }
    }

    fn markdown(&self) -> String {
        let text = match self.kind {
            Kind::Code => format!("```\n{}\n```", self.text.replace("```", "'''")),
            Kind::Rule => "---".to_owned(),
            _ => inline::markdown(&escaped(&self.text)),
        };
        match self.kind {
            Kind::Heading(7) => format!("**{text}**"),
            Kind::Heading(level) => format!("{} {text}", "#".repeat(level.into())),
            _ => self.indented(&text),
        }
    }

    fn indented(&self, text: &str) -> String {
        let first = " ".repeat(self.indent) + &self.mark;
        let others = format!("\n{}", " ".repeat(first.chars().count()));
        first + &text.replace('\n', &others)
    }
}

/// Returns a page as Markdown.
pub(super) fn markdown(page: &str) -> String {
    joined(&blocks(page, false))
}

/// Returns blocks as Markdown.
pub(crate) fn joined(blocks: &[Block]) -> String {
    let mut out = String::new();
    let mut before = None;
    for block in blocks {
        if before.is_some() {
            // An introduction stays with its list.
            let is_tight = block.kind == Kind::Item
                && (before == Some(Kind::Item)
                    || (before == Some(Kind::Text) && out.ends_with(':')));
            out.push_str(if is_tight { "\n" } else { "\n\n" });
        }
        before = Some(block.kind);
        out.push_str(&block.markdown());
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// Returns the blocks of a page, or of the HTML of a Markdown document. Navigation is included only if the page has nothing else.
pub(crate) fn blocks(page: &str, is_fragment: bool) -> Vec<Block> {
    let dom = Dom::parse(page, is_fragment);
    if is_fragment {
        return walk::blocks(&dom, true, false);
    }
    let blocks = main_blocks(&dom);
    if blocks.is_empty() {
        titled(&dom, walk::blocks(&dom, false, true))
    } else {
        blocks
    }
}

/// Returns the blocks of a page without its navigation.
fn main_blocks(dom: &Dom) -> Vec<Block> {
    let mut blocks = walk::blocks(dom, false, false);
    faq_page::append(dom, &mut blocks);
    titled(dom, blocks)
}

/// Puts the title of a page before its blocks, unless one of them is a heading like it.
fn titled(dom: &Dom, mut blocks: Vec<Block>) -> Vec<Block> {
    let has_title = blocks.iter().any(|block| block.kind == Kind::Heading(1));
    if !has_title && !blocks.is_empty() {
        blocks.splice(0..0, walk::title(dom));
    }
    blocks
}
