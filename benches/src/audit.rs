//! Finds where the fields of inbound payloads turn up in the decoded events.
//!
//! The value of one field at a time is replaced, and the decoded events are compared with those of the unchanged payload: the field
//! is carried if anything besides the raw JSON differs. A replacement keeps the type, and first also the beginning of the value,
//! because ids are recognised by it.

use std::collections::{BTreeMap, BTreeSet};

use konstruct_channels::{slack, whatsapp};
use konstruct_core::{Inbound, Timestamp, message::Body, message::Lifecycle};
use serde_json::{Map, Value, json};

use crate::Failed;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// The mark that is put into texts.
const MARK: &str = "Zq7k";

/// The fields found so far, by kind of payload and path, each with its places in the decoded events.
#[derive(Debug, Default)]
pub struct Audit {
    fields: BTreeMap<(String, String), BTreeSet<String>>,
    payloads: u64,
}

impl Audit {
    /// Adds the payload of a row `{source, payload}`. Returns the number of payloads.
    pub fn row(&mut self, row: &str) -> u64 {
        let row: Value = serde_json::from_str(row).unwrap_or_default();
        self.payload(&row["payload"])
    }

    /// Adds a request body, or one that is stored as text with its signature. Returns the number of payloads.
    pub fn body(&mut self, body: &str) -> u64 {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        match value.get("body").and_then(Value::as_str) {
            Some(body) => self.payload(&serde_json::from_str(body).unwrap_or_default()),
            None => self.payload(&value),
        }
    }

    /// Returns the fields by kind of payload and path, with their places.
    pub fn fields(&self) -> &BTreeMap<(String, String), BTreeSet<String>> {
        &self.fields
    }

    /// Returns the number of payloads.
    pub fn payloads(&self) -> u64 {
        self.payloads
    }

    fn payload(&mut self, payload: &Value) -> u64 {
        if !is_inbound(payload) {
            return 0;
        }
        let before = decode(payload);
        let shown: Vec<_> = before.iter().map(content).collect();
        let mut paths = Vec::new();
        leaves(payload, &mut Vec::new(), &mut paths);
        for path in paths {
            let name = (kind(payload, &before, &path), written(&path));
            let mut places = BTreeSet::new();
            for replacement in replacements(at(payload, &path)) {
                let mut changed = payload.clone();
                *at_mut(&mut changed, &path) = replacement;
                let after: Vec<_> = decode(&changed).iter().map(content).collect();
                differences(&json!(shown), &json!(after), "", &mut places);
                if !places.is_empty() {
                    break;
                }
            }
            self.fields.entry(name).or_default().extend(places);
        }
        self.payloads += 1;
        1
    }
}

/// Returns whether a document is one of the vendors' inbound payloads, not an answer of their APIs.
fn is_inbound(payload: &Value) -> bool {
    let known = [
        "entry",
        "event",
        "command",
        "envelope_id",
        "challenge",
        "minute_rate_limited",
    ];
    let interaction = payload.get("type").is_some_and(Value::is_string)
        && ["user", "team", "view"]
            .iter()
            .any(|name| payload.get(name).is_some_and(Value::is_object));
    payload.get("ok").is_none()
        && (interaction || known.iter().any(|name| payload.get(name).is_some()))
}

fn decode(payload: &Value) -> Vec<Inbound> {
    let bytes = payload.to_string().into_bytes();
    if payload.get("entry").is_some() {
        return whatsapp::decode(&bytes, NOW).events;
    }
    if payload.get("envelope_id").is_some() {
        let envelope = slack::decode_envelope(&bytes, NOW);
        return envelope.map_or_else(Vec::new, |envelope| envelope.decoded.events);
    }
    slack::decode(&bytes, NOW).events
}

/// Returns an event without its raw JSON. A digest of the JSON is not content.
fn content(event: &Inbound) -> Value {
    let mut event = event.clone();
    event.raw = None;
    if event.id.starts_with("sha256:") {
        event.id.clear();
    }
    serde_json::to_value(event).unwrap_or_default()
}

