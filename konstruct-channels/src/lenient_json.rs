//! Parses JSON in which any field may be missing, blank, or of an unexpected type.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};

static NULL: Value = Value::Null;

/// Reads fields leniently. A path consists of keys separated by dots.
pub(crate) trait LenientJson {
    /// Returns the value at a path, or null.
    fn at(&self, path: &str) -> &Value;

    /// Returns a text, or a number as text; `None` if it is blank.
    fn text(&self, path: &str) -> Option<String>;

    /// Returns the first text among several paths.
    fn first(&self, paths: &[&str]) -> Option<String> {
        paths.iter().find_map(|path| self.text(path))
    }

    /// Returns whether the value is true; the texts `true` and `1` and the number 1 count as true.
    fn flag(&self, path: &str) -> bool;

    /// Returns a list's items, or none if the value is not a list.
    fn items(&self, path: &str) -> &[Value];
}

impl LenientJson for Value {
    fn at(&self, path: &str) -> &Value {
        path.split('.')
            .try_fold(self, |value, key| value.get(key))
            .unwrap_or(&NULL)
    }

    fn text(&self, path: &str) -> Option<String> {
        scalar(self.at(path))
    }

    fn flag(&self, path: &str) -> bool {
        match self.at(path) {
            Value::Bool(flag) => *flag,
            Value::String(text) => text == "true" || text == "1",
            Value::Number(number) => number.as_i64() == Some(1),
            _ => false,
        }
    }

    fn items(&self, path: &str) -> &[Value] {
        self.at(path).as_array().map_or(&[], Vec::as_slice)
    }
}

/// Returns a text, or a number as text; `None` if it is blank.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Checks that a text is JSON without parsing its contents; `None` if it is not JSON.
pub(crate) fn outline(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

/// Returns an object's fields as raw JSON, or none if the value is not an object.
pub(crate) fn fields(raw: &RawValue) -> HashMap<String, &RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// Parses a value. Half a surrogate pair, which a truncated emoji leaves behind, becomes U+FFFD. Returns `None` if the value is
/// nested too deeply.
pub(crate) fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get())
        .or_else(|_| serde_json::from_str(&mend_surrogates(raw.get())))
        .ok()
}

fn mend_surrogates(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                mended.push('\u{FFFD}');
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // Another escape: a backslash and one character.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    mended.push_str(rest);
    mended
}

/// Returns the UTF-16 code unit at the start of a text, if it is written as `\uXXXX`.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_type_reads_as_text_or_none() {
        let json = serde_json::json!({"a": {"b": 7, "c": " ", "d": "x"}, "t": "true", "l": [1]});
        assert_eq!(json.text("a.b").as_deref(), Some("7"));
        assert_eq!(json.text("a.c"), None);
        assert_eq!(json.first(&["a.c", "a.d"]).as_deref(), Some("x"));
        assert_eq!(json.text("a"), None);
        assert_eq!(json.text("t.u.v"), None);
        assert!(json.flag("t") && !json.flag("a"));
        assert_eq!((json.items("l").len(), json.items("t").len()), (1, 0));
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        let check = |json: &str, expected: &str| {
            let raw = outline(json).expect("an outline");
            assert_eq!(
                value(raw).expect("a value"),
                Value::from(expected),
                "{json}"
            );
        };
        check(r#""hi \ud83d""#, "hi \u{FFFD}");
        check(r#""\ude00\ud83d\ude00""#, "\u{FFFD}😀");
        check(r#""\\ud83d \ud83dx\n""#, "\\ud83d \u{FFFD}x\n");
    }
}
