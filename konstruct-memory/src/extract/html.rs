//! Turns HTML into Markdown of the visible text. One pass over the tokens without building a tree, so nesting costs nothing.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

/// Elements without visible text.
const WITHOUT_TEXT: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "math", "head", "iframe", "object", "canvas",
    "select", "textarea", "button",
];
/// Elements around the main content.
const SURROUNDING: &[&str] = &["nav", "footer", "aside"];
/// Elements without an end tag.
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];
/// Elements that begin and end a paragraph.
const BLOCK: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "body",
    "dd",
    "details",
    "div",
    "dl",
    "fieldset",
    "figcaption",
    "figure",
    "form",
    "header",
    "hr",
    "html",
    "main",
    "ol",
    "p",
    "section",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "ul",
];

/// Returns a page as Markdown. Navigation is included only if the page has nothing else.
pub(super) fn markdown(page: &str) -> String {
    let text = read(page, &[WITHOUT_TEXT, SURROUNDING].concat());
    if text.is_empty() {
        return read(page, WITHOUT_TEXT);
    }
    text
}

fn read(page: &str, unread: &[&str]) -> String {
    let mut emitter = DefaultEmitter::<()>::default();
    emitter.naively_switch_states(true);
    let mut writer = Writer::default();
    let Ok(()) = Tokenizer::new_with_emitter(page, emitter).try_for_each(|token| {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => writer.start(&tag, unread),
            Token::EndTag(tag) => writer.end(&name(&tag.name)),
            Token::String(text) => writer.text(&String::from_utf8_lossy(&text.value)),
            _ => {}
        }
        Ok::<(), std::convert::Infallible>(())
    });
    writer.end_row();
    writer.paragraph();
    writer.out
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[derive(Debug, Default)]
struct Writer {
    out: String,
    /// The current paragraph, as lines.
    line: String,
    /// The prefix of its first line.
    mark: String,
    /// The skipped element, and how deep it is nested.
    left_out: Option<(String, u32)>,
    /// Where the text of a link begins in the line, and its address.
    link: Option<(usize, String)>,
    row: Option<Row>,
    /// The column names of a table.
    names: Vec<String>,
    verbatim: bool,
}

/// The current row of a table.
#[derive(Debug, Default)]
struct Row {
    cells: Vec<String>,
    /// Whether all cells so far are headers.
    heads: bool,
}

impl Writer {
    fn start(&mut self, tag: &StartTag<()>, unread: &[&str]) {
        let name = name(&tag.name);
        if let Some((out, depth)) = &mut self.left_out {
            *depth += u32::from(*out == name);
            return;
        }
        let void = VOID.contains(&name.as_str());
        if unread.contains(&name.as_str()) || hidden(tag) {
            if !void && !tag.self_closing {
                self.left_out = Some((name, 1));
            }
            return;
        }
        match name.as_str() {
            "br" => self.line.push('\n'),
            "pre" => {
                self.paragraph();
                self.verbatim = true;
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.paragraph();
                let level = usize::from(name.as_bytes()[1] - b'0');
                self.mark = format!("{} ", "#".repeat(level));
            }
            "dt" | "summary" => {
                self.paragraph();
                self.mark = "**".into();
            }
            "li" => {
                self.paragraph();
                self.mark = "- ".into();
            }
            "table" => {
                self.paragraph();
                self.names.clear();
            }
            "tr" => {
                self.end_row();
                self.row = Some(Row {
                    cells: Vec::new(),
                    heads: true,
                });
            }
            "td" | "th" => {
                self.end_cell();
                let row = self.row.get_or_insert_default();
                row.heads &= name == "th";
                row.cells.push(String::new());
            }
            "a" => {
                self.end_link();
                let address = attribute(tag, "href").filter(|address| followed(address));
                self.link = address.map(|address| (self.line.len(), address));
            }
            block if BLOCK.contains(&block) => self.paragraph(),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        if let Some((out, depth)) = &mut self.left_out {
            if out == name {
                *depth -= 1;
                if *depth == 0 {
                    self.left_out = None;
                }
            }
            return;
        }
        match name {
            "a" => self.end_link(),
            "pre" => {
                self.paragraph();
                self.verbatim = false;
            }
            "td" | "th" => self.end_cell(),
            "tr" => self.end_row(),
            "table" => {
                self.end_row();
                self.paragraph();
            }
            "li" | "dt" | "summary" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.paragraph(),
            block if BLOCK.contains(&block) => self.paragraph(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.left_out.is_some() {
            return;
        }
        if self.verbatim {
            self.line.push_str(text);
            return;
        }
        if text.starts_with(char::is_whitespace) {
            self.blank();
        }
        for (at, word) in text.split_whitespace().enumerate() {
            if at > 0 {
                self.line.push(' ');
            }
            self.line.push_str(word);
        }
        if text.ends_with(char::is_whitespace) {
            self.blank();
        }
    }

    fn blank(&mut self) {
        if !self.line.is_empty() && !self.line.ends_with(char::is_whitespace) {
            self.line.push(' ');
        }
    }

    fn end_link(&mut self) {
        if let Some((from, address)) = self.link.take()
            && let Some(text) = self.line.get(from..)
            && !text.trim().is_empty()
            && !text.contains(['[', ']', '\n'])
            && !address.ends_with(text.trim())
        {
            let text = text.trim_end().to_owned();
            self.line.truncate(from);
            self.line.push_str(&format!("[{text}]({address})"));
        }
    }

    fn end_cell(&mut self) {
        self.end_link();
        if let Some(row) = &mut self.row {
            let text = self.line.split_whitespace().collect::<Vec<_>>().join(" ");
            if let Some(cell) = row.cells.last_mut().filter(|_| !text.is_empty()) {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&text);
                self.line.clear();
            }
        }
    }

    /// Ends a row. A row of header cells names the columns; every other row becomes a line.
    fn end_row(&mut self) {
        self.end_cell();
        let Some(row) = self.row.take() else { return };
        if row.cells.iter().all(String::is_empty) {
            return;
        }
        if row.heads && row.cells.len() > 1 && self.names.is_empty() {
            self.names = row.cells;
            return;
        }
        let named = self.names.len() == row.cells.len();
        let cells = row
            .cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty());
        let cells: Vec<String> = cells
            .map(|(at, cell)| match self.names.get(at) {
                Some(name) if named && !name.is_empty() => format!("{name}: {cell}"),
                _ => cell.clone(),
            })
            .collect();
        self.out
            .push_str(&cells.join(if named { "; " } else { " | " }));
        self.out.push_str("\n\n");
    }

    /// Ends a paragraph. In a table cell it becomes a part of the cell.
    fn paragraph(&mut self) {
        self.end_link();
        let mark = std::mem::take(&mut self.mark);
        if self.row.is_some() {
            self.end_cell();
            return;
        }
        let line = std::mem::take(&mut self.line);
        let lines: Vec<&str> = if self.verbatim {
            line.lines().map(str::trim_end).collect()
        } else {
            line.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect()
        };
        if lines.iter().all(|line| line.trim().is_empty()) {
            // The prefix waits for its text: `<li><p>text`.
            self.mark = mark;
            return;
        }
        if mark != "- " && !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        if self.verbatim {
            self.out.push_str(&format!(
                "```\n{}\n```\n\n",
                lines.join("\n").replace("```", "'''")
            ));
        } else if mark == "**" {
            self.out
                .push_str(&format!("**{}**\n\n", lines.join(" ").replace("**", "")));
        } else if mark.starts_with('#') {
            self.out.push_str(&format!("{mark}{}\n\n", lines.join(" ")));
        } else {
            self.out.push_str(&format!("{mark}{}\n", lines.join("\n")));
        }
    }
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(&value.value).trim().to_owned())
}

