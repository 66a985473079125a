//! Converts a [`ModelRequest`] into the wire's request.

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{Ability, CacheLifetime, Effort, Media, ModelInfo, ModelRequest, Part, Role, ToolChoice},
};
use serde_json::{Value, json};

use super::{
    answer::REDACTED,
    model::{ClaudeModel, ThinkingMode},
    wire::{
        self, Block, CacheControl, Cached, Format, Message, OutputConfig, Source, System,
        SystemBlock, Thinking, Tool,
    },
};

/// The smallest thinking budget that the API accepts, in tokens.
const MIN_THINKING_BUDGET: u32 = 1024;
/// The accepted image types.
const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Builds the wire's request. `comes_again` states whether the next request may repeat the last message unchanged.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a message part that the API does not support; [`ErrorKind::InvalidInput`] for a choice of a
/// missing tool.
pub(super) fn request<'a>(
    info: &'a ModelInfo,
    asked: &'a ModelRequest,
    comes_again: bool,
) -> Result<wire::Request<'a>> {
    let claude = ClaudeModel::of(&info.model);
    let cache_control = asked.cache.map(cache_control);
    let mut messages = messages(asked, info.origin.as_deref(), cache_control)?;
    let (thinking, effort) = thinking(info, claude, asked, &messages);
    let thinks = thinking.is_some_and(|thinking| thinking != Thinking::Disabled);
    let mut tools: Vec<Cached<Tool<'_>>> = asked.tools.iter().map(tool).collect();
    let system = Some(asked.system.as_str()).filter(|text| !text.trim().is_empty());
    if cache_control.is_some() {
        if let Some(last) = tools.last_mut() {
            last.cache_control = cache_control;
        }
        if comes_again
            && let Some(last) = messages.last_mut().and_then(|last| last.content.last_mut())
        {
            // Thinking blocks cannot carry a breakpoint; a request does not end with one.
            last.cache_control = cache_control.filter(|_| !is_thought(&last.it));
        }
    }
    let system = system.map(|text| match cache_control {
        None => System::Text(text),
        Some(_) => System::Blocks([Cached {
            it: SystemBlock::Text { text },
            cache_control,
        }]),
    });
    Ok(wire::Request {
        model: &info.model,
        max_tokens: asked.max_tokens,
        stream: true,
        system,
        messages,
        temperature: asked
            .temperature
            .filter(|_| claude.takes_temperature() && !thinks),
        stop_sequences: &asked.stop,
        tool_choice: tool_choice(asked)?,
        tools,
        thinking,
        output_config: OutputConfig {
            effort,
            format: asked.output.as_ref().map(|output| Format::JsonSchema {
                schema: &output.schema,
            }),
        },
    })
}

fn cache_control(lifetime: CacheLifetime) -> CacheControl {
    CacheControl::Ephemeral {
        ttl: match lifetime {
            CacheLifetime::OneHour => Some("1h"),
            _ => None,
        },
    }
}

fn tool(tool: &konstruct_core::llm::ToolSpec) -> Cached<Tool<'_>> {
    Cached::from(Tool {
        name: &tool.name,
        description: &tool.description,
        input_schema: &tool.parameters,
    })
}

fn tool_choice(asked: &ModelRequest) -> Result<Option<wire::ToolChoice<'_>>> {
    let (r#type, name) = match &asked.tool_choice {
        ToolChoice::Auto => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required => ("any", None),
        ToolChoice::Tool(name) => ("tool", Some(name.as_str())),
        _ => {
            return Err(Error::invalid(
                "tool_choice",
                "not supported by this backend",
            ));
        }
    };
    if asked.tools.is_empty() {
        return match r#type {
            "auto" | "none" => Ok(None),
            _ => Err(Error::invalid(
                "tool_choice",
                "requires a tool call, but the request has no tools",
            )),
        };
    }
    if name.is_some_and(|name| asked.tools.iter().all(|tool| tool.name != name)) {
        return Err(Error::invalid(
            "tool_choice",
            "names a tool that is not in the request",
        ));
    }
    let one = asked.parallel_tools == Some(false) && r#type != "none";
    Ok((r#type != "auto" || one).then_some(wire::ToolChoice {
        r#type,
        name,
        disable_parallel_tool_use: one.then_some(true),
    }))
}

/// Returns the thinking mode and the effort: an effort where the model supports it, otherwise a budget of at most half of the
/// answer's tokens, which include the thinking tokens.
fn thinking(
    info: &ModelInfo,
    claude: ClaudeModel,
    asked: &ModelRequest,
    messages: &[Message<'_>],
) -> (Option<Thinking>, Option<&'static str>) {
    let Some(effort) = asked.reasoning else {
        return (None, None);
    };
    // The API does not allow thinking together with a forced tool call.
    let forced = matches!(
        asked.tool_choice,
        ToolChoice::Required | ToolChoice::Tool(_)
    );
    let rests = forced || effort == Effort::Off;
    match claude.thinking_mode(info.can.contains(&Ability::Reasoning)) {
        ThinkingMode::No => (None, None),
        ThinkingMode::Adaptive if rests && claude.can_disable_thinking() => {
            (Some(Thinking::Disabled), None)
        }
        ThinkingMode::Adaptive if forced => (None, Some(level(effort))),
        ThinkingMode::Adaptive => (Some(Thinking::Adaptive), Some(level(effort))),
        ThinkingMode::Budget if rests || !may_start_thinking(messages) => (None, None),
        ThinkingMode::Budget => {
            let budget = match effort {
                Effort::Low => 2_048,
                Effort::Medium => 8_192,
                _ => 24_576,
            };
            let budget_tokens = budget.min(asked.max_tokens / 2);
            let thinking = Thinking::Enabled { budget_tokens };
            (
                (budget_tokens >= MIN_THINKING_BUDGET).then_some(thinking),
                None,
            )
        }
    }
}

fn level(effort: Effort) -> &'static str {
    match effort {
        Effort::Medium => "medium",
        Effort::High => "high",
        _ => "low",
    }
}

