//! The `LlmBackend` trait for language models: object safe, and streaming by default.

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
/// * A stream yields exactly one [`ModelEvent::Finish`] or one error, and nothing after it. If the provider's data ends without
///   the provider's own terminal event, the error is [`ErrorKind::Truncated`](crate::ErrorKind::Truncated).
/// * Each block starts and ends once, and a delta belongs to an open block.
/// * [`ModelEvent::Usage`] contains the totals so far; the last one counts.
/// * Dropping the stream cancels the request.
/// * A request that needs an ability the model does not have is refused ([`ModelRequest::check`]). Nothing is dropped silently.
/// * The model is shown the request's context and passages, see [`ModelRequest::told`].
/// * A backend that makes a single attempt ignores [`CallContext::budget`]; its caller pays. A backend that makes several, such
///   as a pool, pays for each.
///
/// ```
/// use konstruct_core::{
///     LlmBackend, Result, TenantId, async_trait, futures_util::{StreamExt as _, stream},
///     llm::{BlockKind, CallContext, Finish, LlmBackendExt as _, ModelEvent, ModelInfo, ModelRequest, ModelStream},
/// };
///
/// /// A model that always gives the same answer.
/// #[derive(Debug)]
/// struct Fixed(ModelInfo);
///
/// #[async_trait]
/// impl LlmBackend for Fixed {
///     fn describe(&self) -> &ModelInfo {
///         &self.0
///     }
///
///     async fn stream(&self, request: ModelRequest, _: &CallContext) -> Result<ModelStream> {
///         request.check(&self.0)?;
///         let events = [
///             ModelEvent::Start { id: "1".into(), model: self.0.model.clone() },
///             ModelEvent::BlockStart { index: 0, kind: BlockKind::Text },
///             ModelEvent::Text { index: 0, delta: "Hello.".into() },
///             ModelEvent::BlockEnd { index: 0 },
///             ModelEvent::Finish(Finish::Stop),
///         ];
///         Ok(stream::iter(events.map(Ok)).boxed())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let model = Fixed(ModelInfo::new("fixed", "one"));
/// let call = CallContext::new(TenantId::new(), "call-1", std::time::Duration::from_secs(30));
/// let answer = model.complete(ModelRequest::default(), &call).await?;
/// assert_eq!(answer.text(), "Hello.");
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait LlmBackend: fmt::Debug + Send + Sync + 'static {
    /// Describes the model.
    fn describe(&self) -> &ModelInfo;

    /// Starts an answer.
    ///
    /// # Errors
    /// The provider's error before the stream started. Nothing was generated then.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request, which may have cost money.
    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream>;
}

/// A stream of events that ends with a finish or an error.
pub type ModelStream = BoxStream<'static, Result<ModelEvent>>;

/// Estimates the number of tokens of a text: one for every four bytes, rounded up. Used to limit what a model is shown, never to
/// compute costs.
pub fn estimate_tokens(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX)
}

/// Convenience methods for every [`LlmBackend`].
#[async_trait]
pub trait LlmBackendExt: LlmBackend {
    /// Returns the complete answer.
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
