//! Questions passed on to the team: the `pass_on` tool, and the list that it fills.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use konstruct_core::{
    Clock as _, ConversationId, Result, SystemClock, TenantId, Timestamp, TurnId,
    llm::ToolSpec,
    tool::{Effect, Tool, ToolContext, ToolError, function},
};
use konstruct_memory::RowStore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ServerDirectory, encode};

const TABLE: &str = "passed_on";

/// A question that the employee could not answer and passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOn {
    /// Its key: that of the tool call, so that a repeated call adds no second entry.
    pub key: String,
    /// The conversation of the question.
    pub conversation: ConversationId,
    /// The turn that passed it on.
    pub turn: TurnId,
    /// The question.
    pub question: String,
    /// When it was passed on.
    pub at: Timestamp,
}

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    /// The person's question, in words that a colleague understands without the conversation.
    question: String,
}

impl ServerDirectory {
    /// Lists the questions passed on to a tenant's team, the oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn passed_on(&self, tenant: TenantId) -> Result<Vec<PassedOn>> {
        let mut all: Vec<PassedOn> = self.list(Some(tenant), TABLE).await?;
        all.sort_by_key(|question| question.at);
        Ok(all)
    }

    /// Removes a question from the list because it was handled. Returns whether it was listed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn close_passed_on(&self, tenant: TenantId, key: &str) -> Result<bool> {
        self.rows.delete_row(Some(tenant), TABLE, key).await
    }
}

/// The tool that passes a question on to the team.
pub(super) struct PassOn(Box<dyn Tool>);

impl PassOn {
    pub(super) fn new(store: Arc<dyn RowStore>) -> Self {
        let description = "Passes a question that you cannot answer on to the people of the business. Use it only when \
                           the person wants that.";
        Self(Box::new(function(
            "pass_on",
            description,
            Effect::Idempotent,
            move |call: ToolContext, arguments: Arguments| {
                let store = Arc::clone(&store);
                async move {
                    let failed =
                        |error| ToolError::internal("it could not be passed on just now", error);
                    let row = PassedOn {
                        key: call.idempotency_key.clone(),
                        conversation: call.conversation,
                        turn: call.turn,
                        question: arguments.question,
                        at: SystemClock.now(),
                    };
                    let bytes = encode(&row).map_err(failed)?;
                    store
                        .put_row(Some(call.tenant), TABLE, &call.idempotency_key, &bytes)
                        .await
                        .map_err(failed)?;
                    Ok("passed on to the team")
                }
            },
        )))
    }
}

impl fmt::Debug for PassOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassOn")
    }
}

#[async_trait]
impl Tool for PassOn {
    fn spec(&self) -> &ToolSpec {
        self.0.spec()
    }

    fn effect(&self) -> Effect {
        self.0.effect()
    }

    fn timeout(&self) -> Duration {
        self.0.timeout()
    }

    async fn call(&self, call: &ToolContext, arguments: Value) -> Result<Value, ToolError> {
        self.0.call(call, arguments).await
    }
}
