//! The timeouts of calls to a provider.

use std::time::Duration;

/// The timeouts of calls to a provider. [`CallContext::timeout`](konstruct_core::llm::CallContext::timeout) limits the whole call.
///
/// ```
/// use std::time::Duration;
/// use konstruct_llm::Timeouts;
///
/// let timeouts = Timeouts::default().with_idle(Duration::from_secs(10));
/// assert_eq!(timeouts.idle, Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The limit for connecting: 5 seconds.
    pub connect: Duration,
    /// From the request to the first content; heartbeats do not extend it. 60 seconds, and 5 minutes for Ollama, which may have
    /// to load the model.
    pub first_content: Duration,
    /// The maximum gap between any bytes after that: 30 seconds.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_content: Duration::from_secs(60),
            idle: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// Sets the limit for connecting.
    #[must_use]
    pub fn with_connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Sets the limit for the first content.
    #[must_use]
    pub fn with_first_content(mut self, first_content: Duration) -> Self {
        self.first_content = first_content;
        self
    }

    /// Sets the maximum silence of a stream.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}
