//! The states in a tool call.

use super::{Next, Piece, Scanner, State, Step, Tools, Wait};
use crate::text_filter::{
    calls::{self, Call, Guess},
    marks::{self, Found, Mark},
};

/// JSON in the text that is longer than this is not a call, in bytes.
const LONGEST_CALL: usize = 64 * 1024;

impl Scanner {
    pub(super) fn call(
        &mut self,
        ends: &'static [&'static str],
        ended: bool,
        pieces: &mut Vec<Piece>,
    ) -> Step {
        let (found, _) = marks::find(&self.held, ends, ended);
        let (at, length) = match found {
            Some(found) => found,
            None if ended => (self.held.len(), 0),
            None => return Wait,
        };
        let body = self.take(at);
        self.take(length);
        if let State::Call(name, _) = std::mem::take(&mut self.state) {
            for call in calls::from_marked(&format!("{name}{body}")) {
                if self.is_good(&call) {
                    self.called = true;
                    pieces.push(Piece::Call(call));
                } else {
                    self.bad.push(call);
                }
            }
        }
        self.speak();
        Next
    }

    pub(super) fn json(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        let length = calls::json_length(&self.held);
        let may = calls::guess(&self.held) == Guess::Maybe && self.held.len() <= LONGEST_CALL;
        if length.is_none() && may && !ended {
            return Wait;
        }
        let length = length.unwrap_or(self.held.len());
        self.state = State::Text;
        match calls::from_json(&self.held[..length]).filter(|_| may) {
            Some(calls) => self.found(calls, length, pieces),
            // The rest is read as text, from the character after the bracket.
            None => self.emit(1, pieces),
        }
        Next
    }

    pub(super) fn fenced(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        let (info, body) = match self.held[3..].split_once('\n') {
            Some((info, body)) => (info.trim(), Some(body)),
            None => (&self.held[3..], None),
        };
        let languages = [
            "",
            "json",
            "tool_call",
            "tool_code",
            "tool_use",
            "tool_calls",
            "xml",
        ];
        let may = match body {
            None => languages.iter().any(|name| name.starts_with(info.trim())),
            Some(body) => {
                languages.contains(&info)
                    && (calls::guess(body) == Guess::Maybe || begins_call(body))
            }
        };
        let end = body.and_then(|body| body.find("\n```").map(|end| (&body[..end], end)));
        let start = self.held.len() - body.map_or(0, str::len);
        if end.is_none() && may && !ended && self.held.len() <= LONGEST_CALL {
            return Wait;
        }
        let (body, length) = match (end, body) {
            (Some((body, end)), _) => (body, start + end + 4),
            (None, body) => (body.unwrap_or_default(), self.held.len()),
        };
        let found = match marks::mark_at(body.trim_start(), true) {
            Found::Mark(Mark::Call(ends), length) => {
                let call = body.trim_start();
                let end = marks::find(call, ends, true)
                    .0
                    .map_or(call.len(), |(end, _)| end);
                let begin = if names_tool(call) { 0 } else { length };
                Some(calls::from_marked(&call[begin..end.max(begin)]))
            }
            _ => calls::from_json(body),
        };
        self.state = State::Text;
        match found.filter(|calls| may && !calls.is_empty()) {
            Some(calls) => self.found(calls, length, pieces),
            None => {
                self.fence = Some(('`', 3));
                self.emit(3, pieces);
            }
        }
        Next
    }

    /// Handles JSON that is a call, with its length.
    pub(super) fn found(&mut self, calls: Vec<Call>, length: usize, pieces: &mut Vec<Piece>) {
        if calls.iter().all(|call| self.is_good(call)) {
            self.take(length);
            self.called = true;
            self.skip = true;
            pieces.extend(calls.into_iter().map(Piece::Call));
        } else if self.said {
            self.emit(length, pieces);
        } else {
            let text = self.take(length);
            self.unknown.push_str(&text);
        }
    }

    pub(super) fn reads_calls(&self) -> bool {
        !matches!(self.tools, Tools::Ignored) && self.fence.is_none() && self.span.is_none()
    }

    pub(super) fn is_good(&self, call: &Call) -> bool {
        let named = match &self.tools {
            Tools::Any => true,
            Tools::Named(names) => names.contains(&call.name),
            Tools::Ignored => false,
        };
        named && calls::is_object(&call.arguments)
    }
}

/// Whether the mark of a call at the beginning of a text contains the tool's name.
pub(super) fn names_tool(text: &str) -> bool {
    text.starts_with("<function=") || text.starts_with("<invoke")
}

/// Whether a text begins with the mark of a call, or with a part of one.
fn begins_call(text: &str) -> bool {
    let found = marks::mark_at(text.trim_start(), false);
    matches!(found, Found::Partial | Found::Mark(Mark::Call(_), _))
}
