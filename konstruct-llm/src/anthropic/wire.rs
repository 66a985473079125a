//! The JSON of `POST /v1/messages` and `GET /v1/models`, limited to the fields used here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::{nullable, some_count, some_index};

#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) model: &'a str,
    pub(crate) max_tokens: u32,
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<System<'a>>,
    pub(crate) messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tools: Vec<Cached<Tool<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    pub(crate) output_config: OutputConfig<'a>,
}

/// A text, or blocks if one of them is a cache breakpoint.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum System<'a> {
    Text(&'a str),
    Blocks([Cached<SystemBlock<'a>>; 1]),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum SystemBlock<'a> {
    Text { text: &'a str },
}

/// A value that may be a cache breakpoint.
#[derive(Debug, Serialize)]
pub(crate) struct Cached<T> {
    #[serde(flatten)]
    pub(crate) it: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<CacheControl>,
}

impl<T> From<T> for Cached<T> {
    fn from(it: T) -> Self {
        Self {
            it,
            cache_control: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum CacheControl {
    Ephemeral {
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<&'static str>,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct Message<'a> {
    pub(crate) role: &'static str,
    pub(crate) content: Vec<Cached<Block<'a>>>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Block<'a> {
    Text {
        text: &'a str,
    },
    Image {
        source: Source<'a>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: Value,
    },
    ToolResult {
        tool_use_id: String,
        content: &'a str,
        is_error: bool,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Source<'a> {
    Base64 { media_type: &'a str, data: String },
}

#[derive(Debug, Serialize)]
pub(crate) struct Tool<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) input_schema: &'a Value,
}

#[derive(Debug, Serialize)]
pub(crate) struct ToolChoice<'a> {
    pub(crate) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disable_parallel_tool_use: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Thinking {
    Adaptive,
    Enabled { budget_tokens: u32 },
    Disabled,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<Format<'a>>,
}

impl OutputConfig<'_> {
    fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Format<'a> {
    JsonSchema { schema: &'a Value },
}

/// An event of any type with the fields of all types. A flat struct is parsed in one pass; a tagged enum is not.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) r#type: EventKind,
    #[serde(default, deserialize_with = "some_index")]
    pub(crate) index: Option<u32>,
    pub(crate) message: Option<Start>,
    pub(crate) content_block: Option<Value>,
    pub(crate) delta: Option<Delta>,
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<ErrorBody>,
}

/// An unknown type is [`EventKind::Unknown`], as the provider requires of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventKind {
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    Error,
    #[serde(other)]
    Unknown,
}

/// The fields that an event has in every API version.
#[derive(Debug, Deserialize)]
pub(crate) struct AnyEvent {
    pub(crate) r#type: EventKind,
    #[serde(default)]
    pub(crate) delta: Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Start {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) model: String,
    pub(crate) usage: Option<Usage>,
    /// Empty at the start of a stream, unless the answer was produced elsewhere and arrives complete.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) content: Vec<Value>,
    pub(crate) stop_reason: Option<String>,
}

/// An increment of a block, or of the message.
#[derive(Debug, Deserialize)]
pub(crate) struct Delta {
    pub(crate) r#type: Option<DeltaKind>,
    pub(crate) text: Option<String>,
    pub(crate) partial_json: Option<String>,
    pub(crate) thinking: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) stop_reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeltaKind {
    TextDelta,
    InputJsonDelta,
    ThinkingDelta,
    SignatureDelta,
    #[serde(other)]
    Unknown,
}

/// A snapshot of the totals. A missing or null field leaves the earlier value unchanged.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Usage {
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) cache_read_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) cache_creation_input_tokens: Option<u64>,
    pub(crate) cache_creation: Option<CacheCreation>,
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) output_tokens: Option<u64>,
    pub(crate) output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct CacheCreation {
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) ephemeral_5m_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct OutputDetails {
    #[serde(default, deserialize_with = "some_count")]
    pub(crate) thinking_tokens: Option<u64>,
}

/// A whole answer, or an error, in one document. Gateways omit the type.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) r#type: Option<String>,
    pub(crate) error: Option<ErrorBody>,
    #[serde(flatten)]
    pub(crate) message: Start,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ErrorBody {
    #[serde(default)]
    pub(crate) r#type: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// The body of an error response.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorDocument {
    pub(crate) error: ErrorBody,
}

/// A page of the model list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) data: Vec<Listed>,
    #[serde(default)]
    pub(crate) has_more: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    pub(crate) id: String,
}
