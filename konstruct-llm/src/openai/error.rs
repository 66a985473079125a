//! Classifies the errors of OpenAI and of compatible servers, in error responses and inside streams.

use konstruct_core::{Error, ErrorKind, http::kind_of};

use super::wire::{ErrorBody, ErrorDocument};
use crate::http::{ProviderError, Refusal};

/// Converts an error response.
pub(crate) fn refused(refusal: &Refusal) -> Error {
    // The content type is ignored: OpenAI's 401 is JSON declared as `text/plain`. vLLM sends the error without an enclosing
    // `error` object.
    let error = serde_json::from_slice(&refusal.body)
        .map(|ErrorDocument { error }| error)
        .or_else(|_| serde_json::from_slice::<ErrorBody>(&refusal.body));
    let Ok(error) = error else {
        return refusal.error("openai", None, None);
    };
    let (mut typed, said) = read(&error);
    if typed == Some(ErrorKind::InvalidInput) {
        // All of OpenAI's client errors have this type, so the status is more precise.
        typed = None;
    }
    refusal.error("openai", typed, Some(said))
}

/// Converts an error event inside a stream, which has no status code.
pub(super) fn in_stream(error: &ErrorBody) -> Error {
    let (kind, said) = read(error);
    let kind = kind.unwrap_or(ErrorKind::Unavailable);
    Error::new(kind, format!("openai aborted the stream: {}", said.code)).with_source(said)
}

/// Returns the error for a request that the API does not support; it is detected before anything is sent.
pub(super) fn unsupported(field: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{field}: openai does not support {field} {what}"),
    )
}

/// Parses a typed error and the kind of its code or type, if known.
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
    let error_kind = error_kind(code).or_else(|| error_kind(kind));
    (error_kind.or_else(|| numbered(code)), said)
}

fn error_kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "budget_exceeded" => ErrorKind::QuotaExhausted,
        "rate_limit_exceeded" | "rate_limit_error" => ErrorKind::RateLimited,
        // LiteLLM without a database returns the last one for an unknown key.
        "invalid_api_key" | "authentication_error" | "no_db_connection" => ErrorKind::Unauthorized,
        "model_not_found" => ErrorKind::NotFound,
        "context_length_exceeded" | "exceed_context_size_error" => ErrorKind::TooLarge,
        "not_supported_error" => ErrorKind::Unsupported,
        "overloaded_error" | "server_is_overloaded" | "slow_down" => ErrorKind::Unavailable,
        // The request failed at an unknown point; tokens may have been billed.
        "server_error" => ErrorKind::Ambiguous,
        "invalid_request_error" | "invalid_prompt" | "bio_policy" | "invalid_encrypted_content" => {
            ErrorKind::InvalidInput
        }
        // About a dozen codes, all about an image in the request.
        _ if code.contains("image") => ErrorKind::InvalidInput,
        _ => return None,
    })
}

/// Parses a code that is an HTTP status.
fn numbered(code: &str) -> Option<ErrorKind> {
    let status = code.parse::<u16>().ok()?;
    let kind = (400..600).contains(&status).then(|| kind_of(status))?;
    (kind != ErrorKind::Protocol).then_some(kind)
}
