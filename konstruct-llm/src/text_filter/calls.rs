//! Reads tool calls that a model wrote as text.

use serde_json::{Map, Value};

/// A tool call in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// JSON text, which may be invalid.
    pub(super) arguments: String,
}

/// Keys of a call's name, and of its arguments.
const NAMES: &[&str] = &[
    "name",
    "tool",
    "tool_name",
    "function",
    "function_name",
    "action",
    "recipient_name",
];
const ARGUMENTS: &[&str] = &[
    "arguments",
    "parameters",
    "args",
    "input",
    "tool_input",
    "action_input",
    "params",
    "kwargs",
];
/// Other keys of a call.
const OTHERS: &[&str] = &[
    "type",
    "id",
    "call_id",
    "tool_call_id",
    "index",
    "thought",
    "reasoning",
];
/// Keys of an object that contains one call or several.
const WRAPPERS: &[&str] = &[
    "function",
    "function_call",
    "tool_call",
    "tool_calls",
    "tool_uses",
];

/// Whether a text may be the JSON of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    No,
    Maybe,
}

/// Judges by the beginning of a JSON text, up to its first key, whether it may be a call.
pub(super) fn guess(text: &str) -> Guess {
    let json = text.trim_start();
    let json = json.strip_prefix('[').map_or(json, str::trim_start);
    if json.is_empty() {
        return Guess::Maybe;
    }
    let Some(object) = json.strip_prefix('{').map(str::trim_start) else {
        return Guess::No;
    };
    if object.is_empty() {
        return Guess::Maybe;
    }
    let Some(key) = object.strip_prefix('"') else {
        return Guess::No;
    };
    let keys = [NAMES, ARGUMENTS, OTHERS, WRAPPERS].concat();
    let known = match key.split_once('"') {
        Some((key, _)) => keys.contains(&key),
        None => keys.iter().any(|known| known.starts_with(key)),
    };
    if known { Guess::Maybe } else { Guess::No }
}

/// Returns the length of the JSON object or array at the beginning of a text, or `None` if it is incomplete.
pub(super) fn json_length(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the calls of a text that is only the JSON of one or several calls.
pub(super) fn from_json(text: &str) -> Option<Vec<Call>> {
    let text = text.trim();
    // Models forget the last brackets.
    ["", "}", "]", "}]", "}}"].iter().find_map(|missing| {
        let text = format!("{text}{missing}");
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text)
            .into_iter()
            .collect();
        let calls: Option<Vec<Vec<Call>>> = values.ok()?.iter().map(from_value).collect();
        calls
            .map(|calls| calls.concat())
            .filter(|calls| !calls.is_empty())
    })
}

fn from_value(value: &Value) -> Option<Vec<Call>> {
    match value {
        Value::Array(calls) => {
            let calls: Option<Vec<Vec<Call>>> = calls.iter().map(from_value).collect();
            Some(calls?.concat())
        }
        Value::Object(object) => from_object(object),
        _ => None,
    }
}

fn from_object(object: &Map<String, Value>) -> Option<Vec<Call>> {
    let nested =
        |key: &&&str| matches!(object.get(**key), Some(Value::Object(_) | Value::Array(_)));
    if let Some(wrapper) = WRAPPERS.iter().find(nested) {
        return from_value(&object[*wrapper]);
    }
    let known = |key: &String| {
        [NAMES, ARGUMENTS, OTHERS]
            .iter()
            .any(|keys| keys.contains(&key.as_str()))
    };
    let name = NAMES.iter().find_map(|key| object.get(*key)?.as_str())?;
    let arguments = ARGUMENTS.iter().find_map(|key| object.get(*key))?;
    let call = call(name, &arguments_of(arguments))?;
    object.keys().all(known).then(|| vec![call])
}

/// Returns arguments as JSON text: those of an object, or of a string that contains one, however often it is encoded.
pub(super) fn arguments_of(arguments: &Value) -> String {
    match arguments {
        Value::Null => "{}".into(),
        Value::String(text) => decoded(text),
        arguments => arguments.to_string(),
    }
}

/// Returns arguments as JSON text, given JSON that may be encoded as a JSON string, even several times.
pub(super) fn decoded(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::String(inner)) => decoded(&inner),
        Ok(Value::Null) => "{}".into(),
        // An empty object in languages that do not distinguish the two.
        Ok(Value::Array(array)) if array.is_empty() => "{}".into(),
        _ if text.trim().is_empty() => "{}".into(),
        _ => text.to_owned(),
    }
}