/// Returns whether a budget model may start to think here. The API forbids it between tool calls when the model made the first
/// call without thinking, or when another model produced its thoughts.
fn may_start_thinking(messages: &[Message<'_>]) -> bool {
    let mut latest = messages.iter().rev();
    let answers = latest.next().is_some_and(|last| {
        let mut blocks = last.content.iter();
        blocks.any(|block| matches!(block.it, Block::ToolResult { .. }))
    });
    let calls = latest.next().and_then(|message| message.content.first());
    !answers || calls.is_some_and(|first| is_thought(&first.it))
}

fn is_thought(block: &Block<'_>) -> bool {
    matches!(
        block,
        Block::Thinking { .. } | Block::RedactedThinking { .. }
    )
}

/// Builds messages that alternate and begin with the user, as the API requires. Tool results belong to the user and precede the
/// user's text. The messages before the last user message are the same in the next turn, so they end with a cache breakpoint.
fn messages<'a>(
    asked: &'a ModelRequest,
    origin: Option<&str>,
    keep: Option<CacheControl>,
) -> Result<Vec<Message<'a>>> {
    let mut messages: Vec<Message<'_>> = Vec::new();
    let fresh = asked
        .messages
        .iter()
        .rposition(|message| message.role == Role::User);
    for (at, message) in asked.messages.iter().enumerate() {
        if Some(at) == fresh
            && let Some(last) = messages.last_mut().and_then(|last| last.content.last_mut())
        {
            last.cache_control = keep.filter(|_| !is_thought(&last.it));
        }
        let role = match message.role {
            Role::Assistant => "assistant",
            _ => "user",
        };
        let mut blocks = Vec::new();
        for part in &message.parts {
            blocks.extend(block(part, at, origin)?.map(Cached::from));
        }
        match messages.last_mut() {
            _ if blocks.is_empty() => {}
            Some(last) if last.role == role => last.content.extend(blocks),
            _ => messages.push(Message {
                role,
                content: blocks,
            }),
        }
    }
    for message in &mut messages {
        // The sort is stable: results keep their order, and so do the other blocks.
        message
            .content
            .sort_by_key(|block| !matches!(block.it, Block::ToolResult { .. }));
    }
    if messages
        .first()
        .is_some_and(|first| first.role == "assistant")
    {
        let text = "(Earlier messages are left out.)";
        messages.insert(
            0,
            Message {
                role: "user",
                content: vec![Block::Text { text }.into()],
            },
        );
    }
    Ok(messages)
}

fn block<'a>(part: &'a Part, at: usize, own: Option<&str>) -> Result<Option<Block<'a>>> {
    Ok(Some(match part {
        // The API rejects blank text.
        Part::Text { text } if text.trim().is_empty() => return Ok(None),
        Part::Text { text } => Block::Text { text },
        Part::Image(media) => Block::Image {
            source: image(media, at)?,
        },
        Part::Audio(_) => return Err(unsupported(at, "audio")),
        Part::Reasoning {
            text,
            signature,
            origin,
        } => {
            let foreign = origin.is_some() && origin.as_deref() != own;
            match signature {
                Some(signature) if !foreign => match signature.strip_prefix(REDACTED) {
                    Some(data) => Block::RedactedThinking { data },
                    None => Block::Thinking {
                        thinking: text,
                        signature,
                    },
                },
                _ => return Ok(None),
            }
        }
        Part::ToolCall(call) => Block::ToolUse {
            id: sanitized_call_id(&call.id),
            name: &call.name,
            input: match serde_json::from_str(&call.arguments) {
                Ok(input @ Value::Object(_)) => input,
                // The API accepts only objects; invalid arguments are returned to the model as it wrote them.
                _ => json!({ "invalid_json": call.arguments }),
            },
        },
        Part::ToolResult {
            id, content, error, ..
        } => Block::ToolResult {
            tool_use_id: sanitized_call_id(id),
            content,
            is_error: *error,
        },
        _ => return Err(unsupported(at, "a message part of this kind")),
    }))
}

fn image(media: &Media, at: usize) -> Result<Source<'_>> {
    if !IMAGES.contains(&media.media_type.as_str()) {
        return Err(unsupported(
            at,
            "an image that is not JPEG, PNG, GIF or WebP",
        ));
    }
    Ok(Source::Base64 {
        media_type: &media.media_type,
        data: media.base64(),
    })
}

fn unsupported(at: usize, what: &str) -> Error {
    let message = format!("messages[{at}]: anthropic does not support {what}");
    Error::new(ErrorKind::Unsupported, message)
}

/// Replaces the characters of another provider's call id that this API rejects; it allows letters, digits, `_` and `-`.
fn sanitized_call_id(id: &str) -> String {
    id.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}
