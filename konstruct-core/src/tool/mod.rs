//! Tools: what an employee can do besides talking.

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

/// What a tool does to the world: decides what happens to a call that a crash left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It only looks. It may run again.
    Read,
    /// Repeating it with the same idempotency key has the effect of doing it once. It is repeated with that key.
    Idempotent,
    /// It must not be repeated. After a crash the model is told that the outcome is unknown.
    Once,
}

/// Something that an employee can do.
///
/// # Contract
/// A call of an [`Effect::Idempotent`] tool may be repeated with the same key, and must then have no further effect; a call
/// of an [`Effect::Once`] tool is made at most once.
#[async_trait]
pub trait Tool: fmt::Debug + Send + Sync + 'static {
    /// Describes the tool to the model.
    fn spec(&self) -> &ToolSpec;

    /// Returns what it does to the world.
    fn effect(&self) -> Effect;

    /// Returns how long a call may take. After it an [`Effect::Once`] tool's outcome is unknown.
    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Runs it.
    ///
    /// # Errors
    /// What the model is told, and what the operator is told; see [`ToolError`].
    async fn call(&self, call: &ToolContext, arguments: Value) -> Result<Value, ToolError>;
}

/// For whom a tool is called, and the key of the call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ToolContext {
    /// The tenant.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The turn.
    pub turn: TurnId,
    /// The person whose message the turn answers: the last one, where several wrote.
    pub person: Option<PersonId>,
    /// The kind of channel that the turn speaks through.
    pub channel: Option<ChannelKind>,
    /// The connection of the tenant.
    pub connection: Option<ConnectionId>,
    /// Where the turn speaks, as the channel names it.
    pub place: Option<ConversationRef>,
    /// The employee.
    pub employee: Option<EmployeeId>,
    /// The same for every repetition of this call, across retries and crashes; different for every other call.
    pub idempotency_key: String,
}

impl ToolContext {
    /// Makes a context, as the engine does and as the tests of a tool do.
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

/// Why a tool failed: one text for the model, another for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{operator}")]
pub struct ToolError {
    model: String,
    operator: String,
}

impl ToolError {
    /// A failure that the model may know all about.
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            model: message.clone(),
            operator: message,
        }
    }

    /// A failure whose cause is for the operator alone.
    pub fn internal(model: impl Into<String>, operator: impl fmt::Display) -> Self {
        Self {
            model: model.into(),
            operator: operator.to_string(),
        }
    }

    /// Returns what the model is told.
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