/// A step of a path: a key or an index.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Collects the paths of all values that are not objects or lists.
fn leaves(value: &Value, path: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                path.push(Step::Key(name.clone()));
                leaves(value, path, paths);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push(Step::Index(index));
                leaves(value, path, paths);
                path.pop();
            }
        }
        _ => paths.push(path.clone()),
    }
}

fn at<'a>(value: &'a Value, path: &[Step]) -> &'a Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(name) => &value[name.as_str()],
        Step::Index(index) => &value[*index],
    })
}

fn at_mut<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(name) => &mut value[name.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

/// Writes a path with `[]` for each index. The names of maps that people or apps choose are one field.
fn written(path: &[Step]) -> String {
    let mut written = String::new();
    for step in path {
        match step {
            Step::Key(name) => {
                if !written.is_empty() {
                    written.push('.');
                }
                written.push_str(name);
            }
            Step::Index(_) => written.push_str("[]"),
        }
    }
    written
}

/// Returns other values of the same type.
fn replacements(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(flag) => vec![json!(!flag)],
        Value::Number(number) => match number.as_i64() {
            Some(number) => vec![json!(number.wrapping_add(7)), json!(1)],
            None => vec![json!(7.25)],
        },
        Value::String(text) => {
            let mut others = vec![json!(format!("{text}{MARK}"))];
            let numeric = text.bytes().any(|byte| byte.is_ascii_digit());
            if numeric {
                let shifted = text.chars().map(|c| match c.to_digit(10) {
                    Some(digit) => char::from_digit((digit + 1) % 10, 10).unwrap_or(c),
                    None => c,
                });
                others.push(json!(shifted.collect::<String>()));
            }
            others.extend([json!(MARK), json!("1234567890"), json!("")]);
            others
        }
        // A field that is null here has a value elsewhere.
        _ => vec![json!(MARK), json!(7), json!(true), json!({ "id": MARK })],
    }
}

