//! From a request to the wire's, and from the wire's answer to events.

mod answer;
mod request;

pub(super) use self::answer::Messages;
pub(super) use self::request::request;

/// What marks a signature as the data of a `redacted_thinking` block, which must go back as it came.
const REDACTED: &str = "redacted:";
