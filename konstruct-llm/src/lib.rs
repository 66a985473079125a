//! LLM backends of Konstruct: OpenAI and what is compatible with it, Anthropic, Ollama, and an offline backend that quotes.
//!
//! Each implements [`LlmBackend`](konstruct_core::LlmBackend): streaming first, and a stream ends in exactly one finish or
//! one error. What is absent on purpose: retries. The pool owns them, and nobody else.
//!
//! # Code map
//! * `openai/`, `anthropic/`, `ollama/` - `client` posts, `model` knows the models by name, `wire` is the provider's JSON, `request` and
//!   `answer` go between it and core's types. OpenAI has two wires, `chat/` and `responses/`.
//! * `catalog` - which models a provider has.
//! * `embed` - how texts are cut and batched for embedders; `openai/embed` and `ollama/embed` are these.
//! * `leak` - thoughts that a server leaves in the text.
//! * `codec`, `sse`, `ndjson` - sans-IO decoders: bytes in, events out, at any split.
//! * `http/` - timeouts, refusals, and bytes through a decoder into a stream, over [`konstruct_core::http`].
//! * `pool/` - many deployments behind one backend: routing, breakers, retries, recovery, and what each attempt costs.
//! * `price/` - what models cost: a versioned table.
//! * `telemetry/` - spans and metrics by OpenTelemetry's names.
//! * `extract/` - answers by quoting the business's own documents, offline.
//! * `testkit/` - fake providers as real local servers, which misbehave on request.
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
//! let request = ModelRequest {
//!     passages: vec![Passage {
//!         source: "FAQ › Opening hours".into(),
//!         title: "Opening hours".into(),
//!         text: "We are open Tuesday to Saturday, 10 to 18.".into(),
//!         confidence: 0.9,
//!     }],
//!     messages: vec![ModelMessage::text(Role::User, "When are you open?")],
//!     max_tokens: 500,
//!     ..ModelRequest::default()
//! };
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
//! | `openai` | Chat Completions, Responses, embeddings, and compatible servers | yes |
//! | `anthropic` | Messages | yes |
//! | `ollama` | chat, embeddings, a probe, and what is loaded and pulled | yes |
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
mod leak;
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
#[cfg(any(feature = "openai", feature = "anthropic", feature = "ollama"))]
pub use self::{catalog::Catalog, codec::Decoder, http::Timeouts};
