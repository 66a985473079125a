//! Newline-delimited JSON, sans IO: bytes in, lines out, at any split of the bytes.

use std::ops::ControlFlow;

use konstruct_core::{Error, ErrorKind, Result};
use memchr::memchr;

use crate::codec::Frame;

/// The maximum size of one line, in bytes: the limit of Ollama's own client.
const LIMIT: usize = 8 * 1024 * 1024;

/// Collects bytes into lines. Blank lines are skipped. Each byte is read once, and a line that arrives in one piece is not
/// copied.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line from an earlier piece.
    line: Vec<u8>,
}

impl Frame for Lines {
    fn push(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        while !bytes.is_empty() {
            let end = memchr(b'\n', bytes);
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + piece.len() > LIMIT {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("a line of the stream is larger than {LIMIT} bytes"),
                ));
            }
            let Some(end) = end else {
                self.line.extend_from_slice(piece);
                break;
            };
            bytes = &bytes[end + 1..];
            let stop = if self.line.is_empty() {
                show(piece, &mut each)
            } else {
                self.line.extend_from_slice(piece);
                let stop = show(&self.line, &mut each);
                self.line.clear();
                stop
            };
            if stop.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }
}

/// Passes a line to `each`, unless it is blank.
fn show(line: &[u8], each: &mut impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    let line = String::from_utf8_lossy(line);
    let line = line.trim();
    if line.is_empty() {
        return ControlFlow::Continue(());
    }
    each(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_at_every_split() {
        let input = "{\"a\":\"д\"}\r\n\n{}\n{\"cut\"".as_bytes();
        for at in 0..=input.len() {
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            for piece in [&input[..at], &input[at..]] {
                lines
                    .push(piece, |line| {
                        out.push(line.to_owned());
                        ControlFlow::Continue(())
                    })
                    .unwrap();
            }
            assert_eq!(out, ["{\"a\":\"д\"}", "{}"]);
            assert_eq!(lines.rest().as_deref(), Some("{\"cut\""));
        }
    }
}
