//! How long a provider may take.

use std::time::Duration;

/// How long a provider may take. The whole call is bounded by [`CallContext::timeout`](konstruct_core::llm::CallContext::timeout).
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
    /// To connect: 5 seconds.
    pub connect: Duration,
    /// From the request to the first content, which no heartbeat puts off: 60 seconds, and 5 minutes for Ollama, which may
    /// have to load the model.
    pub first_content: Duration,
    /// Between any bytes after that: 30 seconds.
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
    /// Says how long connecting may take.
    #[must_use]
    pub fn with_connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Says how long the first content may take.
    #[must_use]
    pub fn with_first_content(mut self, first_content: Duration) -> Self {
        self.first_content = first_content;
        self
    }

    /// Says how long a stream may be silent.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}
