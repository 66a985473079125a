//! Separates a model's words from what a server leaves in the text of its answer: reasoning, marks of the chat template, and tool
//! calls written as text. One filter of events, which every wire format uses.
//!
//! * `marks` - the spellings, as a table.
//! * `scan` - the text, at any split, in pieces.
//! * `calls` - reads calls written as text.

mod calls;
mod marks;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use konstruct_core::llm::{BlockKind, Finish, ModelEvent};

pub(crate) use self::scan::Tools;
use self::scan::{Piece, Scanner};
use crate::codec::call_id;

/// Filters the events of one answer. Blocks get new indexes.
///
/// * Reasoning in the text becomes reasoning blocks. If only its end is marked, its beginning was already yielded as text, so the
///   answer is yielded again after a [`ModelEvent::Restart`].
/// * A call in the text becomes a tool call if it names a tool of the request and its arguments are a JSON object. Otherwise it is
///   dropped, so that an answer without other words is blank. With other words it still becomes a call: the words may
///   announce it, and the model is then told what was wrong with it.
/// * The arguments of every call are the JSON of an object, even if they were encoded twice, and the ids of calls are unique.
#[derive(Debug, Default)]
pub(crate) struct TextFilter {
    scanner: Scanner,
    next: u32,
    /// The open text or reasoning block that is made from text, and whether it is reasoning.
    open: Option<(u32, bool)>,
    /// The indexes of the other blocks, by the wire's.
    blocks: HashMap<u32, u32>,
    /// Arguments that are encoded as a JSON string, by the wire's index. They are decoded when they are complete.
    arguments: HashMap<u32, Arguments>,
    ids: HashSet<String>,
    called: bool,
    /// The provider's id of the answer.
    answer: String,
    /// The events since the start or the last restart, with adjacent pieces joined.
    yielded: Vec<ModelEvent>,
}

/// How the arguments of a call are yielded.
#[derive(Debug)]
enum Arguments {
    /// Nothing but white space arrived.
    Empty,
    /// They begin like an object, and are yielded as they arrive.
    Plain,
    Encoded(String),
}

impl TextFilter {
    pub(crate) fn new(tools: Tools) -> Self {
        let mut filter = Self::default();
        filter.scanner.tools = tools;
        filter
    }

    /// Filters an event into `out`.
    pub(crate) fn push(&mut self, event: ModelEvent, out: &mut Vec<ModelEvent>) {
        match event {
            ModelEvent::BlockStart {
                kind: BlockKind::Text,
                ..
            } => self.close(out),
            ModelEvent::Text { delta, .. } => {
                let pieces = self.scanner.push(&delta);
                self.pieces(pieces, out);
            }
            ModelEvent::BlockStart { index, kind } => self.begin(index, kind, out),
            ModelEvent::BlockEnd { index } => self.end(index, out),
            ModelEvent::ToolArguments { index, delta } => self.arguments(index, delta, out),
            ModelEvent::Reasoning { index, delta } => {
                let index = self.blocks.get(&index).copied().unwrap_or(index);
                self.emit(ModelEvent::Reasoning { index, delta }, out);
            }
            ModelEvent::Signature {
                index,
                signature,
                origin,
            } => {
                let event = ModelEvent::Signature {
                    index: self.blocks.get(&index).copied().unwrap_or(index),
                    signature,
                    origin,
                };
                self.emit(event, out);
            }
            ModelEvent::Restart => {
                *self = Self::new(std::mem::take(&mut self.scanner.tools));
                out.push(ModelEvent::Restart);
            }
            ModelEvent::Finish(finish) => {
                self.flush(out);
                let called = self.called && matches!(finish, Finish::Stop | Finish::StopSequence);
                let finish = if called { Finish::ToolCalls } else { finish };
                out.push(ModelEvent::Finish(finish));
            }
            ModelEvent::Heartbeat => out.push(ModelEvent::Heartbeat),
            event => {
                if let ModelEvent::Start { id, .. } = &event {
                    self.answer.clone_from(id);
                }
                self.emit(event, out);
            }
        }
    }

    fn begin(&mut self, index: u32, kind: BlockKind, out: &mut Vec<ModelEvent>) {
        let kind = match kind {
            BlockKind::ToolCall { id, name } => {
                self.flush(out);
                self.arguments.insert(index, Arguments::Empty);
                self.called = true;
                let id = self.unique(id);
                BlockKind::ToolCall { id, name }
            }
            kind => kind,
        };
        self.close(out);
        let new = self.start(kind, out);
        self.blocks.insert(index, new);
    }

    fn end(&mut self, index: u32, out: &mut Vec<ModelEvent>) {
        // The end of a text block is the end of its last piece.
        let Some(new) = self.blocks.remove(&index) else {
            return;
        };
        let delta = match self.arguments.remove(&index) {
            Some(Arguments::Empty) => Some("{}".to_owned()),
            Some(Arguments::Encoded(json)) => Some(calls::decoded(&json)),
            Some(Arguments::Plain) | None => None,
        };
        if let Some(delta) = delta {
            self.emit(ModelEvent::ToolArguments { index: new, delta }, out);
        }
        self.emit(ModelEvent::BlockEnd { index: new }, out);
    }

