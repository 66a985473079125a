//! The JSON of `POST /v1/responses`, limited to the fields used here.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::super::wire::{Arguments, Content, Name, Schema};
use crate::lenient::{count, nullable, some_index};

#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    pub(super) model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instructions: Option<&'a str>,
    pub(super) input: Vec<Input<'a>>,
    pub(super) stream: bool,
    pub(super) store: bool,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub(super) include: &'static [&'static str],
    pub(super) max_output_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning: Option<Reasoning>,
}

/// An item of the conversation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Input<'a> {
    Message {
        role: &'static str,
        content: InputContent<'a>,
    },
    Item(Item<'a>),
    /// Reasoning, unchanged.
    Thought(&'a RawValue),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: &'a str,
    },
}

/// A text, or parts if there is other content.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum InputContent<'a> {
    Text(String),
    Parts(Vec<InputPart<'a>>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum InputPart<'a> {
    InputText { text: &'a str },
    InputImage { image_url: String },
}

#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    pub(super) r#type: &'static str,
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) parameters: &'a Value,
    pub(super) strict: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ToolChoice<'a> {
    Word(&'static str),
    Function { r#type: &'static str, name: &'a str },
}

#[derive(Debug, Serialize)]
pub(super) struct Text<'a> {
    pub(super) format: Format<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct Format<'a> {
    pub(super) r#type: &'static str,
    #[serde(flatten)]
    pub(super) schema: Schema<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct Reasoning {
    pub(super) effort: &'static str,
}

/// One event. The meaning of its fields depends on the type, which may come last; the fields of unknown events may contain
/// anything.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Name<'a>,
    #[serde(default, deserialize_with = "some_index")]
    pub(super) output_index: Option<u32>,
    #[serde(default, deserialize_with = "some_index")]
    pub(super) content_index: Option<u32>,
    #[serde(default, deserialize_with = "some_index")]
    pub(super) summary_index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// Only the type of an event or an item.
#[derive(Debug, Deserialize)]
pub(super) struct Typed<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Name<'a>,
}

/// A complete or partial response.
#[derive(Debug, Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub(super) id: Name<'a>,
    #[serde(borrow, default)]
    pub(super) model: Name<'a>,
    #[serde(borrow, default)]
    pub(super) status: Name<'a>,
    #[serde(borrow, default)]
    pub(super) output: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(super) incomplete_details: Incomplete<'a>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Incomplete<'a> {
    #[serde(borrow, default)]
    pub(super) reason: Name<'a>,
}

/// A message, a function call or a reasoning item.
#[derive(Debug, Deserialize)]
pub(super) struct Output<'a> {
    #[serde(borrow, default)]
    pub(super) id: Name<'a>,
    #[serde(borrow, default)]
    pub(super) call_id: Name<'a>,
    #[serde(borrow, default)]
    pub(super) name: Name<'a>,
    #[serde(default)]
    pub(super) arguments: Arguments,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) content: Vec<OutputPart>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) summary: Vec<OutputPart>,
    #[serde(borrow, default)]
    pub(super) encrypted_content: Name<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OutputPart {
    #[serde(default)]
    pub(super) text: Content,
    #[serde(default)]
    pub(super) refusal: Content,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    #[serde(deserialize_with = "count")]
    pub(super) input_tokens: u64,
    #[serde(deserialize_with = "nullable")]
    pub(super) input_tokens_details: InputDetails,
    #[serde(deserialize_with = "count")]
    pub(super) output_tokens: u64,
    #[serde(deserialize_with = "count")]
    pub(super) total_tokens: u64,
    #[serde(deserialize_with = "nullable")]
    pub(super) output_tokens_details: OutputDetails,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InputDetails {
    #[serde(deserialize_with = "count")]
    pub(super) cached_tokens: u64,
    #[serde(deserialize_with = "count")]
    pub(super) cache_write_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutputDetails {
    #[serde(deserialize_with = "count")]
    pub(super) reasoning_tokens: u64,
}
