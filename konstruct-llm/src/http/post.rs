//! A call whose answer is one document, or a stream that is no model's answer.

use konstruct_core::{Result, http::Response};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{Http, Post, answered, body, parsed};

impl Http {
    /// Makes a call to a provider whose answer is one document, of at most so many bytes, within
    /// [`Timeouts::first_content`](super::Timeouts::first_content).
    ///
    /// # Errors
    /// As [`Http::stream`]; [`ErrorKind::Protocol`](konstruct_core::ErrorKind::Protocol) when the answer is too large or no such document.
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

    /// Makes a call and returns the response, of which nothing is read yet.
    ///
    /// # Errors
    /// As [`Http::stream`].
    pub(crate) async fn open(&self, post: Post<'_, impl Serialize>) -> Result<Response> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let request = self
            .client
            .post(&post.url)?
            .headers(post.headers)
            .json(post.body);
        answered(request, deadline, post.refused).await
    }
}