/// Returns a call if its name can be the name of a tool.
fn call(name: &str, arguments: &str) -> Option<Call> {
    let name = name.trim();
    let name = name.strip_prefix("functions.").unwrap_or(name);
    let usual = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let fits = !name.is_empty() && name.len() <= 64 && name.chars().all(usual);
    fits.then(|| Call {
        name: name.to_owned(),
        arguments: arguments.trim().to_owned(),
    })
}

/// Returns the calls of a text after the mark of a call; empty if it cannot be read.
pub(super) fn from_marked(text: &str) -> Vec<Call> {
    let body = unfenced(text);
    let json = body
        .starts_with(['{', '['])
        .then(|| json_length(body))
        .flatten();
    let whole = from_json(body).or_else(|| from_json(&body[..json?]));
    if let Some(calls) = whole {
        return calls;
    }
    if body.contains("<arg_key>") {
        return from_pairs(body);
    }
    for (open, close) in [
        ("<function=", "</function>"),
        ("<invoke name=", "</invoke>"),
    ] {
        if body.contains(open) {
            let sections = body.split(open).skip(1);
            return sections
                .filter_map(|section| from_tag(section.split(close).next()?))
                .collect();
        }
    }
    from_named(body)
}

/// Returns the content of a fenced block, or the text itself.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(fenced) = text.strip_prefix("```") else {
        return text;
    };
    let body = fenced.split_once('\n').map_or(fenced, |(_, body)| body);
    let body = body.trim_end();
    body.strip_suffix("```").unwrap_or(body).trim()
}

/// Reads `name>{…}` and `name><parameter=key>value</parameter>…`, also with `name="…"`.
fn from_tag(section: &str) -> Option<Call> {
    let (name, body) = section.split_once('>')?;
    let name = name.trim().trim_matches(['"', '\'']);
    let body = body.trim();
    if body.starts_with('{') {
        let json = &body[..json_length(body).unwrap_or(body.len())];
        return call(name, json);
    }
    let mut arguments = Map::new();
    for open in ["<parameter=", "<parameter name="] {
        for parameter in body.split(open).skip(1) {
            let (key, value) = parameter.split_once('>')?;
            let value = value.split("</parameter>").next()?;
            let key = key.trim().trim_matches(['"', '\'']);
            arguments.insert(key.to_owned(), typed(value));
        }
    }
    call(name, &Value::Object(arguments).to_string())
}

/// Reads `name<arg_key>key</arg_key><arg_value>value</arg_value>…`.
fn from_pairs(body: &str) -> Vec<Call> {
    let mut pairs = body.split("<arg_key>");
    let name = pairs.next().unwrap_or_default();
    let mut arguments = Map::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once("</arg_key>") else {
            return Vec::new();
        };
        let value = value
            .split_once("<arg_value>")
            .map_or(value, |(_, value)| value);
        let value = value.split("</arg_value>").next().unwrap_or_default();
        arguments.insert(key.trim().to_owned(), typed(value));
    }
    let arguments = Value::Object(arguments).to_string();
    call(name, &arguments).into_iter().collect()
}

/// Returns a value without quotation marks: JSON, or else a text.
fn typed(value: &str) -> Value {
    let value = value.trim();
    serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
}

/// Reads names that are followed by the JSON of the arguments, with any marks between them.
fn from_named(body: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.find('{') {
        let (head, json) = rest.split_at(at);
        let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
        let (arguments, length) = match values.next() {
            Some(Ok(arguments)) => (arguments.to_string(), values.byte_offset()),
            _ => (json.trim().to_owned(), json.len()),
        };
        let Some(call) = name_in(head).and_then(|name| call(&name, &arguments)) else {
            return Vec::new();
        };
        calls.push(call);
        rest = &json[length..];
    }
    calls
}

/// Returns the last name before the arguments.
fn name_in(head: &str) -> Option<String> {
    let head = head.split("[CALL_ID]").next().unwrap_or_default();
    let mut plain = String::new();
    let mut marked = false;
    for c in head.chars() {
        match c {
            '<' | '[' => marked = true,
            '>' | ']' => {
                marked = false;
                plain.push(' ');
            }
            _ if marked => {}
            c => plain.push(c),
        }
    }
    let names = plain.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
    let words = ["json", "function", "functions", "tool_call", "call"];
    // A number counts the calls.
    let number = |name: &str| name.chars().all(|c| c.is_ascii_digit());
    let mut names = names.filter(|name| !words.contains(name) && !number(name));
    names.next_back().map(str::to_owned)
}

/// Whether arguments are a JSON object.
pub(super) fn is_object(arguments: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(arguments).is_ok()
}
