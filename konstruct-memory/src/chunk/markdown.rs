//! Markdown.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

use super::Section;
use crate::extract::{Block, Kind, blocks, escaped};

const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_HEADING_ATTRIBUTES);

/// Elements whose content is not parsed: in Markdown they are examples.
const RAW: &[&str] = &[
    "<title",
    "<textarea",
    "<xmp",
    "<iframe",
    "<plaintext",
    "<script",
    "<style",
];

/// Returns a section for each heading, with the headings above it. What the text is in HTML is read like a page, so HTML within
/// Markdown means the same as in a page.
pub(super) fn sections(text: &str) -> Vec<Section> {
    of_blocks(blocks(&html(without_front_matter(text)), true))
}

/// Returns the sections of text of which only the headings are Markdown.
pub(super) fn sections_of_text(text: &str) -> Vec<Section> {
    let line = |line: &str| {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        match line.split_at_checked(level) {
            Some((marks, title)) if (1..=6).contains(&level) && title.starts_with(' ') => {
                format!("{marks} {}", escaped(title.trim()))
            }
            _ => escaped(line.trim()),
        }
    };
    sections(&text.lines().map(line).collect::<Vec<_>>().join("\n"))
}

/// Groups blocks under their headings.
fn of_blocks(blocks: Vec<Block>) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut path: Vec<(u8, String)> = Vec::new();
    let mut before = None;
    for block in blocks {
        let text = block.plain();
        if block.kind == Kind::Rule {
            path.retain(|(level, _)| *level < 7);
            sections.push(Section {
                path: path.iter().map(|(_, title)| title.clone()).collect(),
                paragraphs: Vec::new(),
            });
        } else if let Kind::Heading(level) = block.kind {
            path.retain(|(above, _)| *above < level);
            path.push((level, text));
            sections.push(Section {
                path: path.iter().map(|(_, title)| title.clone()).collect(),
                paragraphs: Vec::new(),
            });
        } else if let Some(Section { paragraphs, .. }) = sections.last_mut() {
            let is_item = matches!(before, Some(Kind::Item));
            // The items of a list are one paragraph, with the line that introduces them.
            let last = paragraphs.last_mut().filter(|last| match block.kind {
                Kind::Item => is_item || last.ends_with(':'),
                Kind::Text => is_item && block.is_indented(),
                _ => false,
            });
            match last {
                Some(last) => {
                    last.push('\n');
                    last.push_str(&text);
                }
                None => paragraphs.push(text),
            }
        }
        // More text of an item continues it.
        if !(block.kind == Kind::Text && block.is_indented() && before == Some(Kind::Item)) {
            before = Some(block.kind);
        }
    }
    sections.retain(|section| !section.path.is_empty() || !section.paragraphs.is_empty());
    sections
}

/// Returns Markdown as HTML.
fn html(text: &str) -> String {
    let mut events = Events {
        text,
        lists: Vec::new(),
        in_footnote: false,
    };
    let parser = Parser::new_ext(text, OPTIONS).into_offset_iter();
    let mut out = String::with_capacity(text.len() * 2);
    push_html(
        &mut out,
        parser.map(|(event, range)| events.html(event, range.start)),
    );
    out
}

/// Replaces what the HTML of Markdown would not show as it is written.
struct Events<'a> {
    text: &'a str,
    /// The last number written in the source of each open list, and the one shown.
    lists: Vec<Option<(u64, u64)>>,
    /// Whether a footnote has begun whose first paragraph has not.
    in_footnote: bool,
}

impl<'a> Events<'a> {
    fn html(&mut self, event: Event<'a>, at: usize) -> Event<'a> {
        let starts_footnote = std::mem::take(&mut self.in_footnote);
        match event {
            // Owners break lines without the two blanks that Markdown wants.
            Event::SoftBreak => Event::HardBreak,
            Event::Start(Tag::List(first)) => {
                self.lists
                    .push(first.map(|first| (first, first.wrapping_sub(1))));
                Event::Start(Tag::List(first))
            }
            Event::End(TagEnd::List(ordered)) => {
                self.lists.pop();
                Event::End(TagEnd::List(ordered))
            }
            Event::Start(Tag::Item) => self.item(at),
            Event::End(TagEnd::Item) => raw("</li>"),
            // An image is its text, with its address if that is one of the web.
            Event::Start(Tag::Image { dest_url, .. }) => {
                let is_web = dest_url.starts_with("http://") || dest_url.starts_with("https://");
                let address = if is_web { &*dest_url } else { "" };
                let address = address.replace('&', "&amp;").replace('"', "%22");
                Event::InlineHtml(format!("<a href=\"{address}\">").into())
            }
            Event::End(TagEnd::Image) => raw("</a>"),
            Event::FootnoteReference(label) => Event::Text(format!("[{label}]").into()),
            Event::Start(Tag::FootnoteDefinition(label)) => {
                self.in_footnote = true;
                Event::Text(format!("[{label}] ").into())
            }
            Event::End(TagEnd::FootnoteDefinition) => raw("<p></p>"),
            Event::Start(Tag::Paragraph) if starts_footnote => raw(""),
            Event::InlineHtml(tag) if is_raw(&tag) => Event::Text(tag),
            event => event,
        }
    }

    /// Numbers an item as its author did: "1. 1. 1." means 1 to 3, but other numbers mean what they say.
    fn item(&mut self, at: usize) -> Event<'a> {
        let Some(Some((last, shown))) = self.lists.last_mut() else {
            return raw("<li>");
        };
        let rest = &self.text[at..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let written: u64 = rest[..digits].parse().unwrap_or(*last);
        *shown = if written == *last {
            shown.wrapping_add(1)
        } else {
            written
        };
        *last = written;
        Event::InlineHtml(format!("<li value=\"{shown}\">").into())
    }
}

fn raw(html: &'static str) -> Event<'static> {
    Event::InlineHtml(CowStr::Borrowed(html))
}

/// Returns whether a tag would swallow the text after it.
fn is_raw(tag: &str) -> bool {
    let tag = tag.to_ascii_lowercase();
    RAW.iter().any(|raw| tag.starts_with(raw))
}

/// Removes the lines between `---` or `+++` at the start, if they are fields.
fn without_front_matter(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.split_inclusive('\n');
    let mark = lines.next().unwrap_or_default().trim_end();
    if !matches!(mark, "---" | "+++") {
        return text;
    }
    let mut at = text.find('\n').map_or(text.len(), |at| at + 1);
    for line in lines {
        at += line.len();
        let line = line.trim_end();
        if line == mark || (mark == "---" && line == "...") {
            return &text[at..];
        }
        let is_field = line.is_empty()
            || line.starts_with([' ', '\t', '#', '-', '[', ']', '}'])
            || line.contains([':', '=']);
        if !is_field {
            break;
        }
    }
    text
}
