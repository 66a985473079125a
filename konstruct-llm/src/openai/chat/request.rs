//! Converts a [`ModelRequest`] into the wire's request.

use konstruct_core::{
    Error, Result,
    llm::{
        Ability, Media, ModelInfo, ModelMessage, ModelRequest, Part, Role, ToolChoice as Choice,
    },
};

use super::{
    super::{
        error::unsupported,
        model::Family,
        wire::{Schema, data_url},
    },
    wire::{
        CallOut, Function, FunctionOut, ImageUrl, InputAudio, Message, Named, Request,
        ResponseFormat, StreamOptions, Thought, Tool, ToolChoice, UserContent, UserPart,
    },
};

/// The maximum number of stop sequences that the API accepts.
const STOPS: usize = 4;

/// Builds the wire's request. `official` states that it goes to OpenAI itself.
///
/// # Errors
/// [`ErrorKind::Unsupported`](konstruct_core::ErrorKind::Unsupported) for values that the API does not support;
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a choice of a missing tool.
pub(in super::super) fn request<'a>(
    info: &'a ModelInfo,
    official: bool,
    asked: &'a ModelRequest,
) -> Result<Request<'a>> {
    let family = Family::of(&info.model);
    let reasons = family.reasons();
    if reasons && !asked.stop.is_empty() {
        return Err(unsupported("stop", "to a reasoning model"));
    }
    if asked.stop.len() > STOPS {
        return Err(unsupported("stop", "with more than 4 sequences"));
    }
    let newer = official || reasons;
    let tools = !asked.tools.is_empty();
    let thinks = info.can.contains(&Ability::Reasoning);
    Ok(Request {
        model: &info.model,
        messages: messages(asked, info.origin.as_deref())?,
        stream: true,
        stream_options: StreamOptions {
            include_usage: true,
        },
        max_tokens: (!newer).then_some(asked.max_tokens),
        max_completion_tokens: newer.then_some(asked.max_tokens),
        // Reasoning models accept only the default.
        temperature: asked.temperature.filter(|_| !reasons),
        stop: &asked.stop,
        tools: asked
            .tools
            .iter()
            .map(|tool| Tool {
                r#type: "function",
                function: Function {
                    name: &tool.name,
                    description: &tool.description,
                    parameters: &tool.parameters,
                },
            })
            .collect(),
        tool_choice: tool_choice(asked)?,
        parallel_tool_calls: asked
            .parallel_tools
            .filter(|_| tools && family.takes_parallel()),
        response_format: asked.output.as_ref().map(|output| ResponseFormat {
            r#type: "json_schema",
            json_schema: Schema {
                name: &output.name,
                schema: &output.schema,
                strict: true,
            },
        }),
        reasoning_effort: asked
            .reasoning
            .filter(|_| thinks)
            .and_then(|effort| family.effort(effort)),
    })
}

fn tool_choice(asked: &ModelRequest) -> Result<Option<ToolChoice<'_>>> {
    Ok(match chosen(asked)? {
        Choice::Auto => None,
        Choice::None => Some(ToolChoice::Word("none")),
        Choice::Required => Some(ToolChoice::Word("required")),
        Choice::Tool(name) => Some(ToolChoice::Function {
            r#type: "function",
            function: Named { name },
        }),
        _ => return Err(unsupported("tool_choice", "of this kind")),
    })
}

/// Returns the choice of tools, if it is valid.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a tool that is not in the request.
pub(in super::super) fn chosen(asked: &ModelRequest) -> Result<&Choice> {
    match &asked.tool_choice {
        // The API accepts no choice without tools.
        Choice::None if asked.tools.is_empty() => Ok(&Choice::Auto),
        Choice::Required if asked.tools.is_empty() => Err(Error::invalid(
            "tool_choice",
            "a tool call is required, but the request has no tools",
        )),
        Choice::Tool(name) if !asked.tools.iter().any(|tool| tool.name == *name) => Err(
            Error::invalid("tool_choice", format!("there is no tool named \"{name}\"")),
        ),
        choice => Ok(choice),
    }
}

