//! Fake providers: real local servers that implement the providers' APIs and misbehave on request.
//!
//! One [`FakeProvider`] implements all APIs, each at its own path: `POST [/v1]/chat/completions`, `POST [/v1]/responses`, `POST
//! /v1/messages`, `POST /api/chat`; and `GET [/v1]/models`, in OpenAI's or Anthropic's format depending on the header
//! `anthropic-version`, and `GET /api/tags`. `POST [/v1]/embeddings` and `POST /api/embed` embed texts: each text gets the
//! [`vector`] of its letters. `POST [/v1]/audio/transcriptions` and whisper.cpp's `POST /inference` transcribe: a recording consists of
//! the mark `OggS` and the spoken words, which the script is asked with, and its reply is the transcript.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use konstruct_llm::testkit::{Fault, FakeProvider, Reply};
//!
//! let fake = FakeProvider::new(|asked| Reply::text(format!("You said {asked}")));
//! fake.next(Reply::default().fault(Fault::status(500, "oops")));
//! let server = fake.spawn().await?;
//! println!("point a backend at {}", server.url());
//! # Ok(())
//! # }
//! ```

mod frames;
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
mod property;
mod reply;
mod responses;
mod script;
mod server;
mod speech;
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
mod tape;
mod vectors;

#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
pub use self::{property::decodes_alike, tape::Tape};
pub use self::{
    reply::{Fault, Reply},
    script::{Beat, Scripted, Trouble, begins, says},
    server::{FakeProvider, FakeServer, Recorded},
    vectors::vector,
};
