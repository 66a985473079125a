//! The JSON of `POST /v1/chat/completions`, limited to the fields used here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::wire::{Arguments, Content, ErrorBody, Name, Schema};
use crate::lenient::{count, nullable, some_index};

#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) messages: Vec<Message<'a>>,
    pub(super) stream: bool,
    pub(super) stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) stop: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_effort: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct StreamOptions {
    pub(super) include_usage: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub(super) enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: UserContent<'a>,
    },
    Assistant {
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<CallOut<'a>>,
        /// LiteLLM's name for thoughts that Anthropic signed.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        thinking_blocks: Vec<Thought<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

/// A text, or parts if there is other content.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum UserContent<'a> {
    Text(String),
    Parts(Vec<UserPart<'a>>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum UserPart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl },
    InputAudio { input_audio: InputAudio },
}

#[derive(Debug, Serialize)]
pub(super) struct ImageUrl {
    pub(super) url: String,
}

#[derive(Debug, Serialize)]
pub(super) struct InputAudio {
    pub(super) data: String,
    pub(super) format: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Thought<'a> {
    pub(super) r#type: &'static str,
    pub(super) thinking: &'a str,
    pub(super) signature: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct CallOut<'a> {
    pub(super) id: &'a str,
    pub(super) r#type: &'static str,
    pub(super) function: FunctionOut<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionOut<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    pub(super) r#type: &'static str,
    pub(super) function: Function<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) parameters: &'a Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ToolChoice<'a> {
    Word(&'static str),
    Function {
        r#type: &'static str,
        function: Named<'a>,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct ResponseFormat<'a> {
    pub(super) r#type: &'static str,
    pub(super) json_schema: Schema<'a>,
}

/// One chunk, or a whole answer. Any field may be missing or null: Azure's first chunk has no id and no choices.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(super) id: Name<'a>,
    #[serde(borrow, default)]
    pub(super) object: Name<'a>,
    #[serde(borrow, default)]
    pub(super) model: Name<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(super) choices: Vec<Choice<'a>>,
    pub(super) usage: Option<Usage>,
    /// The finish reason, on servers that send it next to the choices.
    #[serde(borrow, default)]
    pub(super) finish_reason: Name<'a>,
    pub(super) error: Option<ErrorBody>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default, deserialize_with = "some_index")]
    pub(super) index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Delta<'a>>,
    /// The whole content, in a document and from servers that only imitate streaming.
    #[serde(borrow, default)]
    pub(super) message: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub(super) finish_reason: Option<Name<'a>>,
    /// OpenRouter's field for the provider's own name of the reason.
    #[serde(borrow, default)]
    pub(super) native_finish_reason: Name<'a>,
    /// An earlier field of vision models.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(super) finish_details: Details<'a>,
    /// The name of gateways to Anthropic.
    #[serde(borrow, default)]
    pub(super) stop_reason: Name<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Details<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Name<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(default)]
    pub(super) content: Content,
    #[serde(default)]
    pub(super) refusal: Content,
    /// The name used by DeepSeek, llama.cpp and LiteLLM.
    #[serde(default)]
    pub(super) reasoning_content: Content,
    /// OpenRouter's and newer vLLM's name.
    #[serde(default)]
    pub(super) reasoning: Content,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(super) thinking_blocks: Vec<Signed<'a>>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(super) tool_calls: Vec<CallIn<'a>>,
    /// The older field for a single call.
    #[serde(borrow, default)]
    pub(super) function_call: Option<FunctionIn<'a>>,
    /// The finish reason, on servers that send it in the delta.
    #[serde(borrow, default)]
    pub(super) finish_reason: Name<'a>,
}

/// LiteLLM's addition to `reasoning_content`.
#[derive(Debug, Deserialize)]
pub(super) struct Signed<'a> {
    #[serde(borrow, default)]
    pub(super) signature: Name<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallIn<'a> {
    #[serde(default, deserialize_with = "some_index")]
    pub(super) index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) id: Name<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(super) function: FunctionIn<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct FunctionIn<'a> {
    #[serde(borrow, default)]
    pub(super) name: Name<'a>,
    #[serde(default)]
    pub(super) arguments: Arguments,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    #[serde(deserialize_with = "count")]
    pub(super) prompt_tokens: u64,
    #[serde(deserialize_with = "count")]
    pub(super) completion_tokens: u64,
    #[serde(deserialize_with = "count")]
    pub(super) total_tokens: u64,
    #[serde(deserialize_with = "nullable")]
    pub(super) prompt_tokens_details: PromptDetails,
    #[serde(deserialize_with = "nullable")]
    pub(super) completion_tokens_details: CompletionDetails,
    /// DeepSeek's name for `cached_tokens`.
    #[serde(deserialize_with = "count")]
    pub(super) prompt_cache_hit_tokens: u64,
    /// LiteLLM's names for Anthropic's counts.
    #[serde(deserialize_with = "count")]
    pub(super) cache_read_input_tokens: u64,
    #[serde(deserialize_with = "count")]
    pub(super) cache_creation_input_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PromptDetails {
    #[serde(deserialize_with = "count")]
    pub(super) cached_tokens: u64,
    #[serde(deserialize_with = "count")]
    pub(super) cache_write_tokens: u64,
    #[serde(deserialize_with = "nullable")]
    pub(super) cache_creation_token_details: Written,
}

/// LiteLLM's split of the tokens written to Anthropic's cache.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    #[serde(deserialize_with = "count")]
    pub(super) ephemeral_1h_input_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CompletionDetails {
    #[serde(deserialize_with = "count")]
    pub(super) reasoning_tokens: u64,
}
