//! Separates thinking tags that tags into the text.

/// Opening tags.
const OPEN: [&str; 4] = ["<think>", "<thinking>", "<thought>", "<reasoning>"];
/// Closing tags, in the order of the opening tags.
const CLOSE: [&str; 4] = ["</think>", "</thinking>", "</thought>", "</reasoning>"];

/// A piece of the content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Thought(String),
}

/// Separates a model's thoughts from its answer where the server did not. A server that does not know the model's template passes
/// `<think>…</think>` through, and a model with thinking disabled may still write `</think>` on a line of its own. A tag inside a
/// line is text. An unterminated thought is a thought.
#[derive(Debug, Default)]
pub(crate) struct ThinkTags {
    state: State,
    /// Content that may still become a tag.
    held: String,
    /// Whether the current line already has non-blank characters.
    mid_line: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Only blanks so far.
    #[default]
    Begin,
    /// In a thought, until this tag.
    Thought(&'static str),
    Text,
    /// After a closing tag; blanks are skipped.
    AfterTag,
    /// No more tags are searched.
    Done,
}

impl ThinkTags {
    /// Accepts content and returns the part that is certain.
    pub(crate) fn push(&mut self, content: &str) -> Vec<Piece> {
        self.held.push_str(content);
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// Ends the content and returns the part that was held back.
    pub(crate) fn end(&mut self) -> Option<Piece> {
        let held = std::mem::take(&mut self.held);
        match self.state {
            _ if held.is_empty() => None,
            State::AfterTag => None,
            State::Thought(_) => Some(Piece::Thought(held)),
            _ => Some(Piece::Text(held)),
        }
    }

    /// Performs one step and returns whether another may follow.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match self.state {
            State::Begin => {
                let said = self.held.trim_start();
                let partial = |open: &&str| open.starts_with(said) && *open != said;
                if OPEN.iter().any(partial) {
                    return false;
                }
                let mut tags = OPEN.into_iter().zip(CLOSE);
                let thought =
                    tags.find_map(|(open, close)| Some((said.strip_prefix(open)?, close)));
                match thought {
                    Some((thought, close)) => {
                        self.state = State::Thought(close);
                        self.held = thought.to_owned();
                    }
                    None => self.state = State::Text,
                }
                true
            }
            State::Thought(close) => match self.held.find(close) {
                Some(at) => self.close(at, close, pieces, Piece::Thought),
                None => self.release(&[close], pieces, Piece::Thought),
            },
            State::Text => match self.stray() {
                Some((at, close)) => self.close(at, close, pieces, Piece::Text),
                None => self.release(&CLOSE, pieces, Piece::Text),
            },
            State::AfterTag => {
                self.held = self.held.trim_start().to_owned();
                if !self.held.is_empty() {
                    self.state = State::Done;
                }
                self.state == State::Done
            }
            State::Done => {
                let held = std::mem::take(&mut self.held);
                pieces.extend((!held.is_empty()).then_some(Piece::Text(held)));
                false
            }
        }
    }

    /// Finds the first closing tag at the beginning of a line.
    fn stray(&self) -> Option<(usize, &'static str)> {
        if !self.held.contains('<') {
            return None;
        }
        let found = CLOSE.into_iter().flat_map(|close| {
            let found = self.held.match_indices(close);
            found.map(move |(at, _)| (at, close))
        });
        let at_line = found.filter(|(at, _)| {
            let line = self.held[..*at].rsplit('\n').next().unwrap_or_default();
            let first = !self.held[..*at].contains('\n');
            line.trim().is_empty() && !(first && self.mid_line)
        });
        at_line.min()
    }

    fn close(
        &mut self,
        at: usize,
        close: &str,
        pieces: &mut Vec<Piece>,
        piece: fn(String) -> Piece,
    ) -> bool {
        let rest = self.held.split_off(at)[close.len()..].to_owned();
        let before = std::mem::replace(&mut self.held, rest);
        pieces.extend((!before.is_empty()).then(|| piece(before)));
        self.state = State::AfterTag;
        true
    }

    /// Emits everything that cannot be the beginning of a closing tag.
    fn release(
        &mut self,
        closes: &[&str],
        pieces: &mut Vec<Piece>,
        piece: fn(String) -> Piece,
    ) -> bool {
        let kept = closes.iter().filter_map(|close| {
            let mut lengths = (1..close.len()).rev();
            lengths.find(|length| self.held.ends_with(&close[..*length]))
        });
        let keep = kept.max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - keep);
        let free = std::mem::replace(&mut self.held, kept);
        if let Some((_, line)) = free.rsplit_once('\n') {
            self.mid_line = !line.trim().is_empty();
        } else {
            self.mid_line |= !free.trim().is_empty();
        }
        pieces.extend((!free.is_empty()).then(|| piece(free)));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins the text and the thoughts.
    fn parted<'a>(contents: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let mut tags = ThinkTags::default();
        let mut pieces: Vec<Piece> = Vec::new();
        for content in contents {
            pieces.extend(tags.push(content));
        }
        pieces.extend(tags.end());
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
    fn tags_are_recognised_at_every_split() {
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
        check(
            "<thinking>a </think> b</thinking>\nHello",
            "Hello",
            "a </think> b",
        );
        check("<reasoning>Hm.</reasoning> Hello", "Hello", "Hm.");
        check("<thought>Hm.</thought>Hello", "Hello", "Hm.");
        check("Hm.\n</thinking>\nHello", "Hm.\nHello", "");
        check("<th", "<th", "");
        // Mentions of the tag, and similar strings.
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
