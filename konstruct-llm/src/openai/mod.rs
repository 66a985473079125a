//! OpenAI's Chat Completions and Responses, and compatible servers.

mod chat;
mod client;
mod embed;
mod error;
mod model;
mod responses;
mod wire;

pub use self::{client::OpenAi, embed::OpenAiEmbedder};
pub(crate) use self::{
    client::{OFFICIAL, authorization},
    error::refused,
};

/// Decodes a stream of OpenAI's Chat Completions.
pub type OpenAiDecoder = crate::codec::Decoder<chat::Chat>;

/// Decodes a stream of OpenAI's Responses.
pub type OpenAiResponsesDecoder = crate::codec::Decoder<responses::Responses>;
