//! Deserializes JSON with errors that name the field and never the value.
//!
//! serde_json's errors contain the value that they reject. This deserializer has its own error type, which keeps only the
//! expectation and drops the value.

use std::fmt;

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::Problem;

/// Deserializes a value.
///
/// # Errors
/// A problem with the field, as a path such as `hours.open[0].to`; `body` for the whole body.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(Json(value)).map_err(|error| {
        let mut field = path(error.path());
        let misfit = error.into_inner();
        if let Some(child) = misfit.child {
            if !field.is_empty() {
                field.push('.');
            }
            field += &child;
        }
        let field = if field.is_empty() { "body" } else { &field };
        Problem::field(field, &misfit.problem)
    })
}

/// Formats a path. It ends before the first key that is not a field name, because such a key is arbitrary text of the sender.
fn path(path: &serde_path_to_error::Path) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text += &format!("[{index}]"),
            Segment::Map { key } if is_name(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text += key;
            }
            Segment::Enum { .. } => {}
            _ => break,
        }
    }
    text
}

/// Returns whether a text looks like a field name, rather than a misplaced token.
fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Why a value does not match.
#[derive(Debug)]
struct Mismatch {
    /// The field below the current path, if the error is about one.
    child: Option<String>,
    problem: String,
}

impl Mismatch {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            child: None,
            problem: problem.into(),
        }
    }

    fn expected(expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let words = match expected.as_str() {
            "u8" => "a whole number from 0 to 255",
            "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
            "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
            "a sequence" => "a list",
            "a boolean" | "a string" => &expected,
            _ => "of the type in /api/openapi.json",
        };
        Self::new(format!("must be {words}"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new("is not valid")
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::new("has the wrong number of items")
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of `{}`", expected.join("`, `")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        // The path already contains the field.
        let known = expected.join("`, `");
        Self::new(format!("no such field; the fields are `{known}`"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            child: Some(field.to_owned()),
            problem: "is missing".into(),
        }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self {
            child: Some(field.to_owned()),
            problem: "must not occur twice".into(),
        }
    }
}

/// A JSON value to deserialize.
struct Json(Value);

impl<'de> Deserializer<'de> for Json {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Json));
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(key, value)| (key, Json(value)));
                let mut fields = MapDeserializer::new(fields);
                let value = visitor.visit_map(&mut fields)?;
                fields.end().map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            value => visitor.visit_some(Self(value)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Object(fields) if fields.len() == 1 => {
                let fields = fields.into_iter().map(|(key, value)| (key, Self(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(fields)))
            }
            _ => Err(de::Error::unknown_variant("", variants)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Mismatch> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, response::IntoResponse as _};
    use konstruct_admin_api::{EmployeeSettings, NewDocument, NewErasure};
    use serde_json::json;

    use super::*;

    /// Deserializes an invalid value. Returns the field and the problem.
    async fn rejected<T: DeserializeOwned>(value: Value) -> (String, String) {
        let Err(problem) = read::<T>(value.clone()) else {
            panic!("{value} was read")
        };
        let body = to_bytes(problem.into_response().into_body(), usize::MAX).await;
        let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("field"), text("detail"))
    }

    #[tokio::test]
    async fn the_field_is_a_path_and_no_value_is_repeated() {
        let check = async |read: (String, String), field: &str, problem: &str| {
            assert_eq!(read, (field.to_owned(), format!("{field}: {problem}")));
        };
        let open = |span: Value| json!({"name": "A", "role": "r", "hours": {"time_zone": "UTC", "open": [span]}});
        let span = rejected::<EmployeeSettings>(open(
            json!({"weekday": 999, "from": "9:00", "to": "10:00"}),
        ));
        check(
            span.await,
            "hours.open[0].weekday",
            "must be a whole number from 0 to 255",
        )
        .await;
        let span = rejected::<EmployeeSettings>(open(json!({"weekday": 1, "from": "9:00"})));
        check(span.await, "hours.open[0].to", "is missing").await;
        let span = rejected::<EmployeeSettings>(open(json!("xoxb-1")));
        let (field, detail) = span.await;
        assert!(
            field == "hours.open[0]" && !detail.contains("xoxb"),
            "{detail}"
        );
        let list = rejected::<EmployeeSettings>(json!({"name": "A", "role": "r", "tools": [1]}));
        check(list.await, "tools[0]", "must be a string").await;
        let formats =
            "must be one of `text`, `markdown`, `html`, `pdf`, `docx`, `xlsx`, `ods`, `csv`, `faq`";
        for format in [json!("rtf"), json!(7), json!({"rtf": 1}), json!(["rtf"])] {
            let document = rejected::<NewDocument>(json!({"title": "T", "format": format}));
            check(document.await, "format", formats).await;
        }
        let erasure = rejected::<NewErasure>(json!({"what": {"type": "planet"}}));
        let kinds = "must be one of `message`, `conversation`, `person`";
        check(erasure.await, "what.type", kinds).await;
        let erasure = rejected::<NewErasure>(json!({"what": {"type": "person"}}));
        check(erasure.await, "what.person", "is missing").await;
        let erasure =
            rejected::<NewErasure>(json!({"what": {"type": "person", "person": "xoxb-1"}}));
        check(erasure.await, "what", "is not valid").await;
        let whole = rejected::<NewDocument>(json!("xoxb-1")).await;
        assert!(whole.0 == "body" && !whole.1.contains("xoxb"), "{whole:?}");
    }

    #[tokio::test]
    async fn an_unknown_field_is_named_if_it_looks_like_one() {
        let rejected = async |key: &str| {
            let (field, detail) = rejected::<EmployeeSettings>(json!({"name": "A", key: 1})).await;
            assert!(detail.contains("no such field"), "{detail}");
            assert!(
                detail.matches(key).count() == field.matches(key).count(),
                "{detail}"
            );
            field
        };
        assert_eq!(rejected("nmae").await, "nmae");
        assert_eq!(rejected("xoxb-0123-secret").await, "body");
        assert_eq!(rejected("EAAGsecret").await, "body");
    }
}
