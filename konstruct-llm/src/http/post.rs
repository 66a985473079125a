//! A call whose answer is one document, or a stream that is no model's answer.

use konstruct_core::Result;
use reqwest::{Method, Response};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Http, Post, answered, body, parsed};

impl Http {
    /// Makes a call whose answer is one document, of at most so many bytes, within [`Timeouts::first_content`](super::Timeouts::first_content).
    ///
    /// # Errors
    /// As [`Http::stream`]; [`ErrorKind::Protocol`](konstruct_core::ErrorKind::Protocol) when the answer is too large or no such document.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        post: Post<'_, impl Serialize>,
        most: usize,
    ) -> Result<T> {
        let span = tracing::info_span!(
            "embeddings",
            gen_ai.operation.name = "embeddings",
            gen_ai.provider.name = post.provider,
            gen_ai.request.model = post.model,
        );
        self.exchange(post, most).instrument(span).await
    }

    /// The same of a call that is no embedding.
    ///
    /// # Errors
    /// As [`Http::document`].
    pub(crate) async fn exchange<T: DeserializeOwned>(
        &self,
        post: Post<'_, impl Serialize>,
        most: usize,
    ) -> Result<T> {
        let deadline = Instant::now() + self.timeouts.first_content;
        let provider = post.provider;
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
            .request(Method::POST, &post.url)?
            .headers(post.headers)
            .json(post.body);
        answered(request, deadline, post.refused).await
    }
}
