//! A language model of your own: one method that returns a stream, and the engine does the rest.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    BlockKind, CallContext, Finish, LlmBackend, LlmBackendExt as _, ModelEvent, ModelInfo,
    ModelMessage, ModelRequest, ModelStream, Part, Price, Result, Role, TenantId, Usage,
};

/// Says back what it hears.
#[derive(Debug)]
struct Parrot(ModelInfo);

#[async_trait]
impl LlmBackend for Parrot {
    fn describe(&self) -> &ModelInfo {
        &self.0
    }

    async fn stream(&self, request: ModelRequest, _: &CallContext) -> Result<ModelStream> {
        let heard = request
            .messages
            .iter()
            .rev()
            .flat_map(|message| &message.parts)
            .find_map(|part| match part {
                Part::Text { text } => Some(text.clone()),
                _ => None,
            });
        let events = vec![
            ModelEvent::Start {
                id: "1".into(),
                model: self.0.model.clone(),
            },
            ModelEvent::BlockStart {
                index: 0,
                kind: BlockKind::Text,
            },
            ModelEvent::Text {
                index: 0,
                delta: heard.unwrap_or_default(),
            },
            ModelEvent::BlockEnd { index: 0 },
            ModelEvent::Usage(Usage::default()),
            ModelEvent::Finish(Finish::Stop),
        ];
        Ok(stream::iter(events.into_iter().map(Ok)).boxed())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let parrot = Parrot(ModelInfo::new("parrot", "grey").with_price(Price::default()));
    let request = ModelRequest {
        messages: vec![ModelMessage::text(Role::User, "Hello!")],
        ..Default::default()
    };
    let call = CallContext::new(TenantId::new(), "trn_1.m1", std::time::Duration::from_secs(5));
    let answer = parrot.complete(request, &call).await?;
    println!("{}", answer.text());
    assert_eq!(answer.text(), "Hello!");
    Ok(())
}
