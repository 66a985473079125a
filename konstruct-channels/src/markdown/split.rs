//! Splits a Markdown text into parts, each within a limit measured on its translation, without breaking the markup.
//!
//! A part ends between blocks if possible. Otherwise it ends between the items of a list, the rows of a table or the lines of
//! code, and otherwise after a sentence or a word. Open markup is closed at the end of the part and reopened in the next one: a
//! code block's fence, a table's header, a quote's marks, emphasis. Links, inline code and graphemes are not cut, unless a single
//! one exceeds the limit.
//!
//! The work is linear in the length of the text: each part is searched in a window that is a multiple of its limit.

use std::ops::Range;

use konstruct_core::{Outgoing, outgoing::Rendered};
use pulldown_cmark::{CodeBlockKind, Event, LinkType, Parser, Tag};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{MAX_SOURCE, OPTIONS};

/// The size of the search window for a part, in bytes of source per unit of its limit.
const WINDOW: usize = 8;

/// The maximum depth at which lists and quotes are cut; deeper ones are cut as text.
const MAX_DEPTH: usize = 6;

/// The limits of one message, measured on the translation.
pub(crate) struct Limits<'a> {
    /// The limit of a text.
    pub(crate) max: usize,
    /// The limit of a text with choices.
    pub(crate) with_choices: usize,
    /// Measures a Markdown text.
    pub(crate) measure: &'a dyn Fn(&str) -> usize,
}

/// Splits a message into at most `max_parts` parts.
pub(crate) fn render(outgoing: &Outgoing, max_parts: usize, limits: &Limits<'_>) -> Rendered {
    let (mut doc, beyond) = bounded(&outgoing.text);
    let mut parts: Vec<String> = Vec::new();
    let chosen = outgoing.choices.is_some();
    while parts.len() < max_parts && !doc.trim().is_empty() {
        let last = parts.len() + 1 == max_parts;
        let limit = if chosen && last {
            limits.with_choices
        } else if chosen {
            before_choices(&doc, limits)
        } else {
            limits.max
        };
        let (part, rest) = split_off(&doc, limit, limits.measure, 0);
        if (limits.measure)(&part) > 0 {
            parts.push(part);
        }
        doc = rest;
    }
    let mut parts: Vec<Outgoing> = parts.into_iter().map(Outgoing::markdown).collect();
    if parts.is_empty() && max_parts > 0 && chosen {
        parts.push(Outgoing::markdown(""));
    }
    if let Some(first) = parts.first_mut() {
        first.quote.clone_from(&outgoing.quote);
    }
    if let Some(last) = parts.last_mut() {
        last.choices.clone_from(&outgoing.choices);
    }
    let rest = doc + beyond;
    let rest = (!rest.trim().is_empty()).then(|| Outgoing::markdown(rest.trim_end()));
    Rendered::new(parts, rest)
}

/// Returns the maximum length of a part followed by more text and the choices; the last part has less room.
fn before_choices(doc: &str, limits: &Limits<'_>) -> usize {
    let window = &doc[..boundary(doc, WINDOW * limits.max)];
    let length = (limits.measure)(window);
    if window.len() < doc.len() || length > limits.max + limits.with_choices {
        return limits.max;
    }
    if length <= limits.with_choices {
        return limits.with_choices;
    }
    // The remaining part fills most of the room beside the choices.
    limits
        .max
        .min(length.saturating_sub(limits.with_choices / 2))
}

/// Returns the text to parse, with reference links made inline so that no part depends on another, and the text beyond the
/// parsing limit.
fn bounded(text: &str) -> (String, &str) {
    let text = text.trim_end();
    let text = &text[blank_lines(text)..];
    let mut end = boundary(text, MAX_SOURCE);
    if end < text.len() {
        end = text[..end].rfind('\n').map_or(end, |at| at + 1);
    }
    let (parsed, beyond) = text.split_at(end);
    (inline_references(parsed), beyond)
}

fn inline_references(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    if text.contains("]:") {
        for (event, range) in Parser::new_ext(text, OPTIONS).into_offset_iter() {
            let (Event::Start(Tag::Link {
                link_type: LinkType::Reference | LinkType::Collapsed | LinkType::Shortcut,
                dest_url,
                ..
            })
            | Event::Start(Tag::Image {
                link_type: LinkType::Reference | LinkType::Collapsed | LinkType::Shortcut,
                dest_url,
                ..
            })) = event
            else {
                continue;
            };
            let source = &text[range.clone()];
            let label = match source.rfind("][") {
                Some(end) if source.ends_with(']') => &source[..=end],
                _ => source,
            };
            if range.start >= at {
                out.push_str(&text[at..range.start]);
                out.push_str(label);
                out.push_str("(<");
                out.extend(dest_url.chars().filter(|c| !matches!(c, '<' | '>' | '\n')));
                out.push_str(">)");
                at = range.end;
            }
        }
    }
    out.push_str(&text[at..]);
    out
}

