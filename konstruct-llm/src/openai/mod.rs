//! OpenAI's Chat Completions, and the servers that are compatible with it.

mod client;
mod convert;
mod embed;
mod wire;

pub use self::{client::OpenAi, embed::OpenAiEmbedder};

/// Decodes a stream of OpenAI's Chat Completions.
pub type OpenAiDecoder = crate::codec::Decoder<convert::Chat>;
