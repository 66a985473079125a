//! Newline-delimited JSON, sans IO: bytes in, lines out, at any split of the bytes.

use konstruct_core::{Error, ErrorKind, Result};

use crate::codec::Frame;

/// The most bytes of one line: what Ollama's own client takes.
const LIMIT: usize = 8 * 1024 * 1024;

/// Collects bytes into lines. Blank lines are skipped. Each byte is looked at once.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Frame for Lines {
    fn push(&mut self, bytes: &[u8], frames: &mut Vec<String>) -> Result<()> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > LIMIT {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("a line of the stream is larger than {LIMIT} bytes"),
                ));
            }
            if piece.ends_with(b"\n") {
                frames.extend(self.rest());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_at_every_split() {
        let input = "{\"a\":\"д\"}\r\n\n{}\n{\"cut\"".as_bytes();
        for at in 0..=input.len() {
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            lines.push(&input[..at], &mut out).unwrap();
            lines.push(&input[at..], &mut out).unwrap();
            assert_eq!(out, ["{\"a\":\"д\"}", "{}"]);
            assert_eq!(lines.rest().as_deref(), Some("{\"cut\""));
        }
    }
}
