//! Converts a [`ModelRequest`] into the wire's request.

use konstruct_core::{
    Error, ErrorKind, Result,
    llm::{Ability, ModelInfo, ModelMessage, ModelRequest, Part, Role, ToolChoice},
};
use serde_json::{Value, json};

use super::{
    model::think,
    wire::{self, CallOut, Function, FunctionOut, Message, Options, Tool},
};

/// Builds the wire's request.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for options that the API does not have.
pub(super) fn request<'a>(
    info: &'a ModelInfo,
    context: u32,
    asked: &'a ModelRequest,
) -> Result<wire::Request<'a>> {
    let thinks = info.can.contains(&Ability::Reasoning);
    let effort = asked.reasoning.filter(|_| thinks);
    Ok(wire::Request {
        model: &info.model,
        messages: messages(asked)?,
        tools: tools(asked)?,
        stream: true,
        truncate: false,
        think: effort.map(|effort| think(&info.model, effort)),
        format: asked.output.as_ref().map(|output| &output.schema),
        options: Options {
            num_predict: asked.max_tokens,
            num_ctx: context,
            temperature: asked.temperature,
            stop: &asked.stop,
        },
    })
}

/// Returns the offered tools: none if no tool may be called, because the API has no tool choice.
fn tools(asked: &ModelRequest) -> Result<Vec<Tool<'_>>> {
    match &asked.tool_choice {
        ToolChoice::None => return Ok(Vec::new()),
        ToolChoice::Auto => {}
        _ => return Err(unsupported("tool_choice", "a required tool call")),
    }
    if asked.parallel_tools == Some(false) && !asked.tools.is_empty() {
        return Err(unsupported(
            "parallel_tools",
            "a limit of one call at a time",
        ));
    }
    let tools = asked.tools.iter().map(|tool| Tool {
        r#type: "function",
        function: Function {
            name: &tool.name,
            description: &tool.description,
            parameters: &tool.parameters,
        },
    });
    Ok(tools.collect())
}

fn messages(asked: &ModelRequest) -> Result<Vec<Message<'_>>> {
    let mut messages = Vec::new();
    if !asked.system.is_empty() {
        messages.push(Message::System {
            content: &asked.system,
        });
    }
    for (at, message) in asked.messages.iter().enumerate() {
        let (mut content, mut calls, mut images) = (String::new(), Vec::new(), Vec::new());
        for part in &message.parts {
            match part {
                Part::Text { text } => content.push_str(text),
                Part::Image(media) => images.push(media.base64()),
                Part::ToolCall(call) => calls.push(CallOut {
                    id: &call.id,
                    function: FunctionOut {
                        name: &call.name,
                        arguments: match serde_json::from_str(&call.arguments) {
                            Ok(arguments @ Value::Object(_)) => arguments,
                            // The API accepts only objects; invalid arguments are returned to the model as it wrote them.
                            _ => json!({ "invalid_json": call.arguments }),
                        },
                    },
                }),
                Part::ToolResult {
                    id, name, content, ..
                } => messages.push(Message::Tool {
                    tool_name: name,
                    tool_call_id: id,
                    content,
                }),
                // Reasoning is not signed here, so it is not sent back.
                Part::Reasoning { .. } => {}
                _ => return Err(unsupported(&format!("messages[{at}]"), named(part))),
            }
        }
        messages.extend(assistant(message, content, calls, images));
    }
    Ok(messages)
}

fn assistant<'a>(
    message: &ModelMessage,
    content: String,
    tool_calls: Vec<CallOut<'a>>,
    images: Vec<String>,
) -> Option<Message<'a>> {
    match message.role {
        Role::Assistant if content.is_empty() && tool_calls.is_empty() => None,
        Role::Assistant => Some(Message::Assistant {
            content,
            tool_calls,
        }),
        _ if content.is_empty() && images.is_empty() => None,
        _ => Some(Message::User { content, images }),
    }
}

fn named(part: &Part) -> &'static str {
    match part {
        Part::Audio(_) => "audio",
        _ => "a message part of this kind",
    }
}

fn unsupported(field: &str, what: &str) -> Error {
    let message = format!("{field}: ollama does not support {what}");
    Error::new(ErrorKind::Unsupported, message)
}
