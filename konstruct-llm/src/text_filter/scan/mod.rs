//! Separates a model's words from its reasoning, its tool calls and the marks of its template, at any split of the text.

mod call;
mod speaker;

use konstruct_core::llm::ModelRequest;

use super::{
    calls::Call,
    marks::{self, CLOSES, Found, LEADS, Mark},
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
                let named = call::names_tool(&self.held);
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
