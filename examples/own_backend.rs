//! A language model of your own: one method that returns a stream, and the suite that says whether it keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    LlmBackend, Result,
    llm::{BlockKind, CallContext, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream, Part},
    money::{Price, Usage},
    testkit::{LlmSubject, llm_suite},
};

/// Echoes the last message.
#[derive(Debug)]
struct Parrot(ModelInfo);

#[async_trait]
impl LlmBackend for Parrot {
    fn describe(&self) -> &ModelInfo {
        &self.0
    }

    async fn stream(&self, request: ModelRequest, _: &CallContext) -> Result<ModelStream> {
        // Unsupported requests are refused, not silently reduced.
        request.check(&self.0)?;
        let parts = request
            .messages
            .iter()
            .rev()
            .flat_map(|message| &message.parts);
        let mut texts = parts.filter_map(|part| match part {
            Part::Text { text } => Some(text.clone()),
            _ => None,
        });
        let start = ModelEvent::Start {
            id: "1".into(),
            model: self.0.model.clone(),
        };
        let kind = BlockKind::Text;
        let delta = texts.next().unwrap_or_default();
        let events = [
            start,
            ModelEvent::BlockStart { index: 0, kind },
            ModelEvent::Text { index: 0, delta },
            ModelEvent::BlockEnd { index: 0 },
            ModelEvent::Usage(Usage::default()),
            ModelEvent::Finish(Finish::Stop),
        ];
        Ok(stream::iter(events.map(Ok)).boxed())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // It calls no tools, and it is free.
    let info = ModelInfo::new("parrot", "grey").with_abilities([]);
    let parrot = Arc::new(Parrot(info.with_price(Price::default())));
    llm_suite(async || LlmSubject::new(parrot.clone())).await;
}
