//! Translates Markdown blocks into the lines of a chat.

use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::{
    Notation, OPTIONS, html,
    inline::{Inline, Style},
};

/// The maximum displayed depth of quotes and lists; deeper nesting is displayed at this depth.
const MAX_DEPTH: usize = 8;

/// The emphasis marks, the longer ones first.
const MARKS: &[&str] = &["**", "__", "~~", "*", "_", "~"];

/// Translates Markdown into a vendor's notation. The result can neither mention anybody nor hide an address.
pub(crate) fn translate(markdown: &str, notation: Notation) -> String {
    let mut writer = Writer {
        source: markdown,
        notation,
        frames: vec![Frame::default()],
        ignored: 0,
        inline: Inline::default(),
        inline_range: 0..0,
        code: None,
        html: None,
        table: Table::default(),
    };
    for (event, range) in Parser::new_ext(markdown, OPTIONS).into_offset_iter() {
        writer.event(event, range);
    }
    writer.flush(false);
    writer.frames.swap_remove(0).out
}

/// A container block with its text so far.
#[derive(Default)]
struct Frame {
    kind: Container,
    out: String,
    /// The end of the last block in the source.
    end: usize,
    start: usize,
}

#[derive(Default)]
enum Container {
    #[default]
    Root,
    Quote,
    /// The number of the next item, if the list is ordered.
    List(Option<u64>),
    /// The text before the item.
    Item(String),
    Footnote(String),
}

#[derive(Default)]
struct Table {
    header: Vec<String>,
    cells: Vec<String>,
    rows: Vec<String>,
    in_header: bool,
    in_cell: bool,
}

struct Writer<'a> {
    source: &'a str,
    notation: Notation,
    frames: Vec<Frame>,
    /// The number of open containers beyond the depth limit.
    ignored: usize,
    inline: Inline,
    inline_range: Range<usize>,
    code: Option<String>,
    html: Option<String>,
    table: Table,
}

