//! A tool that needs a person's approval: it asks, the conversation goes on, and once somebody approves, the app acts and the
//! employee tells the customer by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::StreamExt as _;
use konstruct_core::{
    ConversationId, Employee, ProactiveMessage, Workforce,
    tool::{Effect, ToolContext, ToolError, function},
    workforce::ActivityKind,
};
use konstruct_llm::{
    OpenAi,
    testkit::{FakeProvider, Reply},
};
use konstruct_memory::Redb;

#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
struct Refund {
    /// The order's number.
    order: String,
    /// The amount in cents.
    cents: u64,
}

/// The app's table of requests, by the key of the tool call. Yours is in a database. With many tenants, also keep
/// `ToolContext::tenant`, and send with `workforce.for_tenant(tenant)`.
#[derive(Clone, Default)]
struct Requests(Arc<Mutex<HashMap<String, (ConversationId, Refund)>>>);

impl Requests {
    /// Asks: a request that waits for a person. The engine repeats the call with the same key after a crash, so it is noted once.
    async fn request(self, call: ToolContext, refund: Refund) -> Result<String, ToolError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(call.idempotency_key)
            .or_insert((call.conversation, refund));
        Ok("A colleague has to approve it. Say so; the customer will be told the outcome.".into())
    }

    /// Acts: takes the request out, so that it is carried out once.
    fn approve(&self, key: &str) -> Option<(ConversationId, Refund)> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(key)
    }

    fn keys(&self) -> Vec<String> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.keys().cloned().collect()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A local server in the place of the provider: it calls the tool, then passes on what the tool returned.
    let provider = FakeProvider::default();
    provider.next(Reply::default().call("refund", r#"{"order":"B-1042","cents":2000}"#));
    provider.next(Reply::text(
        "I have asked a colleague to approve your refund.",
    ));
    let provider = provider.spawn().await?;

    let requests = Requests::default();
    let refund = function("refund", "Asks for a refund.", Effect::Idempotent, {
        let requests = requests.clone();
        move |call, refund| requests.clone().request(call, refund)
    });
    let model =
        OpenAi::new(konstruct_core::Secret::new("key"), "gpt-5-mini").base_url(provider.url());
    let workforce = Workforce::builder(Redb::in_memory()?)
        .model(model)
        .tool(refund)
        .hire(Employee::builder("Ava").tool("refund").build()?)
        .build()?;

    let answer = workforce
        .ask("customer-7", "Please refund order B-1042.")
        .await?;
    println!("Ava: {}", answer.text);

    // Hours later, somebody approves in the app's own screen. In a database, mark the request as approved, and delete it only after
    // `send` has returned: because of its id, a message that is sent again is sent once.
    for key in requests.keys() {
        for _ in 0..2 {
            let Some((conversation, refund)) = requests.approve(&key) else {
                continue;
            };
            let (dollars, cents) = (refund.cents / 100, refund.cents % 100);
            let told = format!("Refunded for {}: ${dollars}.{cents:02}.", refund.order);
            let message = ProactiveMessage::to_conversation(conversation, told)
                .with_id(format!("refund.{key}"));
            workforce.send(message).await?;
        }
    }
    workforce.run_until_idle().await?;

    // What the customer saw, as the app can follow it.
    let mut said = Vec::new();
    let mut activities = workforce.watch(0);
    while let Some(activity) = activities.next().await {
        match activity?.kind {
            ActivityKind::Message(message) => said.push(message.text),
            ActivityKind::Ended(_) if said.len() >= 3 => break,
            _ => {}
        }
    }
    println!("{}", said.join("\n"));
    assert_eq!(
        said.last().map(String::as_str),
        Some("Refunded for B-1042: $20.00.")
    );
    Ok(())
}
