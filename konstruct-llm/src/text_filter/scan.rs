//! Separates a model's words from its reasoning, its tool calls and the marks of its template, at any split of the text.

use konstruct_core::llm::ModelRequest;

use super::{
    calls::{self, Call, Guess},
    marks::{self, CLOSES, Found, LEADS, MESSAGE_ENDS, Mark},
};

/// A piece of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Thought(String),
    Call(Call),
    /// All text so far was reasoning.
    Retract,
}

/// The tools that a call in the text may name.
#[derive(Clone, Debug, Default)]
pub(crate) enum Tools {
    /// Any name.
    #[default]
    Any,
    Named(Vec<String>),
    /// The answer is JSON, so that nothing in it is a call.
    Ignored,
}

/// JSON in the text that is longer than this is not a call, in bytes.
const LONGEST_CALL: usize = 64 * 1024;
/// The longest header of a message on a channel, in bytes.
const LONGEST_HEADER: usize = 160;

impl Tools {
    /// Returns the tools of a request.
    pub(crate) fn of(request: &ModelRequest) -> Self {
        if request.output.is_some() {
            return Self::Ignored;
        }
        let names = request.tools.iter().map(|tool| tool.name.clone());
        Self::Named(names.collect())
    }
}

#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) tools: Tools,
    state: State,
    /// Text that cannot be classified yet.
    held: String,
    /// Whether blanks are skipped, because a mark precedes them.
    skip: bool,
    /// Whether words were emitted as text.
    said: bool,
    /// Whether those words were on the channel for the reader.
    is_final: bool,
    /// Whether a mark of reasoning was mentioned in the text.
    mentioned: bool,
    /// Whether a sentence or a line ended in the text.
    sentence: bool,
    line: Line,
    /// The number of backticks or tildes of the open code block.
    fence: Option<(char, usize)>,
    /// The number of backticks of the open code span.
    span: Option<usize>,
    /// The JSON of a call of an unknown tool. It is text only if the answer has other words.
    unknown: String,
    /// Calls that cannot be made, after a mark.
    bad: Vec<Call>,
    called: bool,
}

#[derive(Debug, Default)]
enum State {
    /// At the beginning of the answer.
    #[default]
    Begin,
    Text,
    Thought(&'static [&'static str]),
    /// In a call, with the text that precedes its arguments.
    Call(String, &'static [&'static str]),
    /// In a role's name.
    Role,
    /// In the header of a message.
    Header(String),
    /// In JSON that may be a call.
    Json,
    /// In a fenced block that may be a call.
    Fenced,
    /// In another speaker's words.
    Other,
}

/// The current line up to the current position.
#[derive(Debug, Default)]
struct Line {
    /// The last character that is not white space.
    last: Option<char>,
    /// Whether white space follows it.
    spaced: bool,
}

/// Whether a step made progress.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Next,
    /// More text is needed.
    Wait,
}
use Step::{Next, Wait};

