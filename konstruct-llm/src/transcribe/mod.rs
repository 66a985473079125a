//! Transcription: OpenAI's `/audio/transcriptions`, compatible servers, whisper.cpp's server, and several of them in order.

mod form;
mod openai;
mod pool;
mod whisper_cpp;

pub use self::{openai::OpenAiTranscriber, pool::TranscriberPool, whisper_cpp::WhisperCpp};
