//! The text of a Slack message: its `text`, and what its blocks and attachments say beyond that.

use serde_json::Value;

use super::text;
use crate::lenient_json::{LenientJson as _, scalar};

/// How deep blocks are nested in Slack's reference, with a margin.
const DEEPEST: usize = 16;

/// The parts of a block that people read, in their order on the screen. Menus, placeholders and confirmations are left out.
const PARTS: &[&str] = &[
    "title",
    "header",
    "subtitle",
    "label",
    "text",
    "body",
    "description",
    "fields",
    "rows",
    "elements",
    "blocks",
    "cards",
    "items",
    "alt_text",
    "accessory",
    "hint",
    "footer",
];

/// Returns the text of a message. `own` are the employee's users, whose mentions are only an address. If the message has a text
/// of its own, the messages that it shares are left out.
pub(super) fn text_of(message: &Value, own: &[String]) -> String {
    let said = text::read(&message.text("text").unwrap_or_default(), own);
    let is_blank = said.is_empty();
    let mut lines = Lines::new(said, own);
    message
        .items("blocks")
        .iter()
        .for_each(|it| lines.block(it, 0));
    for part in message.items("attachments") {
        if is_blank || !is_shared(part) {
            lines.attachment(part);
        }
    }
    lines.text
}

/// Returns the text of a message that was shared, with its author.
pub(super) fn shared_text(part: &Value) -> Option<String> {
    let mut lines = Lines::new(String::new(), &[]);
    lines.attachment(part);
    Some(lines.text).filter(|text| !text.is_empty())
}

/// Returns whether an attachment is a message that was shared into the conversation.
pub(super) fn is_shared(part: &Value) -> bool {
    (part.flag("is_share") || part.flag("is_msg_unfurl")) && part.text("ts").is_some()
}

/// Collects lines, without those that the text contains already: the text of a message usually repeats its blocks.
struct Lines<'a> {
    text: String,
    /// The letters and digits of the text.
    plain: String,
    own: &'a [String],
}

impl<'a> Lines<'a> {
    fn new(text: String, own: &'a [String]) -> Self {
        Self {
            plain: plain(&text),
            text,
            own,
        }
    }

    /// Adds Slack's markup.
    fn mrkdwn(&mut self, markup: &str) {
        self.push(&text::read(markup, self.own));
    }

    fn push(&mut self, text: &str) {
        for line in text.lines().map(str::trim_end) {
            let bare = plain(line);
            if bare.is_empty() || self.plain.contains(&bare) {
                continue;
            }
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            self.text.push_str(line);
            self.plain.push_str(&bare);
        }
    }

    fn block(&mut self, block: &Value, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        match block.text("type").as_deref() {
            Some("rich_text") => {
                for element in block.items("elements") {
                    let text = rich(element, self.own, 0);
                    self.push(&text);
                }
            }
            Some("table" | "data_table") => {
                for row in block.items("rows") {
                    let cells = row.as_array().map_or(row.items("cells"), Vec::as_slice);
                    let cells: Vec<_> = cells.iter().map(|cell| self.cell(cell)).collect();
                    self.push(&cells.join(" | "));
                }
            }
            Some("plain_text" | "raw_text") => self.push(&block.text("text").unwrap_or_default()),
            Some("mrkdwn") => self.mrkdwn(&block.text("text").unwrap_or_default()),
            _ => {
                for part in PARTS {
                    match block.at(part) {
                        Value::String(said) => self.mrkdwn(said),
                        Value::Array(items) => {
                            items.iter().for_each(|it| self.block(it, depth + 1));
                        }
                        other if other.is_object() => self.block(other, depth + 1),
                        _ => {}
                    }
                }
            }
        }
    }

    fn cell(&self, cell: &Value) -> String {
        let mut lines = Lines::new(String::new(), self.own);
        match scalar(cell).or_else(|| scalar(cell.at("value"))) {
            Some(value) => return value,
            None => lines.block(cell, 0),
        }
        lines.text.replace('\n', " ")
    }

    fn attachment(&mut self, part: &Value) {
        let before = self.text.len();
        for path in ["pretext", "author_name", "title", "text"] {
            self.mrkdwn(&part.text(path).unwrap_or_default());
        }
        for field in part.items("fields") {
            let (title, value) = (field.text("title"), field.text("value"));
            let both: Vec<_> = title.into_iter().chain(value).collect();
            self.mrkdwn(&both.join(": "));
        }
        part.items("blocks").iter().for_each(|it| self.block(it, 0));
        for message in part.items("message_blocks") {
            let blocks = message.items("message.blocks").iter();
            blocks.for_each(|it| self.block(it, 0));
        }
        for path in ["preview.title.text", "preview.subtitle.text", "list.title"] {
            self.mrkdwn(&part.text(path).unwrap_or_default());
        }
        if self.text.len() == before {
            self.mrkdwn(&part.text("fallback").unwrap_or_default());
        }
        for path in ["title_link", "from_url", "footer"] {
            self.mrkdwn(&part.text(path).unwrap_or_default());
        }
    }
}

