//! Calls of Meta's Graph API, and the classification of its responses.

use std::time::Duration;

use konstruct_core::{
    ErrorKind, Result, Secret,
    http::{Client, Exchange, Method, Request, Url, join},
};
use serde::Serialize;
use serde_json::Value;

use crate::lenient_json::LenientJson as _;

/// The wait before another message to the same person, if Meta requests one without a duration.
const PAIR_WAIT: Duration = Duration::from_secs(6);

/// Calls the Graph API.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) client: Client,
    /// Includes the version.
    pub(super) base: Url,
    pub(super) token: Secret,
}

impl Graph {
    /// Posts JSON to a path.
    pub(super) async fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Value> {
        let request = self.client.post(join(&self.base, path))?;
        self.call(request.json(body)).await
    }

    /// Gets a node.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        let request = self.client.get(join(&self.base, path))?;
        self.call(request.query(query)).await
    }

    /// Deletes an edge.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<Value> {
        let url = join(&self.base, path);
        self.call(self.client.request(Method::DELETE, url)?).await
    }

    async fn call(&self, request: Request) -> Result<Value> {
        answer(request.bearer(&self.token).exchange().await?)
    }
}

/// Parses a response.
///
/// # Errors
/// The kind of Meta's error code. [`ErrorKind::Ambiguous`] if the code leaves the outcome open, or the response cannot be parsed.
fn answer(exchange: Exchange) -> Result<Value> {
    let json: Value = serde_json::from_slice(&exchange.body).unwrap_or_default();
    let code = json.at("error.code").as_i64();
    let error = match code {
        None if exchange.is_success() && json.is_object() => return Ok(json),
        None if exchange.is_success() => {
            exchange.error(ErrorKind::Ambiguous, "the response cannot be parsed")
        }
        None => exchange.status_error(),
        Some(code) => {
            let trace = json.text("error.fbtrace_id").unwrap_or_default();
            let message = format!("code {code}, trace \"{trace}\"");
            exchange.error(kind(code, &exchange), message)
        }
    };
    let pair = code == Some(131_056) && error.retry_after().is_none();
    Err(if pair {
        error.with_retry_after(PAIR_WAIT)
    } else {
        error
    })
}

/// Classifies an error code. Unlisted codes mean that Meta rejected the request.
fn kind(code: i64, exchange: &Exchange) -> ErrorKind {
    match code {
        4 | 17 | 32 | 613 | 80_007 | 130_429 | 131_048 | 131_056 => ErrorKind::RateLimited,
        131_016 | 131_057 | 133_004 => ErrorKind::Unavailable,
        // "Something went wrong": the code leaves open whether the request took effect.
        1 | 2 | 131_000 if exchange.is_server_error() => ErrorKind::Ambiguous,
        1 | 2 | 131_000 => ErrorKind::Unavailable,
        // These apply to every message of the account: its token, its permissions, a lock, an unregistered number.
        0 | 3 | 10 | 102 | 190 | 200..=299 | 368 | 463 | 467 | 131_005 | 131_031 | 133_010 => {
            ErrorKind::Unauthorized
        }
        // These apply to one recipient: the 24-hour window, an opt-out, a country.
        130_472 | 130_497 | 131_030 | 131_047 | 131_049 | 131_050 => ErrorKind::Forbidden,
        131_042 => ErrorKind::QuotaExhausted,
        33 | 803 | 131_026 | 132_001 => ErrorKind::NotFound,
        131_051 | 131_062 => ErrorKind::Unsupported,
        _ => ErrorKind::InvalidInput,
    }
}