/// Splits off one part, of at least one character. Returns it and the rest.
fn split_off(
    doc: &str,
    max: usize,
    measure: &dyn Fn(&str) -> usize,
    depth: usize,
) -> (String, String) {
    let mut size = WINDOW * max.max(64);
    let (window, blocks) = loop {
        let mut end = boundary(doc, size);
        if end < doc.len() {
            end = doc[..end].rfind('\n').map_or(end, |at| at + 1);
        }
        let window = &doc[..end];
        if measure(window) > max {
            break (window, blocks(window));
        }
        if end == doc.len() {
            return (doc.trim_end().to_owned(), String::new());
        }
        size *= 2;
    };
    let mut whole = largest_prefix(blocks.len(), |count| {
        measure(window[..blocks[count - 1].range.end].trim_end()) <= max
    });
    // A heading belongs to the block after it.
    while whole > 1 && whole < blocks.len() && blocks[whole - 1].kind == Kind::Heading {
        whole -= 1;
    }
    let end = whole
        .checked_sub(1)
        .map_or(0, |last| blocks[last].range.end);
    let before = window[..end].trim_end();
    let next = blocks.get(whole);
    let filled = measure(before) > max / 2;
    if let Some(block) = next.filter(|_| !filled) {
        let cut = Cutter {
            doc,
            window,
            before: &window[..block.range.start],
            max,
            measure,
            depth,
        };
        if let Some(split) = cut.block(block) {
            return split;
        }
    }
    match next {
        Some(block) if !before.trim().is_empty() => {
            (before.to_owned(), after(doc, block.range.start))
        }
        _ => {
            let end = anywhere(window, |head| measure(head) <= max);
            (window[..end].trim_end().to_owned(), after(doc, end))
        }
    }
}

/// The kind of a top-level block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Heading,
    Fenced,
    Indented,
    List(Option<u64>),
    Table,
    Quote,
    Text,
}

#[derive(Debug)]
struct Block {
    kind: Kind,
    range: Range<usize>,
    /// The start of each list item.
    items: Vec<usize>,
}

/// Finds the top-level blocks.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(text, OPTIONS).into_offset_iter() {
        let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
        match &event {
            Event::Start(Tag::Item) if depth == 1 => {
                if let Some(list) = blocks.last_mut() {
                    list.items.push(start);
                }
            }
            Event::Start(_) | Event::Rule if depth == 0 => blocks.push(Block {
                kind: match &event {
                    Event::Start(Tag::Heading { .. }) => Kind::Heading,
                    Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => Kind::Fenced,
                    Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => Kind::Indented,
                    Event::Start(Tag::List(first)) => Kind::List(*first),
                    Event::Start(Tag::Table(_)) => Kind::Table,
                    Event::Start(Tag::BlockQuote(_)) => Kind::Quote,
                    _ => Kind::Text,
                },
                range: start..range.end,
                items: Vec::new(),
            }),
            _ => {}
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    blocks
}

/// Cuts one block, so that its head fits behind the text before it.
struct Cutter<'a> {
    doc: &'a str,
    window: &'a str,
    before: &'a str,
    max: usize,
    measure: &'a dyn Fn(&str) -> usize,
    depth: usize,
}

