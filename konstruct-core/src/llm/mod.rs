//! The `LlmBackend` trait: streaming first, object safe, one ending.

mod answer;
mod call;
mod event;
mod info;
mod media;
mod request;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use self::{
    answer::{Collector, ModelAnswer, collect},
    call::{CallContext, OnBreak, Purpose},
    event::{BlockKind, Finish, ModelEvent},
    info::{Ability, ModelInfo},
    media::Media,
    request::{
        CacheLifetime, Effort, ModelMessage, ModelRequest, OutputSchema, Part, Passage, Role,
        ToolCall, ToolChoice, ToolSpec,
    },
};
use crate::Result;

/// A language model, or a pool of them.
///
/// # Contract
/// * A stream yields exactly one [`ModelEvent::Finish`] or one error, and nothing after it. The end of the provider's bytes
///   without its own terminal event is [`ErrorKind::Truncated`](crate::ErrorKind::Truncated), never a finish.
/// * Blocks begin and end once, and a delta names a block that is open.
/// * [`ModelEvent::Usage`] holds the totals so far: the last one counts.
/// * Dropping the stream stops the request.
/// * What the request needs and the model cannot do is refused ([`ModelRequest::check`]), never left out unseen.
/// * The model is shown the request's context and passages: [`ModelRequest::told`].
/// * A backend of one attempt leaves [`CallContext::budget`] alone: its caller pays. One that makes several, a pool, pays for each.
#[async_trait]
pub trait LlmBackend: fmt::Debug + Send + Sync + 'static {
    /// Describes the model.
    fn describe(&self) -> &ModelInfo;

    /// Starts an answer.
    ///
    /// # Errors
    /// What the provider said before the stream began. Nothing was generated then.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the request; it may have cost money.
    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream>;
}

/// A stream of events, with one ending.
pub type ModelStream = BoxStream<'static, Result<ModelEvent>>;

/// Estimates the tokens of a text before a model has counted them: one for every four bytes, rounded up. Budgets of what is
/// shown are reckoned with it; money never is.
pub fn estimate_tokens(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX)
}

/// Conveniences for every [`LlmBackend`].
#[async_trait]
pub trait LlmBackendExt: LlmBackend {
    /// Returns the whole answer.
    ///
    /// # Errors
    /// Those of [`LlmBackend::stream`] and of the stream.
    async fn complete(&self, request: ModelRequest, call: &CallContext) -> Result<ModelAnswer> {
        collect(self.stream(request, call).await?).await
    }
}

impl<B: LlmBackend + ?Sized> LlmBackendExt for B {}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: LlmBackend + ?Sized> LlmBackend for Arc<B> {
    fn describe(&self) -> &ModelInfo {
        (**self).describe()
    }

    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        (**self).stream(request, call).await
    }
}
