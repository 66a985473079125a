//! The states in the marks of a chat template: who speaks, and on which channel.

use super::{Next, Piece, Scanner, State, Step, Wait};
use crate::text_filter::marks::{self, Found, LEADS, MESSAGE_ENDS, Mark};

/// The longest header of a message on a channel, in bytes.
const LONGEST_HEADER: usize = 160;

impl Scanner {
    /// Reads a role's name: `assistant` or `model` speaks here, any other does not.
    pub(super) fn role(&mut self, ended: bool) -> Step {
        let rest = self
            .held
            .trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        if rest.is_empty() && !ended {
            return Wait;
        }
        let role = self.take(self.held.len() - rest.len());
        let own = matches!(&*role, "assistant" | "model" | "Assistant" | "");
        if own && !self.said {
            self.speak();
        } else {
            self.state = State::Other;
        }
        Next
    }

    /// Reads a header such as `assistant<|channel|>commentary to=functions.pass_on<|message|>`.
    pub(super) fn header(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        const MESSAGE: &str = "<|message|>";
        let State::Header(header) = &self.state else {
            return Next;
        };
        let end = self.held.find(MESSAGE);
        let line = self.held.find('\n').unwrap_or(self.held.len());
        let gives_up = ended || line < self.held.len() || line > LONGEST_HEADER;
        let (length, skipped) = match end {
            Some(end) if end < line => (end, MESSAGE.len()),
            _ if gives_up => (channel_name(&self.held), 0),
            _ => return Wait,
        };
        let header = format!("{header}{}", &self.held[..length]);
        self.take(length + skipped);
        let plain = header
            .replace("<|channel|>", " ")
            .replace("<|constrain|>", " ");
        let mut words = plain.split_whitespace();
        if let Some(tool) = words.clone().find_map(|word| word.strip_prefix("to=")) {
            self.state = State::Call(format!("{tool} "), MESSAGE_ENDS);
            return Next;
        }
        if words
            .clone()
            .any(|word| matches!(word, "analysis" | "commentary"))
        {
            self.state = State::Thought(MESSAGE_ENDS);
            return Next;
        }
        let is_final = words.clone().any(|word| word == "final");
        let own = is_final || matches!(words.next(), Some("assistant") | None);
        if is_final && !self.is_final {
            // Words without a header, or without the reader's channel.
            self.retract(pieces);
        }
        self.is_final |= is_final;
        if own && !self.said {
            self.speak();
        } else {
            self.state = State::Other;
        }
        Next
    }

    /// Skips another speaker's words. The model may speak again if it has not spoken.
    pub(super) fn other(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        let Some(at) = self.held.find(LEADS) else {
            self.held.clear();
            return Wait;
        };
        self.take(at);
        match marks::mark_at(&self.held, ended) {
            Found::Partial => return Wait,
            Found::Mark(Mark::Role, length) if !self.said => {
                self.take(length);
                self.state = State::Role;
            }
            Found::Mark(Mark::Assistant, length) if !self.said => {
                self.take(length);
                self.speak();
            }
            Found::Mark(Mark::Channel, length) => {
                self.take(length);
                self.state = State::Header(String::new());
            }
            Found::Mark(Mark::Close, length) => {
                return self.mark(Mark::Close, length, ended, pieces);
            }
            _ => {
                let lead = self.held.chars().next().map_or(0, char::len_utf8);
                self.take(lead);
            }
        }
        Next
    }
}

/// Returns the length of the channel's name at the beginning of an unfinished header.
fn channel_name(header: &str) -> usize {
    let names = ["analysis", "commentary", "final", "assistant"];
    let found = names.iter().find(|name| header.starts_with(**name));
    found.map_or(0, |name| name.len())
}