/// Returns whether an element is hidden. Text that a reader does not see is skipped: it may be there to mislead.
fn hidden(tag: &StartTag<()>) -> bool {
    let style = attribute(tag, "style").unwrap_or_default().to_lowercase();
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect();
    attribute(tag, "hidden").is_some()
        || attribute(tag, "aria-hidden").is_some_and(|value| value == "true")
        || style.contains("display:none")
        || style.contains("visibility:hidden")
}

/// Returns whether an address is worth keeping.
fn followed(address: &str) -> bool {
    let known = ["http://", "https://", "mailto:", "tel:"];
    known.iter().any(|scheme| address.starts_with(scheme)) && !address.contains([' ', ')', '('])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_markdown() {
        let check = |page: &str, expected: &str| assert_eq!(markdown(page), expected, "{page}");
        check("just text", "just text\n");
        check(
            "<html><head><title>T</title><style>p{}</style></head><body><nav><a href=/>Home</a></nav><h1>A &amp; B</h1><p>One <b>two</b>\n three.</p><footer>(c)</footer>",
            "# A & B\n\nOne two three.\n",
        );
        check("<ul><li>a<li><p>b</p></li></ul><p>c", "- a\n- b\n\nc\n");
        check(
            "<dl><dt>Where?<dd>Here.</dl><details><summary>When?</summary>Now.</details>",
            "**Where?**\n\nHere.\n\n**When?**\n\nNow.\n",
        );
        check(
            "<table><tr><th>Day<th>Hours</tr><tr><td>Mon</td><td>9-<br>18</td></tr><tr><td>Sun<td></table>",
            "Day: Mon; Hours: 9- 18\n\nDay: Sun\n\n",
        );
        check("<table><tr><th>Mon<td>9-18</table>", "Mon | 9-18\n\n");
        check(
            "<a href='https://a.example/x'>Book here</a> or <a href='/b'>there</a>, <a href='https://b.example'>b.example</a>",
            "[Book here](https://a.example/x) or there, b.example\n",
        );
        check("<pre>a\n  b</pre>c", "```\na\n  b\n```\n\nc\n");
        check(
            "<p>seen<span hidden>x</span><i style='display : none'>y</i></p>",
            "seen\n",
        );
        check("<script>if (a<b) {'</p>'}</script><!-- no -->yes", "yes\n");
        check("<nav>All there is</nav>", "All there is\n");
        check("a&nbsp;b<br/>c", "a b\nc\n");
        check("", "");
    }

    #[test]
    fn depth_and_unclosed_elements_cost_nothing() {
        let deep = "<div>".repeat(50_000) + "in" + &"</nav></table></li>".repeat(20_000);
        assert_eq!(markdown(&deep), "in\n");
        let open = "<table><tr><td>".repeat(20_000) + "x";
        assert_eq!(markdown(&open), "x\n\n");
        assert!(
            markdown(&"<a href=https://a.example>x".repeat(20_000))
                .contains("[x](https://a.example)")
        );
        assert_eq!(markdown(&"<".repeat(20_000)).trim_end().len(), 20_000);
    }
}
