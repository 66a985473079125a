//! Anthropic's Messages.

mod client;
mod convert;
mod model;
mod wire;

pub use self::client::Anthropic;

/// Decodes a stream of Anthropic's Messages.
pub type AnthropicDecoder = crate::codec::Decoder<convert::Messages>;
