//! Tags of thoughts that leak into the text.

/// What begins a thought.
const OPEN: &str = "<think>";
/// What ends one.
const CLOSE: &str = "</think>";

/// A piece of the content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Thought(String),
}

/// Parts what a model thinks from what it says, where Ollama did not: a server that does not know the model's template passes
/// `<think>…</think>` through, and a model that was told not to think may still say `</think>` on a line of its own. A tag within a line
/// is text.
#[derive(Debug, Default)]
pub(super) struct Leak {
    state: State,
    /// What may still become a tag.
    held: String,
    /// Whether something stands on the line that is being written.
    amid_line: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but blanks so far.
    #[default]
    Begin,
    Thought,
    Text,
    /// A tag has ended a thought: blanks are skipped.
    Gap,
    /// No tag is looked for any more.
    Rest,
}

impl Leak {
    /// Takes content, and returns what is certain of it.
    pub(super) fn push(&mut self, content: &str) -> Vec<Piece> {
        self.held.push_str(content);
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// Returns what was held back, when nothing more comes.
    pub(super) fn end(&mut self) -> Option<Piece> {
        let held = std::mem::take(&mut self.held);
        match self.state {
            _ if held.is_empty() => None,
            State::Gap => None,
            State::Thought => Some(Piece::Thought(held)),
            _ => Some(Piece::Text(held)),
        }
    }

    /// Goes on by one step; returns whether there may be another.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match self.state {
            State::Begin => {
                let said = self.held.trim_start();
                if said.is_empty() || (said.len() < OPEN.len() && OPEN.starts_with(said)) {
                    return false;
                }
                let thought = said.strip_prefix(OPEN).map(str::to_owned);
                self.state = thought.as_ref().map_or(State::Text, |_| State::Thought);
                self.held = thought.unwrap_or_else(|| std::mem::take(&mut self.held));
                true
            }
            State::Thought => match self.held.find(CLOSE) {
                Some(at) => self.close(at, pieces, Piece::Thought),
                None => self.release(pieces, Piece::Thought),
            },
            State::Text => match self.stray() {
                Some(at) => self.close(at, pieces, Piece::Text),
                None => self.release(pieces, Piece::Text),
            },
            State::Gap => {
                self.held = self.held.trim_start().to_owned();
                if !self.held.is_empty() {
                    self.state = State::Rest;
                }
                self.state == State::Rest
            }
            State::Rest => {
                let held = std::mem::take(&mut self.held);
                pieces.extend((!held.is_empty()).then_some(Piece::Text(held)));
                false
            }
        }
    }

    /// Finds a closing tag at the beginning of a line.
    fn stray(&self) -> Option<usize> {
        let found = self.held.match_indices(CLOSE).map(|(at, _)| at);
        let mut at_line = found.filter(|at| {
            let line = self.held[..*at].rsplit('\n').next().unwrap_or_default();
            let first = !self.held[..*at].contains('\n');
            line.trim().is_empty() && !(first && self.amid_line)
        });
        at_line.next()
    }

    fn close(&mut self, at: usize, pieces: &mut Vec<Piece>, piece: fn(String) -> Piece) -> bool {
        let rest = self.held.split_off(at)[CLOSE.len()..].to_owned();
        let before = std::mem::replace(&mut self.held, rest);
        pieces.extend((!before.is_empty()).then(|| piece(before)));
        self.state = State::Gap;
        true
    }

    /// Lets go of all that cannot be the beginning of a closing tag.
    fn release(&mut self, pieces: &mut Vec<Piece>, piece: fn(String) -> Piece) -> bool {
        let keep = (1..CLOSE.len())
            .rev()
            .find(|length| self.held.ends_with(&CLOSE[..*length]))
            .unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - keep);
        let free = std::mem::replace(&mut self.held, kept);
        if let Some((_, line)) = free.rsplit_once('\n') {
            self.amid_line = !line.trim().is_empty();
        } else {
            self.amid_line |= !free.trim().is_empty();
        }
        pieces.extend((!free.is_empty()).then(|| piece(free)));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins what was said and what was thought.
    fn parted<'a>(contents: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let mut leak = Leak::default();
        let mut pieces: Vec<Piece> = Vec::new();
        for content in contents {
            pieces.extend(leak.push(content));
        }
        pieces.extend(leak.end());
        let (mut text, mut thought) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                Piece::Text(more) => text.push_str(&more),
                Piece::Thought(more) => thought.push_str(&more),
            }
        }
        (text, thought)
    }

    #[test]
    fn tags_are_parted_at_every_split() {
        let check = |content: &str, text: &str, thought: &str| {
            let expected = (text.to_owned(), thought.to_owned());
            for (at, _) in content.char_indices() {
                let (head, tail) = content.split_at(at);
                assert_eq!(parted([head, tail]), expected, "{content:?} at {at}");
            }
            let letters: Vec<String> = content.chars().map(String::from).collect();
            let letters = letters.iter().map(String::as_str);
            assert_eq!(parted(letters), expected, "{content:?} letter by letter");
        };
        check("Hello", "Hello", "");
        check("<think>\nHm.\n</think>\n\nHello", "Hello", "\nHm.\n");
        check(" \n<think></think>Hello", "Hello", "");
        check("<think>Hm", "", "Hm");
        check("</think>\n\nHello", "Hello", "");
        check("Hm.\n</think>\n\nHello", "Hm.\nHello", "");
        // What was told of the tag, and what only looks like it.
        check(
            "End it with </think> always",
            "End it with </think> always",
            "",
        );
        check("a < b\n</thin", "a < b\n</thin", "");
        check("<thinner>", "<thinner>", "");
        check("\n\n  Hello\n", "\n\n  Hello\n", "");
        check("</think>\nsay\n</think>\nthat", "say\n</think>\nthat", "");
    }
}
