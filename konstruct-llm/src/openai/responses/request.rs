//! Converts a [`ModelRequest`] into the wire's request.

use konstruct_core::{
    Result,
    llm::{Ability, ModelInfo, ModelMessage, ModelRequest, Part, Role, ToolChoice as Choice},
};
use serde_json::value::RawValue;

use super::{
    super::{
        chat::chosen,
        error::unsupported,
        model::Family,
        wire::{Schema, data_url},
    },
    wire::{
        Format, Input, InputContent, InputPart, Item, Reasoning, Request, Text, Tool, ToolChoice,
        Typed,
    },
};

/// Builds the wire's request. The provider stores nothing, so reasoning is returned encrypted and sent back encrypted.
///
/// # Errors
/// [`ErrorKind::Unsupported`](konstruct_core::ErrorKind::Unsupported) for values that the API does not support;
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a choice of a missing tool.
pub(in super::super) fn request<'a>(
    info: &'a ModelInfo,
    asked: &'a ModelRequest,
) -> Result<Request<'a>> {
    if !asked.stop.is_empty() {
        return Err(unsupported("stop", "over the Responses API"));
    }
    let family = Family::of(&info.model);
    let thinks = info.can.contains(&Ability::Reasoning);
    let tools = !asked.tools.is_empty();
    let effort = asked.reasoning.filter(|_| thinks);
    let effort = effort.and_then(|effort| family.effort(effort));
    Ok(Request {
        model: &info.model,
        instructions: Some(asked.system.as_str()).filter(|text| !text.is_empty()),
        input: input(asked, info.origin.as_deref())?,
        stream: true,
        store: false,
        // Models that do not think reject it.
        include: match thinks {
            true => &["reasoning.encrypted_content"],
            false => &[],
        },
        max_output_tokens: asked.max_tokens,
        // Reasoning models accept only the default.
        temperature: asked.temperature.filter(|_| !family.reasons()),
        tools: asked
            .tools
            .iter()
            .map(|tool| Tool {
                r#type: "function",
                name: &tool.name,
                description: &tool.description,
                parameters: &tool.parameters,
                // The default here is `true`, which not every schema supports.
                strict: false,
            })
            .collect(),
        tool_choice: match chosen(asked)? {
            Choice::Auto => None,
            Choice::None => Some(ToolChoice::Word("none")),
            Choice::Required => Some(ToolChoice::Word("required")),
            Choice::Tool(name) => Some(ToolChoice::Function {
                r#type: "function",
                name,
            }),
            _ => return Err(unsupported("tool_choice", "of this kind")),
        },
        parallel_tool_calls: asked
            .parallel_tools
            .filter(|_| tools && family.takes_parallel()),
        text: asked.output.as_ref().map(|output| Text {
            format: Format {
                r#type: "json_schema",
                schema: Schema {
                    name: &output.name,
                    schema: &output.schema,
                    strict: true,
                },
            },
        }),
        reasoning: effort.map(|effort| Reasoning { effort }),
    })
}

fn input<'a>(asked: &'a ModelRequest, origin: Option<&str>) -> Result<Vec<Input<'a>>> {
    let mut input = Vec::new();
    for message in &asked.messages {
        match message.role {
            Role::Assistant => assistant(message, origin, &mut input)?,
            _ => user(message, &mut input)?,
        }
    }
    Ok(input)
}

fn assistant<'a>(
    message: &'a ModelMessage,
    origin: Option<&str>,
    input: &mut Vec<Input<'a>>,
) -> Result<()> {
    // The API rejects reasoning that nothing follows, such as an answer that was cut off.
    let mut thoughts = Vec::new();
    let mut text = String::new();
    for part in &message.parts {
        match part {
            Part::Text { text: more } if more.is_empty() => {}
            Part::Text { text: more } => {
                input.append(&mut thoughts);
                text.push_str(more);
            }
            Part::ToolCall(call) => {
                push_text(&mut text, input);
                input.append(&mut thoughts);
                input.push(Input::Item(Item::FunctionCall {
                    call_id: &call.id,
                    name: &call.name,
                    arguments: &call.arguments,
                }));
            }
            Part::Reasoning {
                signature: Some(signature),
                origin: by,
                ..
            } if by.is_none() || by.as_deref() == origin => {
                push_text(&mut text, input);
                thoughts.extend(thought(signature).map(Input::Thought));
            }
            // Reasoning without its encrypted form cannot be sent back.
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
    push_text(&mut text, input);
    Ok(())
}

/// Adds the model's text so far as one item.
fn push_text(text: &mut String, input: &mut Vec<Input<'_>>) {
    if !text.is_empty() {
        input.push(Input::Message {
            role: "assistant",
            content: InputContent::Text(std::mem::take(text)),
        });
    }
}

/// Returns the signature's item, if it is one of this API.
fn thought(signature: &str) -> Option<&RawValue> {
    let item: Typed<'_> = serde_json::from_str(signature).ok()?;
    if item.r#type.0 != "reasoning" {
        return None;
    }
    serde_json::from_str(signature).ok()
}

/// Adds the results of tools, followed by the user's content.
fn user<'a>(message: &'a ModelMessage, input: &mut Vec<Input<'a>>) -> Result<()> {
    let mut parts = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text { text } => parts.push(InputPart::InputText { text }),
            Part::Image(image) if image.media_type.starts_with("image/") => {
                let image_url = data_url(image);
                parts.push(InputPart::InputImage { image_url });
            }
            Part::Image(_) => {
                return Err(unsupported(
                    "messages",
                    "with an image whose media type does not start with image/",
                ));
            }
            Part::Audio(_) => {
                return Err(unsupported("messages", "with audio over the Responses API"));
            }
            Part::ToolResult { id, content, .. } => {
                input.push(Input::Item(Item::FunctionCallOutput {
                    call_id: id,
                    output: content,
                }));
            }
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
            InputPart::InputText { text } => Some(*text),
            InputPart::InputImage { .. } => None,
        })
        .collect();
    let content = match texts {
        Some(text) if text.is_empty() => return Ok(()),
        Some(text) => InputContent::Text(text),
        None => InputContent::Parts(parts),
    };
    input.push(Input::Message {
        role: "user",
        content,
    });
    Ok(())
}
