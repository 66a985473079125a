//! Tools that do nothing but leave a trace.

use std::{future::pending, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Effected, World};
use crate::{
    Result,
    llm::ToolSpec,
    tool::{Effect, Tool, ToolContext, ToolError},
};

/// How a [`CountingTool`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolEnd {
    /// It returns the key of the call.
    Returns,
    /// It fails.
    Fails,
    /// It never returns.
    Hangs,
    /// It panics.
    Panics,
}

/// A tool that records each of its runs in a [`World`], by the key of the call.
#[derive(Clone, Debug)]
pub struct CountingTool {
    world: World,
    spec: ToolSpec,
    effect: Effect,
    end: ToolEnd,
}

impl CountingTool {
    /// Makes a tool of a name and an effect that returns.
    pub fn new(world: World, name: impl Into<String>, effect: Effect) -> Self {
        let spec = ToolSpec {
            name: name.into(),
            description: "Counts.".into(),
            parameters: json!({ "type": "object" }),
        };
        Self {
            world,
            spec,
            effect,
            end: ToolEnd::Returns,
        }
    }

    /// Says how it ends after it had its effect.
    #[must_use]
    pub fn ending(mut self, end: ToolEnd) -> Self {
        self.end = end;
        self
    }
}

#[async_trait]
impl Tool for CountingTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn call(&self, call: &ToolContext, _: Value) -> Result<Value, ToolError> {
        self.world.effect(Effected {
            tool: self.spec.name.clone(),
            effect: self.effect,
            key: call.idempotency_key.clone(),
        });
        match self.end {
            ToolEnd::Returns => Ok(Value::String(call.idempotency_key.clone())),
            ToolEnd::Fails => Err(ToolError::internal(
                "it failed",
                "the cause is the operator's",
            )),
            ToolEnd::Hangs => pending().await,
            ToolEnd::Panics => panic!("scripted"),
        }
    }
}
