//! Ollama's JSON, limited to the fields used here: `/api/chat`, `/api/pull`, `/api/show`, `/api/tags`, `/api/ps`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::{nullable, some_count};

#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) model: &'a str,
    pub(crate) messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) stream: bool,
    /// Whether Ollama truncates a long prompt silently instead of rejecting it.
    pub(crate) truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) think: Option<Think>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<&'a Value>,
    pub(crate) options: Options<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Think {
    Whether(bool),
    Level(&'static str),
}

#[derive(Debug, Serialize)]
pub(crate) struct Options<'a> {
    pub(crate) num_predict: u32,
    pub(crate) num_ctx: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) stop: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub(crate) enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        images: Vec<String>,
    },
    Assistant {
        content: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<CallOut<'a>>,
    },
    Tool {
        tool_name: &'a str,
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct CallOut<'a> {
    pub(crate) id: &'a str,
    pub(crate) function: FunctionOut<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FunctionOut<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: Value,
}

#[derive(Debug, Serialize)]
pub(crate) struct Tool<'a> {
    pub(crate) r#type: &'static str,
    pub(crate) function: Function<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) parameters: &'a Value,
}

/// One line. Ollama omits zero values.
#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) model: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) created_at: String,
    pub(crate) message: Option<MessageIn>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) done: bool,
    pub(crate) done_reason: Option<String>,
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) prompt_eval_count: Option<u64>,
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) eval_count: Option<u64>,
    pub(crate) error: Option<ErrorBody>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct MessageIn {
    pub(crate) content: Option<String>,
    pub(crate) thinking: Option<String>,
    pub(crate) tool_calls: Option<Vec<CallIn>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CallIn {
    /// Missing on older servers.
    pub(crate) id: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) function: FunctionIn,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct FunctionIn {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) arguments: Value,
}

/// Ollama's errors are texts; a gateway in front of it may wrap them in objects.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum ErrorBody {
    Text(String),
    Object {
        #[serde(default)]
        message: String,
    },
}

impl ErrorBody {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Object { message: text } => text,
        }
    }
}

/// The body of an error response.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorDocument {
    pub(crate) error: ErrorBody,
}

/// Loads a model, or unloads it with a `keep_alive` of zero.
#[derive(Debug, Serialize)]
pub(crate) struct Load<'a> {
    pub(crate) model: &'a str,
    /// Without messages, Ollama only loads the model.
    pub(crate) messages: [&'a str; 0],
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_alive: Option<u32>,
    pub(crate) options: LoadOptions,
}

#[derive(Debug, Serialize)]
pub(crate) struct LoadOptions {
    pub(crate) num_ctx: u32,
}

/// Names a model, to pull it or to show its details.
#[derive(Debug, Serialize)]
pub(crate) struct Named<'a> {
    pub(crate) model: &'a str,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
}

/// A line of a pull.
#[derive(Debug, Deserialize)]
pub(crate) struct Pulled {
    #[serde(default)]
    pub(crate) status: String,
    pub(crate) digest: Option<String>,
    pub(crate) total: Option<u64>,
    pub(crate) completed: Option<u64>,
    pub(crate) error: Option<ErrorBody>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Tags {
    #[serde(default)]
    pub(crate) models: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Tag {
    pub(crate) name: String,
}
