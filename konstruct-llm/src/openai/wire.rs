//! The JSON that both of OpenAI's APIs share, and lenient parsing of it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::Value;

use crate::lenient::nullable;

/// Returns an image as a data URL.
pub(super) fn data_url(media: &konstruct_core::llm::Media) -> String {
    format!("data:{};base64,{}", media.media_type, media.base64())
}

/// The requested output schema.
#[derive(Debug, Serialize)]
pub(super) struct Schema<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) strict: bool,
}

/// An error: OpenAI's object, or a bare string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ErrorBody {
    Object {
        #[serde(default, deserialize_with = "nullable")]
        message: String,
        #[serde(default, deserialize_with = "nullable")]
        r#type: String,
        /// A name; llama.cpp and OpenRouter send a number, LiteLLM a number in a string.
        #[serde(default)]
        code: Value,
    },
    Text(String),
}

/// The body of an error response.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorDocument {
    pub(super) error: ErrorBody,
}

/// The model list.
#[derive(Debug, Deserialize)]
pub(super) struct Models {
    pub(super) data: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) id: String,
}

/// A short text, copied only if it has escapes. Any value other than a text or a number is read as empty.
#[derive(Debug, Default)]
pub(super) struct Name<'a>(pub(super) Cow<'a, str>);

impl Name<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(number.to_string())))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Name<'de>, E> {
                Ok(Name::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Name<'de>, E> {
                Ok(Name::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Name<'de>, E> {
                Ok(Name::default())
            }

            fn visit_unit<E>(self) -> Result<Name<'de>, E> {
                Ok(Name::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Name<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Name::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Name<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Name::default())
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// The content of a message or a delta: a text, or Mistral's parts, some of which are thoughts.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) thought: String,
}

#[derive(Debug, Deserialize)]
struct ContentPart {
    #[serde(default)]
    text: Content,
    #[serde(default)]
    thinking: Content,
}

impl Content {
    fn add(&mut self, part: ContentPart) {
        self.text.push_str(&part.text.text);
        self.thought.push_str(&part.thinking.text);
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Contents;
        impl<'de> Visitor<'de> for Contents {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or parts of one")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content {
                    text: text.to_owned(),
                    thought: String::new(),
                })
            }

            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Content, A::Error> {
                let mut content = Content::default();
                content.add(ContentPart::deserialize(MapAccessDeserializer::new(map))?);
                Ok(content)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut content = Content::default();
                while let Some(part) = seq.next_element()? {
                    content.add(part);
                }
                Ok(content)
            }
        }
        deserializer.deserialize_any(Contents)
    }
}

/// The arguments of a call: JSON text, or the object itself from servers that do not serialize it.
#[derive(Debug, Default)]
pub(super) struct Arguments(pub(super) String);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Arguments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("arguments")
            }

            fn visit_str<E>(self, text: &str) -> Result<Arguments, E> {
                Ok(Arguments(text.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Arguments, E> {
                Ok(Arguments::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Arguments, A::Error> {
                let array = Value::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(Arguments(array.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Arguments, A::Error> {
                let object = Value::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Arguments(object.to_string()))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}
