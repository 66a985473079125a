//! From a [`ModelRequest`] to the wire's request.

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{Ability, CacheLifetime, Effort, Media, ModelInfo, ModelRequest, Part, Role, ToolChoice},
};
use serde_json::{Value, json};

use super::{
    answer::REDACTED,
    model::{Line, Thinks},
    wire::{
        self, Block, CacheControl, Cached, Format, Message, OutputConfig, Source, System,
        SystemBlock, Thinking, Tool,
    },
};

/// The fewest tokens that the wire takes for a thinking budget.
const LEAST_BUDGET: u32 = 1024;
/// What images may be.
const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Makes the wire's request. `comes_again` tells whether its last message may be a part of the next one as it is.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a part that the wire does not know; [`ErrorKind::InvalidInput`] for a choice of no tool.
pub(super) fn request<'a>(
    info: &'a ModelInfo,
    asked: &'a ModelRequest,
    comes_again: bool,
) -> Result<wire::Request<'a>> {
    let line = Line::of(&info.model);
    let cache_control = asked.cache.map(cache_control);
    let mut messages = messages(asked, info.origin.as_deref(), cache_control)?;
    let (thinking, effort) = thinking(info, line, asked, &messages);
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
            // Thoughts cannot carry it; a request does not end in them.
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
            .filter(|_| line.takes_temperature() && !thinks),
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
        _ => return Err(Error::invalid("tool_choice", "not one that is known here")),
    };
    if asked.tools.is_empty() {
        return match r#type {
            "auto" | "none" => Ok(None),
            _ => Err(Error::invalid("tool_choice", "there is no tool to call")),
        };
    }
    if name.is_some_and(|name| asked.tools.iter().all(|tool| tool.name != name)) {
        return Err(Error::invalid("tool_choice", "names none of the tools"));
    }
    let one = asked.parallel_tools == Some(false) && r#type != "none";
    Ok((r#type != "auto" || one).then_some(wire::ToolChoice {
        r#type,
        name,
        disable_parallel_tool_use: one.then_some(true),
    }))
}

/// Says how much is thought: by an effort where the model knows that, else by a budget of at most half of the answer's tokens, which
/// thoughts are a part of.
fn thinking(
    info: &ModelInfo,
    line: Line,
    asked: &ModelRequest,
    messages: &[Message<'_>],
) -> (Option<Thinking>, Option<&'static str>) {
    let Some(effort) = asked.reasoning else {
        return (None, None);
    };
    // A model that must call a tool cannot think before.
    let forced = matches!(
        asked.tool_choice,
        ToolChoice::Required | ToolChoice::Tool(_)
    );
    let rests = forced || effort == Effort::Off;
    match line.thinks(info.can.contains(&Ability::Reasoning)) {
        Thinks::No => (None, None),
        Thinks::Adaptive if rests && line.can_rest() => (Some(Thinking::Disabled), None),
        Thinks::Adaptive if forced => (None, Some(level(effort))),
        Thinks::Adaptive => (Some(Thinking::Adaptive), Some(level(effort))),
        Thinks::Budget if rests || !may_begin_to_think(messages) => (None, None),
        Thinks::Budget => {
            let budget = match effort {
                Effort::Low => 2_048,
                Effort::Medium => 8_192,
                _ => 24_576,
            };
            let budget_tokens = budget.min(asked.max_tokens / 2);
            let thinking = Thinking::Enabled { budget_tokens };
            ((budget_tokens >= LEAST_BUDGET).then_some(thinking), None)
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

/// Returns whether the wire lets a model think by a budget here: not in the middle of its calls when it had called without a thought,
/// or when its thoughts were another's.
fn may_begin_to_think(messages: &[Message<'_>]) -> bool {
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

/// Makes messages that alternate and begin with the user, as the wire wants them. A tool's result is the user's, and stands
/// before the user's text. What comes before the last words of a person is the same in the next turn, and is marked to be kept.
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
        // Stable: results keep their order, and so does the rest.
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
        // The wire refuses blank text.
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
            id: tame(&call.id),
            name: &call.name,
            input: match serde_json::from_str(&call.arguments) {
                Ok(input @ Value::Object(_)) => input,
                // The wire takes objects alone; what the model got wrong is shown to it as it was.
                _ => json!({ "invalid_json": call.arguments }),
            },
        },
        Part::ToolResult {
            id, content, error, ..
        } => Block::ToolResult {
            tool_use_id: tame(id),
            content,
            is_error: *error,
        },
        _ => return Err(unsupported(at, "a part that is not known here")),
    }))
}

fn image(media: &Media, at: usize) -> Result<Source<'_>> {
    if !IMAGES.contains(&media.media_type.as_str()) {
        return Err(unsupported(
            at,
            "an image that is no JPEG, PNG, GIF or WebP",
        ));
    }
    Ok(Source::Base64 {
        media_type: &media.media_type,
        data: media.base64(),
    })
}

fn unsupported(at: usize, what: &str) -> Error {
    let message = format!("messages[{at}]: anthropic does not take {what}");
    Error::new(ErrorKind::Unsupported, message)
}

/// Makes another provider's call id one that this wire takes: letters, digits, `_` and `-`.
fn tame(id: &str) -> String {
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
