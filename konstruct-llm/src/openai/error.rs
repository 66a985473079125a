//! What OpenAI's errors mean, and those of compatible servers: in a refusal, and in a stream.

use konstruct_core::{Error, ErrorKind, http::kind_of};

use super::wire::{ErrorBody, ErrorDocument};
use crate::http::{ProviderError, Refusal};

/// Makes an error of a refusal.
pub(super) fn refused(refusal: &Refusal) -> Error {
    // The body's type is not looked at: OpenAI's 401 is JSON under `text/plain`. vLLM puts no `error` around it.
    let error = serde_json::from_slice(&refusal.body)
        .map(|ErrorDocument { error }| error)
        .or_else(|_| serde_json::from_slice::<ErrorBody>(&refusal.body));
    let Ok(error) = error else {
        return refusal.error("openai", None, None);
    };
    let (mut typed, said) = read(&error);
    if typed == Some(ErrorKind::InvalidInput) {
        // Every refusal of OpenAI's is such a one by its type: the status says more.
        typed = None;
    }
    refusal.error("openai", typed, Some(said))
}

/// Makes an error of one that came in the stream, where there is no status to go by.
pub(super) fn in_stream(error: &ErrorBody) -> Error {
    let (kind, said) = read(error);
    let kind = kind.unwrap_or(ErrorKind::Unavailable);
    Error::new(kind, format!("openai broke off: {}", said.code)).with_source(said)
}

/// Says that a wire cannot take something, before anything is sent.
pub(super) fn unsupported(field: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{field}: openai cannot be sent {what}"),
    )
}

/// Reads a typed error: the kind that its code or type names, if it is a known one.
fn read(error: &ErrorBody) -> (Option<ErrorKind>, ProviderError) {
    let (code, kind, message) = match error {
        ErrorBody::Text(message) => return (None, ProviderError::new("", message)),
        ErrorBody::Object {
            message,
            r#type,
            code,
        } => (code, r#type.as_str(), message),
    };
    let number = code.as_u64().map(|code| code.to_string());
    let code = number.as_deref().or(code.as_str()).unwrap_or_default();
    let said = ProviderError::new(if code.is_empty() { kind } else { code }, message);
    let known = known(code).or_else(|| known(kind));
    (known.or_else(|| numbered(code)), said)
}

fn known(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "budget_exceeded" => ErrorKind::QuotaExhausted,
        "rate_limit_exceeded" | "rate_limit_error" => ErrorKind::RateLimited,
        // The last is what a LiteLLM without a database says to a key that it does not know.
        "invalid_api_key" | "authentication_error" | "no_db_connection" => ErrorKind::Unauthorized,
        "model_not_found" => ErrorKind::NotFound,
        "context_length_exceeded" | "exceed_context_size_error" => ErrorKind::TooLarge,
        "not_supported_error" => ErrorKind::Unsupported,
        "overloaded_error" | "server_is_overloaded" | "slow_down" => ErrorKind::Unavailable,
        // It failed at an unknown point, and tokens may have been billed.
        "server_error" => ErrorKind::Ambiguous,
        "invalid_request_error" | "invalid_prompt" | "bio_policy" | "invalid_encrypted_content" => {
            ErrorKind::InvalidInput
        }
        // A dozen of them, all about the image that was sent.
        _ if code.contains("image") => ErrorKind::InvalidInput,
        _ => return None,
    })
}

/// Reads a code that is the status which there would have been.
fn numbered(code: &str) -> Option<ErrorKind> {
    let status = code.parse::<u16>().ok()?;
    let kind = (400..600).contains(&status).then(|| kind_of(status))?;
    (kind != ErrorKind::Protocol).then_some(kind)
}