    fn arguments(&mut self, index: u32, mut delta: String, out: &mut Vec<ModelEvent>) {
        let Some(arguments) = self.arguments.get_mut(&index) else {
            return;
        };
        if matches!(arguments, Arguments::Empty) {
            delta = delta.trim_start().to_owned();
            match delta.chars().next() {
                None => return,
                Some('"' | 'n' | '[') => *arguments = Arguments::Encoded(String::new()),
                Some(_) => *arguments = Arguments::Plain,
            }
        }
        if let Arguments::Encoded(json) = arguments {
            json.push_str(&delta);
        } else {
            let index = self.blocks.get(&index).copied().unwrap_or(index);
            self.emit(ModelEvent::ToolArguments { index, delta }, out);
        }
    }

    /// Yields the text that is held back.
    fn flush(&mut self, out: &mut Vec<ModelEvent>) {
        let pieces = self.scanner.end();
        self.pieces(pieces, out);
        self.close(out);
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<ModelEvent>) {
        for piece in pieces {
            match piece {
                Piece::Text(delta) => {
                    let index = self.prose(false, out);
                    self.emit(ModelEvent::Text { index, delta }, out);
                }
                Piece::Thought(delta) => {
                    let index = self.prose(true, out);
                    self.emit(ModelEvent::Reasoning { index, delta }, out);
                }
                Piece::Call(call) => self.whole_call(call, out),
                Piece::Retract => self.retract(out),
            }
        }
    }

    fn whole_call(&mut self, call: calls::Call, out: &mut Vec<ModelEvent>) {
        self.close(out);
        self.called = true;
        let id = self.unique(String::new());
        let name = call.name;
        let index = self.start(BlockKind::ToolCall { id, name }, out);
        let delta = call.arguments;
        self.emit(ModelEvent::ToolArguments { index, delta }, out);
        self.emit(ModelEvent::BlockEnd { index }, out);
    }

    /// Yields everything again, with the text as reasoning.
    fn retract(&mut self, out: &mut Vec<ModelEvent>) {
        let mut texts = HashSet::new();
        for event in &mut self.yielded {
            match event {
                ModelEvent::BlockStart {
                    index,
                    kind: kind @ BlockKind::Text,
                } => {
                    *kind = BlockKind::Reasoning;
                    texts.insert(*index);
                }
                ModelEvent::Text { index, delta } if texts.contains(index) => {
                    *event = ModelEvent::Reasoning {
                        index: *index,
                        delta: std::mem::take(delta),
                    };
                }
                _ => {}
            }
        }
        out.push(ModelEvent::Restart);
        out.extend(self.yielded.iter().cloned());
        if let Some((_, reasoning)) = &mut self.open {
            *reasoning = true;
        }
    }

    /// Returns the open block of this kind, and opens one if necessary.
    fn prose(&mut self, reasoning: bool, out: &mut Vec<ModelEvent>) -> u32 {
        if let Some((index, open)) = self.open
            && open == reasoning
        {
            return index;
        }
        self.close(out);
        let kind = if reasoning {
            BlockKind::Reasoning
        } else {
            BlockKind::Text
        };
        let index = self.start(kind, out);
        self.open = Some((index, reasoning));
        index
    }

    fn start(&mut self, kind: BlockKind, out: &mut Vec<ModelEvent>) -> u32 {
        let index = self.next;
        self.next += 1;
        self.emit(ModelEvent::BlockStart { index, kind }, out);
        index
    }

    fn close(&mut self, out: &mut Vec<ModelEvent>) {
        if let Some((index, _)) = self.open.take() {
            self.emit(ModelEvent::BlockEnd { index }, out);
        }
    }

    /// Returns the id, or another one if it is missing or was used before.
    fn unique(&mut self, id: String) -> String {
        let mut unique = id;
        if unique.is_empty() {
            unique = call_id(&self.answer, self.next);
        }
        while !self.ids.insert(unique.clone()) {
            unique = format!("{unique}_{}", self.next);
        }
        unique
    }

    fn emit(&mut self, event: ModelEvent, out: &mut Vec<ModelEvent>) {
        match (self.yielded.last_mut(), &event) {
            (
                Some(ModelEvent::Text { index, delta: said }),
                ModelEvent::Text { index: at, delta },
            )
            | (
                Some(ModelEvent::Reasoning { index, delta: said }),
                ModelEvent::Reasoning { index: at, delta },
            )
            | (
                Some(ModelEvent::ToolArguments { index, delta: said }),
                ModelEvent::ToolArguments { index: at, delta },
            ) if index == at => said.push_str(delta),
            _ => self.yielded.push(event.clone()),
        }
        out.push(event);
    }
}