fn messages<'a>(asked: &'a ModelRequest, origin: Option<&str>) -> Result<Vec<Message<'a>>> {
    let mut messages = Vec::new();
    if !asked.system.is_empty() {
        messages.push(Message::System {
            content: &asked.system,
        });
    }
    for message in &asked.messages {
        match message.role {
            Role::Assistant => messages.extend(assistant(message, origin)?),
            _ => user(message, &mut messages)?,
        }
    }
    Ok(messages)
}

fn assistant<'a>(message: &'a ModelMessage, origin: Option<&str>) -> Result<Option<Message<'a>>> {
    let (mut text, mut tool_calls, mut thinking_blocks) = (String::new(), Vec::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text { text: more } => text.push_str(more),
            Part::ToolCall(call) => tool_calls.push(CallOut {
                id: &call.id,
                r#type: "function",
                function: FunctionOut {
                    name: &call.name,
                    arguments: &call.arguments,
                },
            }),
            Part::Reasoning {
                text,
                signature: Some(signature),
                origin: by,
                // Only for a known origin: OpenAI itself rejects thinking blocks.
            } if by.is_some() && by.as_deref() == origin && is_signature(signature) => {
                thinking_blocks.push(Thought {
                    r#type: "thinking",
                    thinking: text,
                    signature,
                });
            }
            // The API accepts no other thoughts back.
            Part::Reasoning { .. } => {}
            Part::Image(_) => return Err(unsupported("messages", "with an image from the model")),
            Part::Audio(_) => return Err(unsupported("messages", "with audio from the model")),
            _ => {
                return Err(unsupported(
                    "messages",
                    "with a part of this kind from the model",
                ));
            }
        }
    }
    let empty = text.is_empty() && tool_calls.is_empty();
    Ok((!empty).then_some(Message::Assistant {
        content: (!text.is_empty()).then_some(text),
        tool_calls,
        thinking_blocks,
    }))
}

/// Returns whether a proxy produced this signature; otherwise it is an item of the Responses API.
fn is_signature(signature: &str) -> bool {
    !signature.is_empty() && !signature.starts_with('{')
}

/// Adds the results of tools, followed by the user's content.
fn user<'a>(message: &'a ModelMessage, messages: &mut Vec<Message<'a>>) -> Result<()> {
    let mut parts = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text { text } => parts.push(UserPart::Text { text }),
            Part::Image(image) => parts.push(picture(image)?),
            Part::Audio(audio) => parts.push(recording(audio)?),
            Part::ToolResult { id, content, .. } => messages.push(Message::Tool {
                tool_call_id: id,
                content,
            }),
            Part::Reasoning { .. } => {}
            _ => {
                return Err(unsupported(
                    "messages",
                    "with a part of this kind from the user",
                ));
            }
        }
    }
    let texts: Option<String> = parts
        .iter()
        .map(|part| match part {
            UserPart::Text { text } => Some(*text),
            _ => None,
        })
        .collect();
    let content = match texts {
        Some(text) if text.is_empty() => return Ok(()),
        Some(text) => UserContent::Text(text),
        None => UserContent::Parts(parts),
    };
    messages.push(Message::User { content });
    Ok(())
}

fn picture(image: &Media) -> Result<UserPart<'static>> {
    if !image.media_type.starts_with("image/") {
        return Err(unsupported(
            "messages",
            "with an image whose media type does not start with image/",
        ));
    }
    let url = data_url(image);
    Ok(UserPart::ImageUrl {
        image_url: ImageUrl { url },
    })
}

fn recording(audio: &Media) -> Result<UserPart<'static>> {
    let format = match audio.media_type.as_str() {
        "audio/wav" | "audio/wave" | "audio/x-wav" | "audio/vnd.wave" => "wav",
        "audio/mpeg" | "audio/mp3" => "mp3",
        _ => {
            return Err(unsupported(
                "messages",
                "with audio that is neither WAV nor MP3",
            ));
        }
    };
    let data = audio.base64();
    Ok(UserPart::InputAudio {
        input_audio: InputAudio { data, format },
    })
}
