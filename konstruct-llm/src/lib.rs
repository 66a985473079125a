//! LLM backends of Konstruct: OpenAI and compatible servers, Anthropic, Ollama, and an offline backend that quotes documents.
//!
//! Each implements [`LlmBackend`](konstruct_core::LlmBackend). Streaming is the primary interface, and a stream ends with exactly
//! one finish or one error. Backends deliberately do not retry; only the pool does.
//!
//! # Code map
//! * `openai/`, `anthropic/`, `ollama/` - `client` sends requests, `model` derives abilities from names, `wire` is the provider's
//!   JSON, `request` and `answer` convert between it and core's types. OpenAI has two APIs, `chat/` and `responses/`.
//! * `catalog` - the models that a provider offers.
//! * `embed` - truncation, batching and billing for embedders, which are in `openai/embed` and `ollama/embed`.
//! * `transcribe/` - transcribers for OpenAI's API and for whisper.cpp's server.
//! * `lenient` - what the decoders accept beyond the documentation, as a table.
//! * `text_filter/` - separates a model's words from reasoning, template marks and tool calls that a server leaves in the text.
//! * `codec`, `sse`, `ndjson` - sans-IO decoders: bytes in, events out, at any split.
//! * `http/` - timeouts, error responses, and decoding bytes into a stream, over [`konstruct_core::http`].
//! * `pool/` - many deployments behind one backend: routing, circuit breakers, retries, recovery, and the cost of each attempt.
//! * `price/` - a versioned table of model prices.
//! * `telemetry/` - spans and metrics with OpenTelemetry's names.
//! * `extract/` - offline answers that quote the business's own documents.
//! * `testkit/` - fake providers: real local servers that misbehave on request.
//!
//! # Example
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> konstruct_core::Result<()> {
//! # #[cfg(feature = "extract")] {
//! use std::time::Duration;
//! use konstruct_core::{TenantId, llm::{CallContext, LlmBackendExt, ModelMessage, ModelRequest, Passage, Role}};
//! use konstruct_llm::Extract;
//!
//! let passage = Passage {
//!     source: "FAQ › Opening hours".into(),
//!     title: "Opening hours".into(),
//!     text: "We are open Tuesday to Saturday, 10 to 18.".into(),
//!     confidence: 0.9,
//! };
//! let request = ModelRequest::new("", [ModelMessage::text(Role::User, "When are you open?")])
//!     .with(|request| {
//!         request.passages.push(passage);
//!         request.max_tokens = 500;
//!     });
//! let call = CallContext::new(TenantId::new(), "trn_1.m1", Duration::from_secs(30));
//! let answer = Extract::new().complete(request, &call).await?;
//! assert_eq!(
//!     answer.text(),
//!     "We are open Tuesday to Saturday, 10 to 18.\n\nSource: FAQ › Opening hours"
//! );
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! | feature | what | default |
//! |---|---|---|
//! | `openai` | Chat Completions, Responses, embeddings, transcription, compatible servers, and whisper.cpp's server | yes |
//! | `anthropic` | Messages | yes |
//! | `ollama` | chat, embeddings, a probe, and loading and pulling models | yes |
//! | `extract` | the offline backend | yes |
//! | `testkit` | fake provider servers | no |

#[cfg(feature = "anthropic")]
mod anthropic;
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
mod catalog;
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
mod codec;
#[cfg(any(feature = "openai", feature = "ollama"))]
mod embed;
#[cfg(feature = "extract")]
pub mod extract;
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
mod http;
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
mod lenient;
#[cfg(feature = "ollama")]
mod ndjson;
#[cfg(feature = "ollama")]
mod ollama;
#[cfg(feature = "openai")]
mod openai;
mod pool;
mod price;
#[cfg(any(feature = "openai", feature = "anthropic"))]
mod sse;
mod telemetry;
#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
mod text_filter;
#[cfg(feature = "openai")]
mod transcribe;

#[cfg(feature = "anthropic")]
pub use self::anthropic::{Anthropic, AnthropicDecoder};
#[cfg(feature = "extract")]
pub use self::extract::Extract;
#[cfg(feature = "ollama")]
pub use self::ollama::{
    LocalState, Ollama, OllamaDecoder, OllamaEmbedder, Pull, PullProgress, probe,
};
#[cfg(feature = "openai")]
pub use self::openai::{OpenAi, OpenAiDecoder, OpenAiEmbedder, OpenAiResponsesDecoder};
pub use self::pool::{BreakerPolicy, Deployment, EmbedderPool, Pool, PoolBuilder};
pub use self::price::PriceTable;
pub use self::telemetry::{CallMetrics, Observed};
#[cfg(feature = "openai")]
pub use self::transcribe::{OpenAiTranscriber, TranscriberPool, WhisperCpp};
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
pub use self::{catalog::Catalog, codec::Decoder, http::Timeouts};

#[cfg(all(doctest, feature = "anthropic", feature = "ollama"))]
#[doc = include_str!("../README.md")]
struct Readme;
