//! The upload of a file, whose response is one document.

use std::time::Duration;

use konstruct_core::{Error, Result, http::Headers};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Http, Refusal, body, parsed, send_ok};

/// A file to upload.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) provider: &'a str,
    pub(crate) url: String,
    pub(crate) headers: Headers,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    pub(crate) refused: fn(&Refusal) -> Error,
}

impl Http {
    /// Uploads a file and reads one document of at most `most` bytes, within a time.
    ///
    /// # Errors
    /// Those of [`Http::document`].
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        upload: Upload<'_>,
        time: Duration,
        most: usize,
    ) -> Result<T> {
        let deadline = Instant::now() + time;
        let request = self
            .client
            .post(&upload.url)?
            .headers(upload.headers)
            .header("content-type", &upload.content_type)
            .body(upload.body);
        let response = send_ok(request, deadline, upload.refused).await?;
        parsed(upload.provider, &body(response, deadline, most).await?)
    }
}