/// Collects the paths of values that differ.
fn differences(before: &Value, after: &Value, path: &str, places: &mut BTreeSet<String>) {
    if before == after {
        return;
    }
    let empty = Map::new();
    match (before, after) {
        (Value::Object(_), _) | (_, Value::Object(_)) => {
            let fields = |value: &Value| value.as_object().unwrap_or(&empty).clone();
            let (before, after) = (fields(before), fields(after));
            for name in before.keys().chain(after.keys()) {
                let (before, after) = (before.get(name), after.get(name));
                let null = &Value::Null;
                let path = format!("{path}.{name}");
                differences(before.unwrap_or(null), after.unwrap_or(null), &path, places);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for index in 0..before.len().max(after.len()) {
                let null = &Value::Null;
                let (before, after) = (before.get(index), after.get(index));
                differences(before.unwrap_or(null), after.unwrap_or(null), path, places);
            }
        }
        _ => drop(places.insert(path.trim_start_matches('.').to_owned())),
    }
}

/// Returns the kind of the payload that contains a path: the vendor, the class of the decoded event and the vendor's own name.
fn kind(payload: &Value, events: &[Inbound], path: &[Step]) -> String {
    if let [Step::Key(entry), index, Step::Key(changes), change, ..] = path
        && entry == "entry"
        && changes == "changes"
    {
        let path = [
            Step::Key("entry".into()),
            index.clone(),
            Step::Key("changes".into()),
            change.clone(),
        ];
        let change = at(payload, &path);
        let field = change["field"].as_str().unwrap_or("unnamed");
        return format!("whatsapp.{field}");
    }
    if payload.get("entry").is_some() {
        return "whatsapp".into();
    }
    let class = match events.first().map(|event| &event.body) {
        Some(Body::Message { .. } | Body::Edited { .. }) => "message",
        Some(Body::Action { .. } | Body::Command { .. }) => "action",
        Some(Body::Lifecycle {
            change: Lifecycle::Other(_),
        }) => "notice",
        Some(Body::Lifecycle { .. }) => "change",
        Some(Body::Unsupported { .. }) => "unsupported",
        Some(_) => "report",
        None => "handshake",
    };
    let inner = match payload.get("payload") {
        Some(inner) if payload.get("envelope_id").is_some() => inner,
        _ => payload,
    };
    let name = inner["event"]["type"].as_str().or(inner["type"].as_str());
    let subtype = inner["event"]["subtype"]
        .as_str()
        .filter(|it| !it.is_empty());
    let name = name.unwrap_or("command");
    match subtype {
        Some(subtype) => format!("slack.{class}.{name}.{subtype}"),
        None => format!("slack.{class}.{name}"),
    }
}

/// The fields that are ignored on purpose.
#[derive(Debug)]
pub struct Ignored(Vec<Rule>);

/// A rule: fields of some kinds of payloads that are ignored, and why.
#[derive(Debug)]
pub struct Rule {
    /// The line in the file, from 1.
    pub line: usize,
    kind: String,
    path: String,
    /// Why the fields are ignored.
    pub reason: String,
}

impl Ignored {
    /// Reads rules: a pattern of kinds, a pattern of paths and a reason, separated by spaces. `*` matches any text. Lines that begin
    /// with `#` are comments.
    ///
    /// # Errors
    /// A message with the line that has no reason.
    pub fn parse(text: &str) -> Result<Self, Failed> {
        let mut rules = Vec::new();
        for (line, rule) in (1..).zip(text.lines().map(str::trim)) {
            if rule.is_empty() || rule.starts_with('#') {
                continue;
            }
            let mut parts = rule.splitn(3, ' ').map(str::trim);
            let (Some(kind), Some(path), Some(reason)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(format!("line {line}: a rule is a kind, a path and a reason").into());
            };
            rules.push(Rule {
                line,
                kind: kind.to_owned(),
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
        Ok(Self(rules))
    }

    /// Returns the first rule for a field.
    pub fn find(&self, kind: &str, path: &str) -> Option<&Rule> {
        let matches = |rule: &&Rule| is_like(kind, &rule.kind) && is_like(path, &rule.path);
        self.0.iter().find(matches)
    }

    /// Returns all rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }
}

/// Returns whether a text matches a pattern in which `*` is any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_value() {
        let mut audit = Audit::default();
        let message = r#"{"entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"2"},
            "messages":[{"id":"wamid.A","from":"1650","timestamp":"17","type":"text","text":{"body":"hi"},"lost":"x"}]}}]}]}"#;
        assert_eq!(
            (audit.body(message), audit.body("{}"), audit.row("x")),
            (1, 0, 0)
        );
        let places = |path: &str| {
            let path = format!("entry[].changes[].value.{path}");
            audit.fields()[&("whatsapp.messages".to_owned(), path)].clone()
        };
        assert_eq!(
            places("messages[].text.body"),
            ["body.content.text".to_owned()].into()
        );
        assert_eq!(
            places("metadata.phone_number_id"),
            ["account".to_owned()].into()
        );
        assert_eq!(places("messages[].lost"), BTreeSet::new());
    }

    #[test]
    fn a_rule_has_patterns_and_a_reason() {
        let ignored = Ignored::parse("# why\nslack.* *.icons.* pictures\n").expect("a rule");
        let reason = |kind, path| ignored.find(kind, path).map(|rule| rule.reason.as_str());
        assert_eq!(
            reason("slack.message", "event.icons.image"),
            Some("pictures")
        );
        assert_eq!(reason("whatsapp", "event.icons.image"), None);
        assert_eq!(reason("slack.message", "event.icon"), None);
        assert!(Ignored::parse("slack.* *.icons.*").is_err());
        assert!(
            is_like("a.b.c", "a*c")
                && is_like("a", "a")
                && !is_like("ab", "a")
                && is_like("ab", "*")
        );
    }
}
