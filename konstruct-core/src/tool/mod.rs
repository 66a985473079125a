//! Tools, which an employee can call to read data or to act.

mod registry;
mod typed;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    registry::{Toolbox, ToolboxBuilder},
    typed::{FunctionTool, function},
};
use crate::{
    ChannelKind, ConnectionId, ConversationId, ConversationRef, EmployeeId, PersonId, Result,
    TenantId, TurnId, llm::ToolSpec,
};

/// The effect of a tool on the outside world. It determines what happens to a call that was interrupted by a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The tool only reads. An interrupted call is repeated.
    Read,
    /// Repeating a call with the same idempotency key has no further effect. An interrupted call is repeated with that key.
    Idempotent,
    /// The call must not be repeated. After a crash, the model is told that the outcome is unknown.
    Once,
}

/// A tool that an employee can call.
///
/// # Contract
/// A call of an [`Effect::Idempotent`] tool may be repeated with the same key, and must then have no further effect. A call of an
/// [`Effect::Once`] tool is made at most once.
///
/// ```
/// use konstruct_core::tool::{Effect, Tool, ToolContext, ToolError, function};
/// # use konstruct_core::{ConversationId, TenantId, TurnId};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Order { number: String }
///
/// async fn status(call: ToolContext, order: Order) -> Result<String, ToolError> {
///     if order.number.is_empty() {
///         return Err(ToolError::new("ask for the order number"));
///     }
///     Ok(format!("{} was shipped", order.number))
/// }
///
/// let tool = function("status", "Finds an order.", Effect::Read, status);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let call = ToolContext::new(TenantId::new(), ConversationId::from_bytes([1; 16]), TurnId::new(), "key");
/// let result = tool.call(&call, serde_json::json!({ "number": "B-1042" })).await?;
/// assert_eq!(result, "B-1042 was shipped");
/// let refused = tool.call(&call, serde_json::json!({ "number": "" })).await.unwrap_err();
/// assert_eq!(refused.for_model(), "ask for the order number");
/// # Ok::<(), ToolError>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Tool: fmt::Debug + Send + Sync + 'static {
    /// Describes the tool to the model.
    fn spec(&self) -> &ToolSpec;

    /// Returns the tool's effect on the outside world.
    fn effect(&self) -> Effect;

    /// Returns the timeout of a call. After it, the outcome of an [`Effect::Once`] tool is unknown.
    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Runs the tool.
    ///
    /// # Errors
    /// A text for the model and one for the operator, see [`ToolError`].
    async fn call(&self, call: &ToolContext, arguments: Value) -> Result<Value, ToolError>;
}

/// The context of a tool call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ToolContext {
    /// The tenant.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The turn.
    pub turn: TurnId,
    /// The person whose message the turn answers; the last one if several persons wrote.
    pub person: Option<PersonId>,
    /// The kind of channel that the turn replies through.
    pub channel: Option<ChannelKind>,
    /// The tenant's connection to the channel.
    pub connection: Option<ConnectionId>,
    /// The place where the turn replies, as the channel identifies it.
    pub place: Option<ConversationRef>,
    /// The employee.
    pub employee: Option<EmployeeId>,
    /// A key that is the same for every repetition of this call, across retries and crashes, and different for every other call.
    pub idempotency_key: String,
}

impl ToolContext {
    /// Creates a context. Used by the engine and by tests of tools.
    pub fn new(
        tenant: TenantId,
        conversation: ConversationId,
        turn: TurnId,
        idempotency_key: impl Into<String>,
    ) -> Self {
        Self {
            tenant,
            conversation,
            turn,
            person: None,
            channel: None,
            connection: None,
            place: None,
            employee: None,
            idempotency_key: idempotency_key.into(),
        }
    }
}

/// A tool's error, with one text for the model and another for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{operator}")]
pub struct ToolError {
    model: String,
    operator: String,
}

impl ToolError {
    /// Creates an error whose text both the model and the operator see.
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            model: message.clone(),
            operator: message,
        }
    }

    /// Creates an error whose cause only the operator sees.
    pub fn internal(model: impl Into<String>, operator: impl fmt::Display) -> Self {
        Self {
            model: model.into(),
            operator: operator.to_string(),
        }
    }

    /// Returns the text for the model.
    pub fn for_model(&self) -> &str {
        &self.model
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Tool + ?Sized> Tool for Arc<T> {
    fn spec(&self) -> &ToolSpec {
        (**self).spec()
    }

    fn effect(&self) -> Effect {
        (**self).effect()
    }

    fn timeout(&self) -> Duration {
        (**self).timeout()
    }

    async fn call(&self, call: &ToolContext, arguments: Value) -> Result<Value, ToolError> {
        (**self).call(call, arguments).await
    }
}