impl Scanner {
    /// Accepts text and returns the pieces that are certain.
    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while !self.held.is_empty() && self.step(false, &mut pieces) == Next {}
        pieces
    }

    /// Ends the text and returns the pieces that were held back.
    pub(super) fn end(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        loop {
            let open = matches!(self.state, State::Call(..) | State::Header(_));
            if self.held.is_empty() && !open {
                break;
            }
            self.step(true, &mut pieces);
        }
        if self.said {
            self.release_unknown(&mut pieces);
        }
        self.unknown.clear();
        let bad = std::mem::take(&mut self.bad);
        if self.said || self.called {
            // The model is told what is wrong. Otherwise the answer is blank, and requested again.
            pieces.extend(bad.into_iter().map(Piece::Call));
        }
        pieces
    }

    fn step(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        match &mut self.state {
            State::Begin => self.begin(ended),
            State::Text => self.text(ended, pieces),
            State::Thought(ends) => {
                let ends = *ends;
                self.thought(ends, ended, pieces)
            }
            State::Call(_, ends) => {
                let ends = *ends;
                self.call(ends, ended, pieces)
            }
            State::Role => self.role(ended),
            State::Header(_) => self.header(ended, pieces),
            State::Json => self.json(ended, pieces),
            State::Fenced => self.fenced(ended, pieces),
            State::Other => self.other(ended, pieces),
        }
    }

    /// Servers that drop special tokens leave the names of the channels.
    fn begin(&mut self, ended: bool) -> Step {
        const NAME: &str = "analysis";
        let said = self.held.trim_start();
        if !ended && NAME.starts_with(said) {
            return Wait;
        }
        let bare = said.strip_prefix(NAME);
        let bare = bare.filter(|rest| rest.starts_with(|c: char| c.is_uppercase()));
        self.state = match bare {
            Some(rest) => {
                self.held = rest.to_owned();
                State::Thought(&["assistantfinal", "assistantcommentary"])
            }
            None => State::Text,
        };
        Next
    }

    fn thought(
        &mut self,
        ends: &'static [&'static str],
        ended: bool,
        pieces: &mut Vec<Piece>,
    ) -> Step {
        let (found, keep) = marks::find(&self.held, ends, ended);
        let Some((at, length)) = found else {
            let free = self.take(self.held.len() - keep);
            pieces.extend((!free.is_empty()).then_some(Piece::Thought(free)));
            return Wait;
        };
        let thought = self.take(at);
        pieces.extend((!thought.is_empty()).then_some(Piece::Thought(thought)));
        // On a channel, the end may be the beginning of the next header.
        let next = ["<|start|>", "<|channel|>"]
            .iter()
            .any(|mark| self.held.starts_with(mark));
        if !next {
            self.take(length);
        }
        self.speak();
        Next
    }

    /// Continues with text after a mark.
    fn speak(&mut self) {
        self.state = State::Text;
        self.skip = true;
        self.line = Line::default();
        (self.fence, self.span) = (None, None);
    }

    fn text(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        if self.skip {
            let blank = self.held.len() - self.held.trim_start().len();
            self.take(blank);
            if self.held.is_empty() {
                return Wait;
            }
        }
        let begins_json = |at: usize, c: char| {
            matches!(c, '{' | '[') && self.starts_line(&self.held[..at]) && self.reads_calls()
        };
        let mut places = self.held.char_indices();
        let place = places
            .find(|(at, c)| LEADS.contains(c) || matches!(c, '`' | '~') || begins_json(*at, *c));
        let Some((at, c)) = place else {
            self.emit(self.held.len(), pieces);
            return Wait;
        };
        // Blanks before the first mark are part of it.
        if !self.said && self.held[..at].trim().is_empty() {
            match marks::mark_at(&self.held[at..], ended) {
                Found::Partial => return Wait,
                Found::Mark(..) => drop(self.take(at)),
                Found::No => self.emit(at, pieces),
            }
        } else {
            self.emit(at, pieces);
        }
        if matches!(c, '`' | '~') {
            return self.ticks(c, ended, pieces);
        }
        if self.fence.is_none() && self.span.is_none() {
            match marks::mark_at(&self.held, ended) {
                Found::Partial => return Wait,
                Found::Mark(mark, length) => return self.mark(mark, length, ended, pieces),
                Found::No
                    if matches!(c, '{' | '[') && self.starts_line("") && self.reads_calls() =>
                {
                    self.state = State::Json;
                    return Next;
                }
                Found::No => {}
            }
        } else if let Found::Mark(Mark::Open | Mark::Close, _) = marks::mark_at(&self.held, ended)
            && self.span.is_some()
        {
            // A code span ends in the same line; otherwise the backtick was just a character.
            match self.held.find(['`', '\n']) {
                Some(at) if self.held[at..].starts_with('`') => {}
                None if !ended => return Wait,
                _ => {
                    self.span = None;
                    return Next;
                }
            }
        }
        self.emit(c.len_utf8(), pieces);
        Next
    }

    /// Handles backticks or tildes, which begin or end code.
    fn ticks(&mut self, c: char, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        let run = self.held.len() - self.held.trim_start_matches(c).len();
        if run == self.held.len() && !ended {
            return Wait;
        }
        let starts = self.starts_line("");
        match (self.fence, self.span) {
            (Some((open, count)), _) => {
                if starts && open == c && run >= count {
                    self.fence = None;
                }
            }
            (None, Some(count)) => {
                if c == '`' && run == count {
                    self.span = None;
                }
            }
            (None, None) if starts && run >= 3 => {
                if c == '`' && run == 3 && self.reads_calls() {
                    self.state = State::Fenced;
                    return Next;
                }
                self.fence = Some((c, run));
            }
            (None, None) if c == '`' => self.span = Some(run),
            (None, None) => {}
        }
        self.emit(run, pieces);
        Next
    }

    fn mark(&mut self, mark: Mark, length: usize, ended: bool, pieces: &mut Vec<Piece>) -> Step {
        if matches!(mark, Mark::Open | Mark::Close) {
            match self.is_mentioned(mark, &self.held[length..], ended) {
                None => return Wait,
                Some(true) => {
                    self.mentioned = true;
                    self.emit(length, pieces);
                    return Next;
                }
                Some(false) => {}
            }
        }
        if mark == Mark::LastEnd {
            match self.held[length..].trim().is_empty() {
                true if ended => self.held.clear(),
                true => return Wait,
                false => self.emit(length, pieces),
            }
            return Next;
        }
        match mark {
            Mark::Call(ends) if self.reads_calls() => {
                let named = names_tool(&self.held);
                let name = self.take(length);
                let name = if named { name } else { String::new() };
                self.state = State::Call(name, ends);
                return Next;
            }
            _ => {
                self.take(length);
            }
        }
        match mark {
            Mark::Open => self.state = State::Thought(CLOSES),
            Mark::Close => {
                self.retract(pieces);
                self.speak();
            }
            Mark::Role => self.state = State::Role,
            Mark::Channel => self.state = State::Header(String::new()),
            Mark::Other | Mark::End => {
                if self.said || mark == Mark::Other {
                    self.state = State::Other;
                } else {
                    self.speak();
                }
            }
            _ => self.skip |= !self.said,
        }
        Next
    }

    /// Returns whether a mark is only mentioned: between quotation marks, or in the middle of a sentence. `None` if the text after
    /// it is needed.
    fn is_mentioned(&self, mark: Mark, after: &str, ended: bool) -> Option<bool> {
        let Line { last, spaced } = self.line;
        let Some(last) = last else {
            return Some(false);
        };
        let next = after.chars().next();
        if next.is_none() && !ended {
            return None;
        }
        if !spaced && matches!(last, '"' | '\'' | '“' | '‘' | '«' | '(') {
            let closes = |c| matches!(c, '"' | '\'' | '”' | '’' | '»' | ')' | '…');
            return Some(next.is_some_and(closes));
        }
        // A text rarely mentions the end without the beginning, but reasoning often lacks the beginning.
        let known = mark == Mark::Open || self.mentioned || !self.sentence;
        if !(known && spaced && (last.is_alphanumeric() || last == ',')) {
            return Some(false);
        }
        match next {
            Some(' ') => match after.trim_start_matches(' ').chars().next() {
                None if !ended => None,
                word => Some(word.is_some_and(char::is_lowercase)),
            },
            Some(c) => Some(matches!(c, ',' | '.' | '?' | '!' | ';' | ':' | ')')),
            None => Some(false),
        }
    }

    /// Turns all text so far into reasoning.
    fn retract(&mut self, pieces: &mut Vec<Piece>) {
        if self.said {
            self.release_unknown(pieces);
            pieces.push(Piece::Retract);
        }
        self.unknown.clear();
        self.said = false;
    }

    fn call(
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

    /// Reads a role's name: `assistant` or `model` speaks here, any other does not.
    fn role(&mut self, ended: bool) -> Step {
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
    fn header(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
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

    fn json(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
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

    fn fenced(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
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
    fn found(&mut self, calls: Vec<Call>, length: usize, pieces: &mut Vec<Piece>) {
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

    /// Skips another speaker's words. The model may speak again if it has not spoken.
    fn other(&mut self, ended: bool, pieces: &mut Vec<Piece>) -> Step {
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

    fn reads_calls(&self) -> bool {
        !matches!(self.tools, Tools::Ignored) && self.fence.is_none() && self.span.is_none()
    }

    fn is_good(&self, call: &Call) -> bool {
        let named = match &self.tools {
            Tools::Any => true,
            Tools::Named(names) => names.contains(&call.name),
            Tools::Ignored => false,
        };
        named && calls::is_object(&call.arguments)
    }

    /// Whether a position after this text is at the beginning of its line.
    fn starts_line(&self, before: &str) -> bool {
        match before.rsplit_once('\n') {
            Some((_, line)) => line.trim().is_empty(),
            None => before.trim().is_empty() && self.line.last.is_none(),
        }
    }

    fn take(&mut self, length: usize) -> String {
        let rest = self.held.split_off(length);
        std::mem::replace(&mut self.held, rest)
    }

    /// Emits text from the beginning of what is held.
    fn emit(&mut self, length: usize, pieces: &mut Vec<Piece>) {
        let text = self.take(length);
        if text.is_empty() {
            return;
        }
        self.skip = false;
        for c in text.chars() {
            self.sentence |= self.line.last.is_some() && matches!(c, '.' | '!' | '?' | '。' | '\n');
            if c == '\n' {
                self.line = Line::default();
                self.span = None;
            } else if c.is_whitespace() {
                self.line.spaced = true;
            } else {
                self.line = Line {
                    last: Some(c),
                    spaced: false,
                };
            }
        }
        if !text.trim().is_empty() {
            self.release_unknown(pieces);
            self.said = true;
        }
        pieces.push(Piece::Text(text));
    }

    fn release_unknown(&mut self, pieces: &mut Vec<Piece>) {
        let unknown = std::mem::take(&mut self.unknown);
        pieces.extend((!unknown.is_empty()).then_some(Piece::Text(unknown)));
    }
}

/// Whether the mark of a call at the beginning of a text contains the tool's name.
fn names_tool(text: &str) -> bool {
    text.starts_with("<function=") || text.starts_with("<invoke")
}

/// Whether a text begins with the mark of a call, or with a part of one.
fn begins_call(text: &str) -> bool {
    let found = marks::mark_at(text.trim_start(), false);
    matches!(found, Found::Partial | Found::Mark(Mark::Call(_), _))
}

/// Returns the length of the channel's name at the beginning of an unfinished header.
fn channel_name(header: &str) -> usize {
    let names = ["analysis", "commentary", "final", "assistant"];
    let found = names.iter().find(|name| header.starts_with(**name));
    found.map_or(0, |name| name.len())
}
