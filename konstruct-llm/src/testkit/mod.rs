//! Fake providers: real local servers that speak the providers' wires, and misbehave on request.
//!
//! One [`FakeProvider`] speaks all wires, each at its own path:
//! `POST [/v1]/chat/completions`, `POST [/v1]/responses`, `POST /v1/messages`, `POST /api/chat`; and `GET [/v1]/models`, of OpenAI or
//! of Anthropic by the header `anthropic-version`, and `GET /api/tags`. Texts are embedded at
//! `POST [/v1]/embeddings` and `POST /api/embed`: each gets the [`vector`] that its letters decide.
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
