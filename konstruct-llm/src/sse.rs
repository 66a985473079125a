//! Server-sent events, sans IO: bytes in, events out, at any split of the bytes.
//!
//! Follows the "event stream interpretation" of the HTML standard: lines end in LF, CR or CRLF, one BOM may lead, `:` begins
//! a comment, one space after the colon is dropped, `data` lines are joined by LF, an event without `data` is none, and an
//! event that the end of the bytes cuts off is none either; [`Frame::rest`] tells of it. `id` and `retry` mean nothing to a
//! stream that is never resumed.

use konstruct_core::{Error, ErrorKind, Result};

use crate::codec::Frame;

/// The most bytes of one event. A provider's largest is a whole tool call or signature: far below.
const LIMIT: usize = 8 * 1024 * 1024;

/// Collects bytes into lines and lines into the data of events. Each byte is looked at once.
#[derive(Debug)]
pub struct SseFrames {
    line: Vec<u8>,
    data: Option<String>,
    after_cr: bool,
    first_line: bool,
    limit: usize,
}

impl Default for SseFrames {
    fn default() -> Self {
        Self {
            line: Vec::new(),
            data: None,
            after_cr: false,
            first_line: true,
            limit: LIMIT,
        }
    }
}

impl Frame for SseFrames {
    fn push(&mut self, mut bytes: &[u8], frames: &mut Vec<String>) -> Result<()> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n'));
            self.line
                .extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > self.limit {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("an event of the stream is larger than {} bytes", self.limit),
                ));
            }
            let Some(end) = end else { break };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            frames.extend(self.end_line());
        }
        Ok(())
    }

    fn rest(&mut self) -> Option<String> {
        if !self.line.is_empty() {
            let _blank = self.end_line();
        }
        self.data.take()
    }
}

impl SseFrames {
    /// Takes the line as complete; returns the event's data when the line is the blank one that ends an event.
    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            return self.data.take();
        }
        let colon = line.iter().position(|b| *b == b':');
        let (field, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[..0]),
        };
        if field == b"data" {
            let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
                none => *none = Some(value.into_owned()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(chunks: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let mut framer = SseFrames::default();
        let mut out = Vec::new();
        for chunk in chunks {
            framer.push(chunk, &mut out).unwrap();
        }
        (out, framer.rest())
    }

    #[test]
    fn the_standard() {
        let check = |input: &str, events: &[&str], rest: Option<&str>| {
            for at in 0..=input.len() {
                let (head, tail) = input.as_bytes().split_at(at);
                let (got, left) = frames(&[head, b"", tail]);
                assert_eq!(got, events, "{input:?} split at {at}");
                assert_eq!(left.as_deref(), rest, "{input:?} split at {at}");
            }
        };
        for end in ["\n", "\r", "\r\n"] {
            check(&format!("data: ok{end}{end}"), &["ok"], None);
            check(&format!("data: a{end}data:b{end}{end}"), &["a\nb"], None);
            check(&format!("data:  two{end}{end}"), &[" two"], None);
            check(&format!("data{end}{end}"), &[""], None);
            check(
                &format!("event: ping{end}{end}data: x{end}"),
                &[],
                Some("x"),
            );
        }
        check("\u{feff}data: bom\n\n", &["bom"], None);
        check(": OPENROUTER PROCESSING\n\ndata: x\n\n", &["x"], None);
        check("id: 1\nretry: 5\nnonsense\n{\"error\":1}\n\n", &[], None);
        check("data: \u{2028}\u{85}д\n\n", &["\u{2028}\u{85}д"], None);
        check("data: cut", &[], Some("cut"));
        check("event: data\ndata: [DONE]\n\n\n\n", &["[DONE]"], None);
    }

    #[test]
    fn an_event_too_large_is_refused_at_any_split() {
        let input = format!("data: {}\n\n", "x".repeat(100));
        for step in [1, 7, 1000] {
            let mut framer = SseFrames {
                limit: 64,
                ..SseFrames::default()
            };
            let refused = input
                .as_bytes()
                .chunks(step)
                .any(|chunk| framer.push(chunk, &mut Vec::new()).is_err());
            assert!(refused, "in steps of {step}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_at_any_split_give_the_same_events(
            input in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'd'), any::<u8>()], 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let (head, tail) = input.split_at(at.index(input.len() + 1));
            prop_assert_eq!(frames(&[&input]), frames(&[head, tail]));
        }
    }
}
