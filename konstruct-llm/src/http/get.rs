//! Fetching a document.

use konstruct_core::{
    Error, Result,
    http::{Headers, Method},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Http, Refusal, answered, body, parsed};

/// A document to be fetched.
#[derive(Debug)]
pub(crate) struct Get {
    pub(crate) provider: &'static str,
    pub(crate) url: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Headers,
    pub(crate) refused: fn(&Refusal) -> Error,
}

impl Http {
    /// Fetches a document of at most so many bytes, within [`Timeouts::first_content`](super::Timeouts::first_content).
    ///
    /// # Errors
    /// As [`Http::stream`]; [`ErrorKind::Protocol`](konstruct_core::ErrorKind::Protocol) when it is too large or no such document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, get: Get, most: usize) -> Result<T> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let request = self.client.request(Method::GET, &get.url)?;
        let request = request.query(&get.query).headers(get.headers);
        let response = answered(request, deadline, get.refused).await?;
        parsed(get.provider, &body(response, deadline, most).await?)
    }
}