/// Returns the text of an element of rich text.
fn rich(element: &Value, own: &[String], depth: usize) -> String {
    let text = |path: &str| element.text(path).unwrap_or_default();
    let inner = || {
        let inner = element.items("elements").iter();
        inner.map(move |it| rich(it, own, depth + 1))
    };
    if depth > DEEPEST {
        return String::new();
    }
    match element.text("type").as_deref() {
        Some("user") if own.contains(&text("user_id")) => String::new(),
        Some("user") => format!("@{}", text("user_id")),
        Some("usergroup") => format!("@{}", text("usergroup_id")),
        Some("channel") => format!("#{}", text("channel_id")),
        Some("team") => text("team_id"),
        Some("broadcast") => format!("@{}", text("range")),
        Some("emoji") => format!(":{}:", text("name")),
        Some("color") => text("value"),
        Some("date") => element
            .first(&["fallback", "timestamp"])
            .unwrap_or_default(),
        Some("link") => match element.text("text") {
            Some(label) => format!("{label} ({})", text("url")),
            None => text("url"),
        },
        Some("rich_text_list") => {
            let indent = element.at("indent").as_u64().unwrap_or(0).min(8);
            let indent = "  ".repeat(usize::try_from(indent).unwrap_or(0));
            let ordered = element.text("style").as_deref() == Some("ordered");
            let first = element.at("offset").as_u64().unwrap_or(0);
            let lines = inner()
                .zip(first + 1..)
                .map(|(item, number)| match ordered {
                    true => format!("{indent}{number}. {item}"),
                    false => format!("{indent}- {item}"),
                });
            lines.collect::<Vec<_>>().join("\n")
        }
        // The spaces of a text matter inside its section, so that it is not read as a blank one.
        Some("text") => element.at("text").as_str().unwrap_or_default().to_owned(),
        _ => inner().collect(),
    }
}

fn plain(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_and_attachments_are_read() {
        let own = ["UBOT".to_owned()];
        let check = |message: Value, expected: &str| {
            assert_eq!(text_of(&message, &own), expected, "{message}");
        };
        let said = |elements: Value| json!([{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}]);
        // The blocks of a person's message repeat its text.
        check(
            json!({"text": "<@UBOT> see <https://a.example|our *shop*> :bike:", "blocks": said(json!([
                {"type": "user", "user_id": "UBOT"}, {"type": "text", "text": " see "},
                {"type": "link", "url": "https://a.example", "text": "our shop"}, {"type": "text", "text": " "},
                {"type": "emoji", "name": "bike"}]))}),
            "see our *shop* (https://a.example) :bike:",
        );
        check(
            json!({"blocks": said(json!([{"type": "text", "text": "hello "}, {"type": "user", "user_id": "U2"}]))}),
            "hello @U2",
        );
        check(
            json!({"blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "ordered", "elements": [
                {"type": "rich_text_section", "elements": [{"type": "text", "text": "one"}]},
                {"type": "rich_text_section", "elements": [{"type": "text", "text": "two"}]}]}]}]}),
            "1. one\n2. two",
        );
        check(
            json!({"text": "Order 7", "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "Order 7"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "*Late* &amp; lost"},
                    "fields": [{"type": "mrkdwn", "text": "Due: Monday"}, {"type": "plain_text", "text": "For: Kim"}],
                    "accessory": {"type": "button", "action_id": "a", "value": "v", "text": {"type": "plain_text", "text": "Open"}}},
                {"type": "context", "elements": [{"type": "image", "alt_text": "a bike"}, {"type": "mrkdwn", "text": "by <@U2>"}]},
                {"type": "table", "rows": [
                    [{"type": "raw_text", "text": "Size"}, {"type": "raw_text", "text": "Price"}],
                    [{"type": "raw_text", "text": "L"}, {"type": "rich_text", "elements": [
                        {"type": "rich_text_section", "elements": [{"type": "text", "text": "9.99"}]}]}]]},
                {"type": "actions", "elements": [{"type": "static_select", "placeholder": {"type": "plain_text", "text": "Pick"},
                    "options": [{"text": {"type": "plain_text", "text": "hidden"}, "value": "h"}]}]}]}),
            "Order 7\n*Late* & lost\nDue: Monday\nFor: Kim\nOpen\na bike\nby @U2\nSize | Price\nL | 9.99",
        );
        check(
            json!({"text": "", "attachments": [{"pretext": "New issue", "title": "Broken", "text": "It fails",
                "fields": [{"title": "Priority", "value": "High"}], "footer": "tracker", "fallback": "not shown"}]}),
            "New issue\nBroken\nIt fails\nPriority: High\ntracker",
        );
        check(
            json!({"attachments": [{"fallback": "only this"}]}),
            "only this",
        );
        check(
            json!({"text": "see this", "attachments": [{"is_share": true, "ts": "1.2", "text": "theirs"}]}),
            "see this",
        );
        check(json!({"blocks": "x", "attachments": [1]}), "");
    }
}
