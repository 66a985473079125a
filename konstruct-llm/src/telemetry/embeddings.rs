//! The span of an embedding request.

use konstruct_core::Error;
use tracing::{Span, field::Empty};

use super::observed::error_type;

/// Creates a span `embeddings MODEL`. It contains no text.
pub(crate) fn span(
    (provider, model): (&str, &str),
    server: Option<&str>,
    dimensions: usize,
) -> Span {
    let span = tracing::info_span!(
        "embeddings",
        otel.name = format_args!("embeddings {model}"),
        otel.kind = "client",
        gen_ai.operation.name = "embeddings",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.embeddings.dimension.count = dimensions,
        gen_ai.usage.input_tokens = Empty,
        server.address = Empty,
        server.port = Empty,
        error.type = Empty,
    );
    if let Some((host, port)) = server.and_then(|it| it.rsplit_once(':')) {
        span.record("server.address", host);
        span.record("server.port", port.parse::<u16>().ok());
    }
    span
}

/// Records the usage of a request, if known, or its error.
pub(crate) fn note(span: &Span, outcome: Result<Option<u64>, &Error>) {
    match outcome {
        Ok(tokens) => span.record("gen_ai.usage.input_tokens", tokens),
        Err(error) => span.record("error.type", error_type(error.kind())),
    };
}
