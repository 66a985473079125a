//! Fetching a document.

use konstruct_core::{
    Error, Result,
    http::{Headers, Method},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Http, Refusal, body, parsed, send_ok};

/// A document to fetch.
#[derive(Debug)]
pub(crate) struct Get {
    pub(crate) provider: &'static str,
    pub(crate) url: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Headers,
    pub(crate) refused: fn(&Refusal) -> Error,
}

impl Http {
    /// Fetches a document of at most `most` bytes, within [`Timeouts::first_content`](super::Timeouts::first_content).
    ///
    /// # Errors
    /// Those of [`Http::stream`]; [`ErrorKind::Protocol`](konstruct_core::ErrorKind::Protocol) if it is too large or not the
    /// expected document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, get: Get, most: usize) -> Result<T> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let request = self.client.request(Method::GET, &get.url)?;
        let request = request.query(&get.query).headers(get.headers);
        let response = send_ok(request, deadline, get.refused).await?;
        parsed(get.provider, &body(response, deadline, most).await?)
    }
}
