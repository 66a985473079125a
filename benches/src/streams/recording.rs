//! A recording: a file, its wire, and the bytes that the provider sent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use konstruct_core::{Result, llm::ModelEvent};
use konstruct_llm::{AnthropicDecoder, OllamaDecoder, OpenAiDecoder, OpenAiResponsesDecoder};
use serde_json::Value;

use crate::Failed;

/// A wire that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
    /// Ollama's chat.
    Ollama,
}

/// A recording file.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its path below the folder.
    pub name: String,
    /// Its content.
    pub content: Content,
}

/// The content of a recording.
#[derive(Clone, Debug)]
pub enum Content {
    /// Streams, one after the other: a recording may continue with the next answer of the same conversation.
    Streams {
        /// The wire.
        wire: Wire,
        /// The data of the events of each stream.
        answers: Vec<Vec<String>>,
    },
    /// An answer in one document.
    Document {
        /// The wire.
        wire: Wire,
        /// The document.
        body: String,
    },
    /// A kind without a codec, by name.
    Kept(String),
}

impl Wire {
    /// Frames an event.
    pub fn frame(self, data: &str) -> String {
        match self {
            Self::Ollama => format!("{data}\n"),
            Self::Messages => match serde_json::from_str::<Value>(data) {
                Ok(event) => format!(
                    "event: {}\ndata: {data}\n\n",
                    event["type"].as_str().unwrap_or("")
                ),
                Err(_) => format!("data: {data}\n\n"),
            },
            _ => format!("data: {data}\n\n"),
        }
    }

    /// Returns whether an event is the last of an answer.
    fn is_last(self, data: &str) -> bool {
        if self == Self::Chat {
            return data == "[DONE]";
        }
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let kind = event["type"].as_str().unwrap_or_default();
        match self {
            Self::Responses => matches!(
                kind,
                "response.completed" | "response.incomplete" | "response.failed"
            ),
            Self::Messages => matches!(kind, "message_stop" | "error"),
            _ => event["done"] == true || !event["error"].is_null(),
        }
    }

    /// Decodes pieces of a stream.
    pub fn decode<'a>(self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<ModelEvent>> {
        macro_rules! decoded {
            ($decoder:ty) => {{
                let mut decoder = <$decoder>::default();
                let mut events = Vec::new();
                for piece in pieces {
                    events.extend(decoder.push(piece));
                }
                events.extend(decoder.finish());
                events
            }};
        }
        match self {
            Self::Chat => decoded!(OpenAiDecoder),
            Self::Responses => decoded!(OpenAiResponsesDecoder),
            Self::Messages => decoded!(AnthropicDecoder),
            Self::Ollama => decoded!(OllamaDecoder),
        }
    }

    /// Decodes a whole answer in one document.
    ///
    /// # Errors
    /// Errors of the codec.
    pub fn document(self, body: &[u8]) -> Result<Vec<ModelEvent>> {
        match self {
            Self::Chat => OpenAiDecoder::document(body),
            Self::Responses => OpenAiResponsesDecoder::document(body),
            Self::Messages => AnthropicDecoder::document(body),
            Self::Ollama => OllamaDecoder::document(body),
        }
    }
}

/// Reads all recordings of a folder with the folders `openai`, `anthropic` and `ollama`, each of which may be missing.
///
/// # Errors
/// Errors of reading.
pub fn recordings(folder: &Path) -> std::result::Result<Vec<Recording>, Failed> {
    let mut found = Vec::new();
    for provider in ["openai", "anthropic", "ollama"] {
        let folder = folder.join(provider);
        if !folder.exists() {
            continue;
        }
        let entries = fs::read_dir(&folder)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        paths.sort();
        for path in paths.into_iter().filter(|path| path.is_file()) {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or("?");
            let text = fs::read_to_string(&path)?;
            let whole = serde_json::from_str::<Value>(&text).ok();
            // A single event is JSON too, so a document is recognised by its file name.
            let content = match whole {
                Some(document) if !name.ends_with(".chunks.txt") => {
                    plain(provider, &document, &text)
                }
                _ => streamed(provider, &text),
            };
            found.push(Recording {
                name: format!("{provider}/{name}"),
                content,
            });
        }
    }
    Ok(found)
}

fn plain(provider: &str, document: &Value, text: &str) -> Content {
    let is = |key: &str, value: &str| document[key] == value;
    let wire = match provider {
        "openai" if is("object", "chat.completion") => Wire::Chat,
        "openai" if is("object", "response") => Wire::Responses,
        "anthropic" if is("type", "message") || is("type", "error") => Wire::Messages,
        "ollama" if document.get("message").is_some() => Wire::Ollama,
        _ if document.get("error").is_some_and(|error| !error.is_null()) => match provider {
            "openai" => Wire::Chat,
            "anthropic" => Wire::Messages,
            _ => Wire::Ollama,
        },
        _ => return Content::Kept(kind(document)),
    };
    Content::Document {
        wire,
        body: text.to_owned(),
    }
}

fn streamed(provider: &str, text: &str) -> Content {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // Some recordings include the wire's framing.
    let mut data: Vec<String> = lines
        .filter(|line| !line.starts_with("event:") && !line.starts_with(':'))
        .map(|line| {
            line.strip_prefix("data:")
                .map_or(line, str::trim_start)
                .to_owned()
        })
        .collect();
    let wire = match provider {
        "anthropic" => Wire::Messages,
        "ollama" => Wire::Ollama,
        _ => {
            let events = data
                .iter()
                .filter_map(|data| serde_json::from_str::<Value>(data).ok());
            let events: Vec<Value> = events.collect();
            let any = |is: &dyn Fn(&Value) -> bool| events.iter().any(is);
            if any(&|event| {
                event["type"]
                    .as_str()
                    .is_some_and(|kind| kind.starts_with("response."))
            }) && !any(&|event| {
                event["type"]
                    .as_str()
                    .is_some_and(|kind| kind.starts_with("session."))
            }) {
                Wire::Responses
            } else if any(&|event| event["object"] == "text_completion") {
                return Content::Kept("text_completion".into());
            } else if any(&|event| event["choices"].is_array()) {
                Wire::Chat
            } else {
                return Content::Kept(events.first().map_or("no JSON".into(), kind));
            }
        }
    };
    // Recordings of Chat Completions omit the last event, which has no content.
    if wire == Wire::Chat && data.last().is_none_or(|last| last != "[DONE]") {
        data.push("[DONE]".into());
    }
    let mut answers = vec![Vec::new()];
    let mut ended = false;
    for data in data {
        if std::mem::take(&mut ended) {
            answers.push(Vec::new());
        }
        ended = wire.is_last(&data);
        if let Some(answer) = answers.last_mut() {
            answer.push(data);
        }
    }
    Content::Streams { wire, answers }
}

fn kind(document: &Value) -> String {
    let named = ["object", "type", "id"]
        .iter()
        .find_map(|key| document[*key].as_str());
    named.unwrap_or("a document of another kind").to_owned()
}
