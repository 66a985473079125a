//! Spans and metrics of model calls, with the names of OpenTelemetry's conventions for generative AI.
//!
//! [`Observed`] creates a span for every call and records it in [`CallMetrics`]. A [`Pool`](crate::Pool) observes its deployments
//! automatically, and each attempt is a call. Each request of an embedder is a span, too.

mod content;
#[cfg(any(feature = "openai", feature = "ollama"))]
pub(crate) mod embeddings;
mod histogram;
mod metrics;
mod observed;

pub use self::{metrics::CallMetrics, observed::Observed};
