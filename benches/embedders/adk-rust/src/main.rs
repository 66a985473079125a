//! An agent with a tool and a session in RAM.

use std::{collections::HashMap, env, io};

use adk_rust::futures::TryStreamExt;
use adk_rust::prelude::*;
use adk_rust::session::{CreateRequest, SessionService};
use serde_json::{Value, json};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Order {
    number: String,
}

/// Finds an order.
#[adk_tool::tool]
async fn status(order: Order) -> Result<Value> {
    Ok(json!(format!("{} was shipped", order.number)))
}

#[tokio::main]
async fn main() -> AnyhowResult<()> {
    let config = OpenAIConfig::compatible(
        env::var("OPENAI_API_KEY")?,
        env::var("OPENAI_BASE_URL")?,
        "gpt-4.1-mini",
    );
    let agent = LlmAgentBuilder::new("ava")
        .model(Arc::new(OpenAIClient::new(config)?))
        .tool(Arc::new(Status))
        .build()?;
    let sessions = Arc::new(InMemorySessionService::new());
    let session = CreateRequest {
        app_name: "shop".into(),
        user_id: "you".into(),
        session_id: Some("chat".into()),
        state: HashMap::new(),
    };
    sessions.create(session).await?;
    let whole_answers = RunConfig::builder()
        .streaming_mode(adk_rust::StreamingMode::None)
        .build();
    let runner = Runner::builder()
        .app_name("shop")
        .agent(Arc::new(agent))
        .session_service(sessions)
        .run_config(whole_answers)
        .build()?;
    for question in ["Where is order B-1042?", "Which order did I ask about?"] {
        let question = Content::new("user").with_text(question);
        let mut events = runner.run_str("you", "chat", question).await?;
        while let Some(event) = events.try_next().await? {
            for part in event.content().into_iter().flat_map(|it| &it.parts) {
                print!("{}", part.text().unwrap_or_default());
            }
        }
        println!();
    }
    io::read_to_string(io::stdin())?;
    Ok(())
}