impl Cutter<'_> {
    fn fits(&self, head: &str) -> bool {
        (self.measure)(&format!("{}{head}", self.before)) <= self.max
    }

    fn is_empty_part(&self) -> bool {
        self.before.trim().is_empty()
    }

    fn done(&self, head: &str, opening: &str, resume: usize) -> Option<(String, String)> {
        let part = format!("{}{}", self.before, head.trim_end());
        let rest = &self.doc[resume..];
        Some((part, format!("{opening}{rest}")))
    }

    fn block(&self, block: &Block) -> Option<(String, String)> {
        match block.kind {
            Kind::Fenced => self.fenced(block),
            Kind::Indented => self.lines(block, "", 0),
            Kind::Table => self.table(block),
            Kind::List(first) => self.list(block, first),
            Kind::Quote if self.depth < MAX_DEPTH => self.quote(block),
            Kind::Quote | Kind::Heading | Kind::Text => self.text(block),
        }
    }

    /// Cuts between lines; the first `header` lines are repeated in every part.
    fn lines(&self, block: &Block, closing: &str, header: usize) -> Option<(String, String)> {
        let source = &self.window[block.range.clone()];
        let mut starts: Vec<usize> = vec![0];
        starts.extend(source.match_indices('\n').map(|(at, _)| at + 1));
        starts.retain(|start| *start < source.len());
        let opening = &source[..*starts.get(header)?];
        let count = starts.len() - header;
        let end = |lines: usize| starts.get(header + lines).copied().unwrap_or(source.len());
        let fitting = largest_prefix(count.saturating_sub(1), |lines| {
            self.fits(&format!("{}{closing}", &source[..end(lines)]))
        });
        if fitting > 0 {
            let head = format!("{}{closing}", &source[..end(fitting)]);
            return self.done(&head, opening, block.range.start + end(fitting));
        }
        if !self.is_empty_part() {
            return None;
        }
        // One line exceeds the limit.
        let line = &source[opening.len()..end(1)];
        let cut = anywhere(line, |head| {
            self.fits(&format!("{opening}{head}\n{closing}"))
        });
        let head = format!("{opening}{}\n{closing}", &line[..cut]);
        self.done(&head, opening, block.range.start + opening.len() + cut)
    }

    fn fenced(&self, block: &Block) -> Option<(String, String)> {
        let source = &self.window[block.range.clone()];
        let trimmed = source.trim_start();
        let mark = trimmed.chars().next()?;
        let fence: String = trimmed.chars().take_while(|c| *c == mark).collect();
        self.lines(block, &fence, 1)
    }

    fn table(&self, block: &Block) -> Option<(String, String)> {
        self.lines(block, "", 2)
            .or_else(|| self.is_empty_part().then(|| self.text(block))?)
    }

    fn list(&self, block: &Block, first: Option<u64>) -> Option<(String, String)> {
        let items = &block.items;
        let whole = largest_prefix(items.len().saturating_sub(1), |count| {
            self.fits(&self.window[block.range.start..items[count]])
        });
        let number = |index: usize| Some(first?.saturating_add(index as u64));
        if whole > 0 {
            let head = &self.window[block.range.start..items[whole]];
            let (next, length) = numbered(&self.doc[items[whole]..], number(whole));
            return self.done(head, &next, items[whole] + length);
        }
        if !self.is_empty_part() || self.depth >= MAX_DEPTH {
            return self.is_empty_part().then(|| self.text(block))?;
        }
        // One item exceeds the limit: its content is cut, and the rest continues without a marker.
        let start = block.range.start;
        let source = &self.doc[start..];
        let width = marker_width(source)?;
        let (marker, content) = source.split_at(width);
        let (content, length) = dedented(content, width);
        let measure = |text: &str| (self.measure)(&format!("{marker}{}", indented(text, width)));
        let (head, rest) = split_off(&content, self.max, &measure, self.depth + 1);
        let mut following = self.doc[start + width + length..].to_owned();
        if items.len() > 1 {
            let (next, length) = numbered(&following, number(1));
            following = next + &following[length..];
        }
        let gap = if rest.trim().is_empty() { "" } else { "\n\n" };
        Some((
            format!("{marker}{}", indented(&head, width)),
            format!("{}{gap}{following}", rest.trim_end()),
        ))
    }

    fn quote(&self, block: &Block) -> Option<(String, String)> {
        if !self.is_empty_part() {
            return None;
        }
        let source = &self.window[block.range.clone()];
        let content: String = source
            .split_inclusive('\n')
            .map(|line| {
                let bare = line.trim_start().strip_prefix('>').unwrap_or(line);
                bare.strip_prefix(' ').unwrap_or(bare)
            })
            .collect();
        let quoted = |text: &str| {
            let lines: Vec<String> = text.split('\n').map(|line| format!("> {line}")).collect();
            lines.join("\n")
        };
        let measure = |text: &str| (self.measure)(&quoted(text));
        let (head, rest) = split_off(&content, self.max, &measure, self.depth + 1);
        if rest.trim().is_empty() {
            return None;
        }
        let opening = quoted(rest.trim_end()) + "\n";
        self.done(&quoted(&head), &opening, block.range.end)
    }

    /// Cuts after a sentence, a line or a word; within a word only if nothing precedes it.
    fn text(&self, block: &Block) -> Option<(String, String)> {
        let source = &self.window[block.range.clone()];
        let seams = seams(source);
        let head = |seam: &Seam| format!("{}{}", &source[..seam.end], seam.closing());
        let fitting = largest_prefix(seams.len(), |count| self.fits(&head(&seams[count - 1])));
        let best = seams[..fitting].last().map(|last| {
            let far = |seam: &&Seam| seam.end > last.end / 2;
            let found = |rank: Rank| {
                seams[..fitting]
                    .iter()
                    .rev()
                    .take_while(far)
                    .find(|seam| seam.rank >= rank)
            };
            found(Rank::Line)
                .or_else(|| found(Rank::Sentence))
                .unwrap_or(last)
        });
        match best {
            Some(seam) => self.done(&head(seam), &seam.opening(), block.range.start + seam.next),
            None if self.is_empty_part() => {
                let end = anywhere(source, |head| self.fits(head));
                self.done(&source[..end], "", block.range.start + end)
            }
            None => None,
        }
    }
}

