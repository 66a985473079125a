//! Runs the tool calls of a turn.

use std::{ops::ControlFlow, panic::AssertUnwindSafe};

use futures_util::FutureExt as _;
use serde_json::Value;
use tracing::Instrument as _;

use super::{Performed, Run, Stop, count};
use crate::{
    Result,
    tool::{Effect, ToolContext, ToolError},
    turn::Event,
};

/// The most bytes of a tool's result that the model is shown.
const LARGEST_RESULT: usize = 32 * 1024;

impl Run<'_> {
    pub(super) async fn call_tool(
        &mut self,
        id: String,
        name: String,
        arguments: String,
        effect: Effect,
        key: String,
    ) -> Result<Performed> {
        if let Some(stop) = self.flush().await? {
            return Ok(ControlFlow::Break(stop));
        }
        let returned = |content: String, error: bool| Event::ToolReturned {
            id: id.clone(),
            content,
            error,
        };
        let Some(tool) = self
            .staff
            .tools
            .granted(&self.staff.employee.tools, &name)
            .cloned()
        else {
            return Ok(ControlFlow::Continue(returned(
                "There is no such tool any more.".into(),
                true,
            )));
        };
        let arguments: Value = match serde_json::from_str(&arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                return Ok(ControlFlow::Continue(returned(
                    format!("The arguments are not JSON: {error}"),
                    true,
                )));
            }
        };
        count(&self.driver.stats.tool_calls);
        let claim = self.lease.claim();
        let mut context =
            ToolContext::new(claim.tenant, claim.conversation, self.state.turn(), key);
        let started = self.state.started();
        context.person = self.state.requester();
        context.channel = Some(started.channel.kind.clone());
        context.connection = Some(started.connection);
        context.place = Some(started.conversation.clone());
        context.employee = Some(self.staff.employee.id);
        let span = tracing::info_span!("execute_tool", gen_ai.tool.name = name);
        let deadline = self.driver.clock.now() + tool.timeout();
        let call = async {
            let call = AssertUnwindSafe(tool.call(&context, arguments).instrument(span));
            match self.by(deadline, call.catch_unwind()).await? {
                Ok(result) => Some(result),
                // A tool that panics may have had its effect, like one that timed out.
                Err(_) if effect == Effect::Once => None,
                Err(_) => Some(Err(ToolError::internal(
                    "The tool failed.",
                    "the tool panicked",
                ))),
            }
        };
        let Some(result) = self.lease.keep_while(call).await else {
            return Ok(ControlFlow::Break(Stop::Lost));
        };
        Ok(ControlFlow::Continue(match result {
            Some(Ok(Value::String(text))) => returned(bounded(text), false),
            Some(Ok(value)) => returned(bounded(value.to_string()), false),
            Some(Err(error)) => {
                tracing::warn!(tool = name, %error, "the tool failed");
                returned(bounded(error.for_model().to_owned()), true)
            }
            None if effect == Effect::Once => Event::ToolLost { id },
            None => returned("The tool took too long.".into(), true),
        }))
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > LARGEST_RESULT {
        let end = (0..=LARGEST_RESULT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str("\n[cut: the result is longer than the model is shown]");
    }
    text
}
