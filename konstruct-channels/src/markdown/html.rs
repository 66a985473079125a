//! The HTML that models write in Markdown. A few tags have a meaning in a chat, other known tags are dropped, and anything else
//! between `<` and `>` is displayed as text.

use super::inline::{Inline, Style};

/// HTML tags that only structure a page.
const STRUCTURE: &[&str] = &[
    "abbr",
    "article",
    "aside",
    "audio",
    "body",
    "button",
    "center",
    "cite",
    "code",
    "dd",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "html",
    "iframe",
    "input",
    "ins",
    "kbd",
    "label",
    "li",
    "link",
    "main",
    "mark",
    "meta",
    "nav",
    "ol",
    "p",
    "path",
    "picture",
    "pre",
    "q",
    "samp",
    "script",
    "section",
    "small",
    "source",
    "span",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
];

/// Tags that start or end a line.
const LINES: &[&str] = &[
    "article",
    "blockquote",
    "dd",
    "details",
    "div",
    "dt",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tr",
    "ul",
];

/// Processes a tag or comment, including its `<` and `>`. Returns whether it is displayed literally.
pub(super) fn tag(html: &str, inline: &mut Inline) -> bool {
    if html.starts_with("<!--") {
        return false;
    }
    let inner = html.trim_start_matches('<').trim_end_matches(['>', '/']);
    let (closing, inner) = match inner.strip_prefix('/') {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    let length = inner
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(inner.len());
    let name = inner[..length].to_ascii_lowercase();
    let style = match name.as_str() {
        "b" | "strong" => Some(Style::Bold),
        "i" | "em" => Some(Style::Italic),
        "s" | "del" | "strike" => Some(Style::Strike),
        _ => None,
    };
    match (name.as_str(), style) {
        (_, Some(style)) if closing => inline.close(style),
        (_, Some(style)) => inline.open(style, ""),
        ("br", _) => inline.line_break(),
        ("a", _) if closing => inline.close_link(),
        ("a", _) => inline.open_link(&attribute(inner, "href")),
        ("img", _) => {
            inline.open_link(&attribute(inner, "src"));
            inline.text(&attribute(inner, "alt"));
            inline.close_link();
        }
        ("td" | "th", _) if closing => inline.text(" "),
        ("li", _) if !closing => inline.text("• "),
        (name, _) if STRUCTURE.contains(&name) || LINES.contains(&name) => {}
        _ => {
            inline.text(html);
            return true;
        }
    }
    false
}

/// Processes a block of HTML: tags, and text between them.
pub(super) fn block(html: &str, inline: &mut Inline) {
    let mut rest = html.trim();
    let mut fresh = true;
    while !rest.is_empty() {
        if rest.starts_with('<') {
            let mark = if rest.starts_with("<!--") { "-->" } else { ">" };
            let Some(at) = rest.find(mark) else {
                // An unterminated tag or comment is displayed, so that it hides nothing.
                inline.text(&decoded(rest));
                return;
            };
            let (one, after) = rest.split_at(at + mark.len());
            fresh &= !tag(one, inline);
            rest = after;
            continue;
        }
        let (text, after) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 && !fresh {
                inline.line_break();
                fresh = true;
            }
            let line = if fresh { line.trim_start() } else { line };
            if !line.trim_end_matches('\r').is_empty() {
                inline.text(&decoded(line));
                fresh = false;
            }
        }
        rest = after;
    }
}

fn attribute(tag: &str, name: &str) -> String {
    let lower = tag.to_ascii_lowercase();
    let Some(at) = lower.find(&format!("{name}=")) else {
        return String::new();
    };
    let value = &tag[at + name.len() + 1..];
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].split(quote).next(),
        _ => value.split([' ', '>']).next(),
    };
    decoded(value.unwrap_or_default())
}

fn decoded(text: &str) -> String {
    [
        ("&nbsp;", "\u{A0}"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c))
}
