//! Server-sent events, sans IO: bytes in, events out, at any split of the bytes.
//!
//! Follows the "event stream interpretation" of the HTML standard: lines end in LF, CR or CRLF, one leading BOM is skipped, `:`
//! starts a comment, one space after the colon is dropped, and `data` lines are joined by LF. An event without `data` is skipped.
//! So is an event cut off by the end of the bytes, which [`Frame::rest`] returns. `id` and `retry` are ignored, because a stream
//! is never resumed.

use std::ops::ControlFlow;

use konstruct_core::{Error, ErrorKind, Result};
use memchr::{memchr, memchr2};

use crate::codec::Frame;

/// The maximum size of one event, in bytes. A provider's largest event is a whole tool call or signature, far below the limit.
const LIMIT: usize = 8 * 1024 * 1024;

/// Collects bytes into lines and lines into the data of events. Each byte is read once, and an event with one line that arrives
/// in one piece is not copied.
#[derive(Debug)]
pub struct SseFrames {
    /// The beginning of a line from an earlier piece.
    line: Vec<u8>,
    /// The event's data so far, if it has any.
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    first_line: bool,
    limit: usize,
}

impl Default for SseFrames {
    fn default() -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            first_line: true,
            limit: LIMIT,
        }
    }
}

impl Frame for SseFrames {
    fn push(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        // The only line of the event so far, borrowed from these bytes.
        let mut whole: Option<&[u8]> = None;
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = memchr2(b'\r', b'\n', bytes);
            let line = &bytes[..end.unwrap_or(bytes.len())];
            let held = self.data.len() + whole.map_or(0, <[u8]>::len);
            if self.line.len() + line.len() + held > self.limit {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("an event of the stream is larger than {} bytes", self.limit),
                ));
            }
            let Some(end) = end else {
                self.line.extend_from_slice(line);
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if !self.line.is_empty() {
                self.line.extend_from_slice(line);
                self.end_line();
                continue;
            }
            let line = self.without_bom(line);
            if line.is_empty() {
                if let Some(data) = whole.take() {
                    if each(&String::from_utf8_lossy(data)).is_break() {
                        break;
                    }
                } else if std::mem::take(&mut self.has_data) {
                    let stop = each(&String::from_utf8_lossy(&self.data)).is_break();
                    self.data.clear();
                    if stop {
                        break;
                    }
                }
            } else if let Some(value) = data(line) {
                self.add(whole.take());
                if self.has_data {
                    self.add(Some(value));
                } else {
                    whole = Some(value);
                }
            }
        }
        self.add(whole);
        Ok(())
    }

    fn rest(&mut self) -> Option<String> {
        if !self.line.is_empty() {
            self.end_line();
        }
        std::mem::take(&mut self.has_data)
            .then(|| String::from_utf8_lossy(&std::mem::take(&mut self.data)).into_owned())
    }
}

impl SseFrames {
    /// Completes the held line.
    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        let value = data(self.without_bom(&line));
        self.add(value);
        // The allocation is reused.
        line.clear();
        self.line = line;
    }

    /// Adds a line to the event's data.
    fn add(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn without_bom<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        if std::mem::take(&mut self.first_line) {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        } else {
            line
        }
    }
}

/// Returns the value of a `data` line.
fn data(line: &[u8]) -> Option<&[u8]> {
    let value = match memchr(b':', line) {
        Some(at) => (&line[..at] == b"data").then(|| &line[at + 1..])?,
        None => return (line == b"data").then_some(&line[..0]),
    };
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(chunks: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let mut framer = SseFrames::default();
        let mut out = Vec::new();
        for chunk in chunks {
            framer
                .push(chunk, |frame| {
                    out.push(frame.to_owned());
                    ControlFlow::Continue(())
                })
                .unwrap();
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
                .any(|chunk| framer.push(chunk, |_| ControlFlow::Continue(())).is_err());
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