/// The quality of a seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Word,
    Sentence,
    Line,
}

/// A position where a paragraph can be cut.
struct Seam {
    end: usize,
    next: usize,
    rank: Rank,
    /// The emphasis marks open at this position, outermost first.
    open: Vec<String>,
    /// Whether the following text would start another block.
    escape: bool,
}

impl Seam {
    fn closing(&self) -> String {
        self.open.iter().rev().map(String::as_str).collect()
    }

    fn opening(&self) -> String {
        let escape = if self.escape { "\\" } else { "" };
        self.open.concat() + escape
    }
}

/// Finds white space outside links and code, and the ends of lines.
fn seams(source: &str) -> Vec<Seam> {
    let mut seams = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut links = 0_usize;
    for (event, range) in Parser::new_ext(source, OPTIONS).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => links += 1,
            Event::End(pulldown_cmark::TagEnd::Link | pulldown_cmark::TagEnd::Image) => {
                links = links.saturating_sub(1);
            }
            Event::Start(Tag::Emphasis) => open.push(source[range.start..=range.start].to_owned()),
            Event::Start(Tag::Strong) => {
                open.push(source[range.start..range.start + 2].to_owned());
            }
            Event::Start(Tag::Strikethrough) => {
                let marks = source[range.start..].chars().take_while(|c| *c == '~');
                open.push(marks.take(2).collect());
            }
            Event::End(
                pulldown_cmark::TagEnd::Emphasis
                | pulldown_cmark::TagEnd::Strong
                | pulldown_cmark::TagEnd::Strikethrough,
            ) => {
                open.pop();
            }
            Event::SoftBreak | Event::HardBreak if links == 0 => {
                push_seam(&mut seams, source, range, Rank::Line, &open);
            }
            Event::Text(_) | Event::Html(_) if links == 0 => {
                let text = &source[range.clone()];
                for (at, space) in text.match_indices(char::is_whitespace) {
                    let at = range.start + at;
                    let rank = match source[..at].chars().next_back() {
                        Some('.' | '!' | '?' | ':' | ';' | '。' | '！' | '？') => Rank::Sentence,
                        _ => Rank::Word,
                    };
                    push_seam(&mut seams, source, at..at + space.len(), rank, &open);
                }
            }
            _ => {}
        }
    }
    seams
}

fn push_seam(
    seams: &mut Vec<Seam>,
    source: &str,
    range: Range<usize>,
    rank: Rank,
    open: &[String],
) {
    let rest = &source[range.end..];
    let next = range.end + (rest.len() - rest.trim_start().len());
    let end = source[..range.start].trim_end_matches([' ', '\\']).len();
    if end == 0 || rest.trim().is_empty() {
        return;
    }
    let begins = open.is_empty() && begins_block(&source[next..]);
    // A number is the only block start that cannot be escaped with a preceding backslash.
    if begins && source[next..].starts_with(|c: char| c.is_ascii_digit()) {
        return;
    }
    seams.push(Seam {
        end,
        next,
        rank,
        open: open.to_vec(),
        escape: begins,
    });
}

/// Returns whether words within a paragraph would start another block at the beginning of a text.
fn begins_block(rest: &str) -> bool {
    let line = rest.lines().next().unwrap_or_default();
    let word = line.split_whitespace().next().unwrap_or_default();
    let only = |marks: &[char]| word.chars().all(|c| marks.contains(&c));
    let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let tag = word.strip_prefix('<').is_some_and(|inner| {
        inner.starts_with(['/', '!', '?'])
            || (inner.starts_with(|c: char| c.is_ascii_alphabetic()) && !inner.contains(':'))
    });
    only(&['-'])
        || only(&['*'])
        || only(&['_'])
        || only(&['='])
        || only(&['+'])
        || only(&['#'])
        || word.starts_with(['>', '|'])
        || word.starts_with("```")
        || word.starts_with("~~~")
        || (digits.len() < word.len() && matches!(digits, "." | ")"))
        || (word.starts_with('[') && line.contains("]:"))
        || tag
}

