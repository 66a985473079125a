//! A call whose response is one document, or a stream of something else than model events.

use konstruct_core::{Result, http::Response};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{Http, Post, body, parsed, send_ok};

impl Http {
    /// Calls a provider and reads one document of at most `most` bytes, within
    /// [`Timeouts::first_content`](super::Timeouts::first_content).
    ///
    /// # Errors
    /// Those of [`Http::stream`]; [`ErrorKind::Protocol`](konstruct_core::ErrorKind::Protocol) if the response is too large or
    /// not the expected document.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        provider: &str,
        post: Post<'_, impl Serialize>,
        most: usize,
    ) -> Result<T> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let response = self.open(post).await?;
        parsed(provider, &body(response, deadline, most).await?)
    }

    /// Makes a call and returns the response with an unread body.
    ///
    /// # Errors
    /// Those of [`Http::stream`].
    pub(crate) async fn open(&self, post: Post<'_, impl Serialize>) -> Result<Response> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let request = self
            .client
            .post(&post.url)?
            .headers(post.headers)
            .json(post.body);
        send_ok(request, deadline, post.refused).await
    }
}
