//! A backend that does one thing wrong, so that the suite can be seen to bite.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, future, stream};

use crate::{
    LlmBackend, Result,
    llm::{Ability, CallContext, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream, Part},
};

/// What is wrong with a [`BrokenLlm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LlmFlaw {
    /// Nothing: the wrapper itself is right.
    Nothing,
    /// It finishes twice.
    FinishesTwice,
    /// Its stream ends without a finish.
    NeverFinishes,
    /// What broke off finishes all the same.
    InventsTheEnd,
    /// A block does not end.
    LeavesBlocksOpen,
    /// A delta comes before its block.
    StrayDelta,
    /// It leaves out what it cannot show the model.
    DropsParts,
    /// It does not keep to the call's timeout.
    Hangs,
}

/// A backend with a flaw.
#[derive(Clone, Debug)]
pub struct BrokenLlm {
    inner: Arc<dyn LlmBackend>,
    flaw: LlmFlaw,
    info: ModelInfo,
}

impl BrokenLlm {
    /// Breaks a backend.
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
