//! A tool made of an async function and an argument struct.

use std::{fmt, future::Future, marker::PhantomData, time::Duration};

use async_trait::async_trait;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Effect, Tool, ToolContext, ToolError};
use crate::{Result, llm::ToolSpec};

/// Makes a tool of an async function. Its schema comes from the argument struct.
///
/// ```
/// use konstruct_core::tool::{Effect, Tool, ToolContext, ToolError, function};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct OrderStatus {
///     /// The order's number, such as `B-1042`.
///     order: String,
/// }
///
/// let tool = function("order_status", "Looks up an order.", Effect::Read, |_: ToolContext, args: OrderStatus| async move {
///     Ok::<_, ToolError>(format!("{} was shipped", args.order))
/// });
/// assert_eq!(tool.spec().parameters["properties"]["order"]["type"], "string");
/// ```
pub fn function<F, A, Fut, T>(
    name: impl Into<String>,
    description: impl Into<String>,
    effect: Effect,
    run: F,
) -> FunctionTool<F, A>
where
    F: Fn(ToolContext, A) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + JsonSchema + Send + 'static,
    Fut: Future<Output = Result<T, ToolError>> + Send,
    T: Serialize,
{
    let schema = SchemaSettings::draft2020_12()
        .with(|s| s.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<A>();
    FunctionTool {
        spec: ToolSpec {
            name: name.into(),
            description: description.into(),
            parameters: schema.to_value(),
        },
        effect,
        timeout: Duration::from_secs(30),
        run,
        arguments: PhantomData,
    }
}

/// A tool made by [`function`].
pub struct FunctionTool<F, A> {
    spec: ToolSpec,
    effect: Effect,
    timeout: Duration,
    run: F,
    arguments: PhantomData<fn() -> A>,
}

impl<F, A> FunctionTool<F, A> {
    /// Says how long a call may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<F, A> fmt::Debug for FunctionTool<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionTool")
            .field("name", &self.spec.name)
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<F, A, Fut, T> Tool for FunctionTool<F, A>
where
    F: Fn(ToolContext, A) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + JsonSchema + Send + 'static,
    Fut: Future<Output = Result<T, ToolError>> + Send,
    T: Serialize,
{
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn call(&self, call: &ToolContext, arguments: Value) -> Result<Value, ToolError> {
        let arguments = serde_json::from_value(arguments).map_err(|error| {
            ToolError::new(format!("the arguments do not fit the schema: {error}"))
        })?;
        let output = (self.run)(call.clone(), arguments).await?;
        serde_json::to_value(output)
            .map_err(|error| ToolError::internal("the tool's result could not be written", error))
    }
}