impl Writer<'_> {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag, range),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.inline(range).text(&text),
            },
            Event::Code(code) => self.inline(range).code(&code),
            Event::Html(text) => match &mut self.html {
                Some(html) => html.push_str(&text),
                None => html::block(&text, self.inline(range)),
            },
            Event::InlineHtml(text) => {
                html::tag(&text, self.inline(range));
            }
            Event::InlineMath(text) | Event::DisplayMath(text) => self.inline(range).text(&text),
            Event::FootnoteReference(label) => {
                self.inline(range).text(&format!("[{label}]"));
            }
            Event::SoftBreak | Event::HardBreak if self.table.in_cell => {
                self.inline(range).text(" ");
            }
            Event::SoftBreak | Event::HardBreak => self.inline(range).line_break(),
            Event::Rule => {
                self.flush(false);
                self.block("———", range);
            }
            Event::TaskListMarker(done) => {
                if let Some(Container::Item(marker)) =
                    self.frames.last_mut().map(|frame| &mut frame.kind)
                {
                    *marker = if done { "☑ " } else { "☐ " }.to_owned();
                }
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough => {
                let style = match tag {
                    Tag::Emphasis => Style::Italic,
                    Tag::Strong => Style::Bold,
                    _ => Style::Strike,
                };
                let source = self.source.get(range.start..).unwrap_or_default();
                let mark = MARKS.iter().find(|mark| source.starts_with(**mark));
                let mark = match style {
                    Style::Italic => mark.map_or("", |mark| &mark[..1]),
                    _ => mark.copied().unwrap_or_default(),
                };
                self.inline(range).open(style, mark);
            }
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.inline(range).open_link(&dest_url);
            }
            Tag::Superscript | Tag::Subscript => {}
            Tag::Paragraph | Tag::Heading { .. } => self.flush(false),
            Tag::CodeBlock(_) => {
                self.flush(false);
                self.code = Some(String::new());
            }
            Tag::HtmlBlock => {
                self.flush(false);
                self.html = Some(String::new());
            }
            Tag::BlockQuote(_) => self.push(Container::Quote, range),
            Tag::List(first) => self.push(Container::List(first), range),
            Tag::Item => {
                let marker = self.marker();
                self.push(Container::Item(marker), range);
            }
            Tag::FootnoteDefinition(label) => {
                self.push(Container::Footnote(label.to_string()), range);
            }
            Tag::Table(_) => {
                self.flush(false);
                self.table = Table::default();
            }
            Tag::TableHead => self.table.in_header = true,
            Tag::TableCell => self.table.in_cell = true,
            Tag::TableRow
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Emphasis => self.inline(range).close(Style::Italic),
            TagEnd::Strong => self.inline(range).close(Style::Bold),
            TagEnd::Strikethrough => self.inline(range).close(Style::Strike),
            TagEnd::Link | TagEnd::Image => self.inline(range).close_link(),
            TagEnd::Paragraph => self.flush(false),
            TagEnd::Heading(_) => self.flush(true),
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                let code = self.code_block(&code);
                self.block(&code, range);
            }
            TagEnd::HtmlBlock => {
                let text = self.html.take().unwrap_or_default();
                html::block(&text, self.inline(range));
                self.flush(false);
            }
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item | TagEnd::FootnoteDefinition => {
                self.pop(range)
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.inline);
                let cell = cell.finish(self.notation, false, true);
                self.table.cells.push(cell);
                self.table.in_cell = false;
            }
            TagEnd::TableHead => {
                self.table.header = std::mem::take(&mut self.table.cells);
                self.table.in_header = false;
            }
            TagEnd::TableRow => self.row(),
            TagEnd::Table => {
                if self.table.rows.is_empty() {
                    self.table.cells = std::mem::take(&mut self.table.header);
                    self.row();
                }
                let rows = std::mem::take(&mut self.table.rows);
                self.block(&rows.join("\n"), range);
            }
            _ => {}
        }
    }

    /// Returns the text of the current block.
    fn inline(&mut self, range: Range<usize>) -> &mut Inline {
        if self.inline.is_empty() {
            self.inline_range = range;
        } else {
            self.inline_range.end = self.inline_range.end.max(range.end);
        }
        &mut self.inline
    }

    /// Ends the text of a block.
    fn flush(&mut self, heading: bool) {
        if self.inline.is_empty() {
            return;
        }
        let inline = std::mem::take(&mut self.inline);
        let text = inline.finish(self.notation, heading, false);
        let range = self.inline_range.clone();
        self.block(&text, range);
    }

    /// Writes a block and keeps a blank line before it.
    fn block(&mut self, text: &str, range: Range<usize>) {
        if text.trim().is_empty() {
            return;
        }
        let source = self.source;
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if !frame.out.is_empty() {
            let gap = source.get(frame.end..range.start).unwrap_or_default();
            frame.out.push('\n');
            if gap.bytes().filter(|byte| *byte == b'\n').count() > 1 {
                frame.out.push('\n');
            }
        }
        frame.out.push_str(text);
        let written = source.get(range.clone()).unwrap_or_default();
        // In a quote, blank lines start with its mark.
        let written = written.trim_end_matches(|c: char| c.is_whitespace() || c == '>');
        frame.end = range.start + written.len();
    }

    fn push(&mut self, kind: Container, range: Range<usize>) {
        self.flush(false);
        if self.ignored > 0 || self.frames.len() > 2 * MAX_DEPTH {
            self.ignored += 1;
            return;
        }
        self.frames.push(Frame {
            kind,
            out: String::new(),
            end: range.start,
            start: range.start,
        });
    }

    fn pop(&mut self, range: Range<usize>) {
        self.flush(false);
        if self.ignored > 0 {
            self.ignored -= 1;
            return;
        }
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let text = match frame.kind {
            Container::Root | Container::List(_) => frame.out,
            Container::Quote => prefixed(&frame.out, "> ", "> "),
            Container::Item(marker) => {
                let indent = " ".repeat(marker.chars().count());
                prefixed(&frame.out, &marker, &indent)
            }
            Container::Footnote(label) => format!("[{label}] {}", frame.out),
        };
        self.block(&text, frame.start..range.end);
    }

    /// Returns the marker of the list's next item.
    fn marker(&mut self) -> String {
        self.flush(false);
        let depth = self
            .frames
            .iter()
            .filter(|frame| matches!(frame.kind, Container::List(_)))
            .count();
        match self.frames.last_mut().map(|frame| &mut frame.kind) {
            Some(Container::List(Some(number))) if self.ignored == 0 => {
                let marker = format!("{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            _ => match depth {
                0 | 1 => "• ",
                2 => "◦ ",
                _ => "▪ ",
            }
            .to_owned(),
        }
    }

    /// Writes a row as `header: cell; header: cell`, because chats display no tables.
    fn row(&mut self) {
        let cells = std::mem::take(&mut self.table.cells);
        let header = self.table.header.iter().map(String::as_str);
        let row: Vec<String> = header
            .chain(std::iter::repeat(""))
            .zip(&cells)
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| {
                if name.is_empty() {
                    cell.clone()
                } else {
                    format!("{}: {cell}", name.trim_end_matches(':'))
                }
            })
            .collect();
        if !row.is_empty() {
            self.table.rows.push(row.join("; "));
        }
    }

    fn code_block(&self, code: &str) -> String {
        let code = code.trim_end_matches('\n');
        let mut out = String::from("```\n");
        // Three back-ticks would end the block.
        self.notation
            .escape(&code.replace("```", "`\u{200B}`\u{200B}`"), &mut out);
        out.push_str("\n```");
        out
    }
}

fn prefixed(text: &str, first: &str, others: &str) -> String {
    let mut out = String::with_capacity(text.len() + first.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let prefix = if index == 0 { first } else { others };
        out.push_str(if line.is_empty() {
            prefix.trim_end()
        } else {
            prefix
        });
        out.push_str(line);
    }
    out
}
