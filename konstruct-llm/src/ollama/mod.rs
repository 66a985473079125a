//! Ollama's `/api/chat`: models on the own machine.

mod client;
mod convert;
mod wire;

pub use self::client::{Ollama, probe};

/// Decodes a stream of Ollama's `/api/chat`.
pub type OllamaDecoder = crate::codec::Decoder<convert::Lines>;
