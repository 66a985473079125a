//! The replies of a fake provider, and their faults.

use std::time::Duration;

/// An answer: text, tool calls and usage, and optionally a fault.
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
    /// Answers with a text, streamed word by word.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            usage: (10, 5),
            ..Self::default()
        }
    }

    /// Adds a tool call after the text and earlier calls.
    #[must_use]
    pub fn call(mut self, tool: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.calls.push((tool.into(), arguments.into()));
        self
    }

    /// Sets the reported input and output tokens; the defaults are 10 and 5.
    #[must_use]
    pub fn usage(mut self, input: u64, output: u64) -> Self {
        self.usage = (input, output);
        self
    }

    /// Uses the strangest framing that the format allows: CRLF and comments, no space after the colon, byte by byte, the last
    /// event unterminated.
    #[must_use]
    pub fn oddly_framed(mut self) -> Self {
        self.odd = true;
        self
    }

    /// Adds a fault.
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

/// A fault of an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A status, headers and a body instead of a stream.
    Status {
        /// The HTTP status.
        status: u16,
        /// Headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The request is read, and the connection breaks before any response.
    Drop,
    /// The request is read, and no response is ever sent.
    Silent,
    /// After this many frames the stream ends, properly as far as HTTP is concerned.
    End(usize),
    /// After this many frames the connection breaks.
    Cut(usize),
    /// After this many frames nothing more is sent.
    Stall(usize),
    /// This many frames are followed by one that is not JSON.
    Malformed(usize),
    /// This many frames are followed by the provider's own error event, an overload.
    Error(usize),
}

impl Fault {
    /// Returns a status with a body.
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