/// Returns the largest number up to `count` that satisfies `holds`, if all smaller ones do and no larger one does.
fn largest_prefix(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Returns where to cut a text without a better seam: after a space, otherwise between graphemes, and otherwise, if one grapheme
/// exceeds the limit, between characters.
fn anywhere(text: &str, fits: impl Fn(&str) -> bool) -> usize {
    let last = |ends: Vec<usize>| {
        let count = largest_prefix(ends.len(), |count| fits(&text[..ends[count - 1]]));
        count.checked_sub(1).map(|last| ends[last])
    };
    let graphemes = text
        .grapheme_indices(true)
        .map(|(at, grapheme)| at + grapheme.len());
    if let Some(end) = last(graphemes.collect()) {
        let space = text[..end].rfind(char::is_whitespace);
        return match space.filter(|at| *at > end / 2 && end < text.len()) {
            Some(at) => at + text[at..].chars().next().map_or(0, char::len_utf8),
            None => end,
        };
    }
    let chars = text.char_indices().map(|(at, c)| at + c.len_utf8());
    last(chars.collect())
        .or_else(|| text.chars().next().map(char::len_utf8))
        .unwrap_or(0)
}

/// Returns the last character boundary up to `at`.
fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

/// Returns the length of the leading blank lines. White space before the first words is indentation.
fn blank_lines(text: &str) -> usize {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        if !line.trim().is_empty() || !line.ends_with('\n') {
            break;
        }
        length += line.len();
    }
    length
}

fn after(doc: &str, at: usize) -> String {
    let rest = &doc[at..];
    rest[blank_lines(rest)..].to_owned()
}

/// Returns an item with its number, and its length in the source: `1. 1. 1.` continues counting in the next part.
fn numbered(item: &str, number: Option<u64>) -> (String, usize) {
    let bare = item.trim_start();
    let digits = bare.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let (Some(number), Some(width)) = (number, marker_width(item)) else {
        return (String::new(), 0);
    };
    if digits == 0 || bare[..digits] == number.to_string() {
        return (String::new(), 0);
    }
    let (content, length) = dedented(&item[width..], width);
    let marker = format!("{number}{} ", &bare[digits..=digits]);
    let text = content.trim_end();
    let end = &content[text.len()..];
    (
        format!("{marker}{}{end}", indented(text, marker.len())),
        width + length,
    )
}

/// Returns the width of an item's marker with the white space around it, or `None` if it has no marker.
fn marker_width(item: &str) -> Option<usize> {
    let indent = item.len() - item.trim_start_matches(' ').len();
    let bare = &item[indent..];
    let digits = bare.len() - bare.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let marker = match bare.as_bytes().get(digits)? {
        b'.' | b')' if digits > 0 => digits + 1,
        b'-' | b'+' | b'*' if digits == 0 => 1,
        _ => return None,
    };
    let space = bare[marker..].len() - bare[marker..].trim_start_matches(' ').len();
    // Five or more spaces start indented code.
    let space = if (1..=4).contains(&space) { space } else { 1 };
    (item.len() > indent + marker + space).then_some(indent + marker + space)
}

/// Removes the indentation of an item's lines, up to the end of the item. Returns the text and its length in the source.
fn dedented(content: &str, width: usize) -> (String, usize) {
    let indent = " ".repeat(width);
    let mut out = String::new();
    let mut length = 0;
    let mut blank = false;
    for (index, line) in content.split_inclusive('\n').enumerate() {
        let bare = line.strip_prefix(&indent);
        let empty = line.trim().is_empty();
        // A line without indentation continues the paragraph, unless it starts something else.
        let lazy = !blank && bare.is_none() && marker_width(line).is_none();
        if index > 0 && bare.is_none() && !empty && !lazy {
            break;
        }
        out.push_str(if index == 0 {
            line
        } else {
            bare.unwrap_or(line)
        });
        length += line.len();
        blank = empty;
    }
    (out, length)
}

fn indented(text: &str, width: usize) -> String {
    let indent = format!("\n{}", " ".repeat(width));
    text.replace('\n', &indent)
}

#[cfg(test)]
mod tests;
