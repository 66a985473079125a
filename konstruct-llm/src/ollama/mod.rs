//! Ollama's `/api/chat`: models on the local machine.

mod answer;
mod client;
mod embed;
mod local;
mod model;
mod request;
mod wire;

pub use self::{
    client::{Ollama, probe},
    embed::OllamaEmbedder,
    local::{LocalState, Pull, PullProgress},
};

/// Decodes a stream of Ollama's `/api/chat`.
pub type OllamaDecoder = crate::codec::Decoder<answer::Lines>;
