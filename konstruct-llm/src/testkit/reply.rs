//! What a fake provider answers, and how it goes wrong.

use std::time::Duration;

/// An answer: text, tool calls and usage, and perhaps a fault.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(super) text: String,
    pub(super) calls: Vec<(String, String)>,
    pub(super) fault: Option<Fault>,
    pub(super) delay: Duration,
    pub(super) usage: (u64, u64),
    pub(super) odd: bool,
}

impl Reply {
    /// Answers with a text. It is streamed word by word.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            usage: (10, 5),
            ..Self::default()
        }
    }

    /// Calls a tool, after the text and the calls before it.
    #[must_use]
    pub fn call(mut self, tool: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.calls.push((tool.into(), arguments.into()));
        self
    }

    /// Reports this many tokens in and out; 10 and 5 unless told otherwise.
    #[must_use]
    pub fn usage(mut self, input: u64, output: u64) -> Self {
        self.usage = (input, output);
        self
    }

    /// Is framed as oddly as the wire allows: CRLF and comments, no space after the colon, byte by byte, the last event unterminated.
    #[must_use]
    pub fn oddly_framed(mut self) -> Self {
        self.odd = true;
        self
    }

    /// Goes wrong.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Waits before the answer.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// How an answer goes wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// No stream, but a status, headers and a body.
    Status {
        /// The HTTP status.
        status: u16,
        /// Headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The request is read, and the connection breaks before anything is answered.
    Drop,
    /// The request is read, and nothing is ever answered.
    Silent,
    /// After so many frames the stream ends, in good order as far as HTTP goes.
    End(usize),
    /// After so many frames the connection breaks.
    Cut(usize),
    /// After so many frames nothing more comes.
    Stall(usize),
    /// After so many frames comes one that is not JSON.
    Malformed(usize),
    /// After so many frames comes the provider's own error event, an overload.
    Error(usize),
}

impl Fault {
    /// A status with a body.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Status {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Adds a header to a status; other faults have none.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }
}
