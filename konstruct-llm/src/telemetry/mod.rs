//! Spans and metrics of model calls, by the names of OpenTelemetry's conventions for generative AI.
//!
//! [`Observed`] makes a span a call, and records it in [`CallMetrics`]. A [`Pool`](crate::Pool) observes its deployments by itself: each
//! attempt is a call. Each request of an embedder is a span, too.

mod content;
#[cfg(any(feature = "openai", feature = "ollama"))]
pub(crate) mod embeddings;
mod histogram;
mod metrics;
mod observed;

pub use self::{metrics::CallMetrics, observed::Observed};
