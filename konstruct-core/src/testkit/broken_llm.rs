//! A backend with a deliberate defect, to test that the suite detects it.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, future, stream};

use crate::{
    LlmBackend, Result,
    llm::{Ability, CallContext, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream, Part},
};

/// The defect of a [`BrokenLlm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LlmFlaw {
    /// No defect: the wrapper itself is correct.
    Nothing,
    /// A stream finishes twice.
    FinishesTwice,
    /// A stream ends without a finish event.
    NeverFinishes,
    /// A broken stream finishes nevertheless.
    InventsTheEnd,
    /// A block does not end.
    LeavesBlocksOpen,
    /// A delta arrives before its block.
    StrayDelta,
    /// Unsupported parts of a request are dropped silently.
    DropsParts,
    /// The call's timeout is ignored.
    Hangs,
}

/// A backend with a defect.
#[derive(Clone, Debug)]
pub struct BrokenLlm {
    inner: Arc<dyn LlmBackend>,
    flaw: LlmFlaw,
    info: ModelInfo,
}

impl BrokenLlm {
    /// Wraps a backend with a defect.
    pub fn new(inner: Arc<dyn LlmBackend>, flaw: LlmFlaw) -> Self {
        let info = inner.describe().clone();
        Self { inner, flaw, info }
    }
}

#[async_trait]
impl LlmBackend for BrokenLlm {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, mut request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        if self.flaw == LlmFlaw::DropsParts {
            let can = |part: &Part| match part {
                Part::Image(_) => self.info.can.contains(&Ability::Images),
                Part::Audio(_) => self.info.can.contains(&Ability::Audio),
                _ => true,
            };
            for message in &mut request.messages {
                message.parts.retain(can);
            }
        }
        let inner = self.inner.stream(request, call).await?;
        let finish = || stream::iter([Ok(ModelEvent::Finish(Finish::Stop))]);
        Ok(match self.flaw {
            LlmFlaw::Nothing | LlmFlaw::DropsParts => inner,
            LlmFlaw::FinishesTwice => inner.chain(finish()).boxed(),
            LlmFlaw::NeverFinishes => {
                without(inner, |event| matches!(event, ModelEvent::Finish(_)))
            }
            LlmFlaw::LeavesBlocksOpen => {
                without(inner, |event| matches!(event, ModelEvent::BlockEnd { .. }))
            }
            LlmFlaw::StrayDelta => without(inner, |event| {
                matches!(event, ModelEvent::BlockStart { .. })
            }),
            LlmFlaw::InventsTheEnd => inner
                .take_while(|event| future::ready(event.is_ok()))
                .filter(|event| future::ready(!matches!(event, Ok(ModelEvent::Finish(_)))))
                .chain(finish())
                .boxed(),
            LlmFlaw::Hangs => stream::pending().boxed(),
        })
    }
}

fn without(inner: ModelStream, left_out: fn(&ModelEvent) -> bool) -> ModelStream {
    inner
        .filter(move |event| future::ready(!event.as_ref().is_ok_and(left_out)))
        .boxed()
}
