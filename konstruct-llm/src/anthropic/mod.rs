//! Anthropic's Messages API.

mod answer;
mod client;
mod model;
mod request;
mod wire;

pub use self::client::Anthropic;

/// Decodes a stream of Anthropic's Messages API.
pub type AnthropicDecoder = crate::codec::Decoder<answer::Messages>;
