//! A front desk in your own app: Slack events in, one tool of yours, redb underneath.

use std::{env::var, error::Error, sync::Arc};

use konstruct_channels::{Gateway, Slack, SlackWebhook, routes};
use konstruct_core::tool::{Effect, ToolContext, ToolError, function};
use konstruct_core::{ChannelKind, Employee, Secret, SystemClock, Workforce};
use konstruct_llm::Ollama;
use konstruct_memory::Redb;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Order {
    number: String,
}

async fn status(_: ToolContext, order: Order) -> Result<String, ToolError> {
    Ok(format!("{} was shipped", order.number))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let slack = Slack::builder(Secret::new(var("SLACK_BOT_TOKEN")?));
    let webhook = SlackWebhook::new(Secret::new(var("SLACK_SIGNING_SECRET")?))?;
    let ava = Employee::builder("Ava").role("front desk of Acme Bikes");
    let workforce = Workforce::builder(Redb::open("ava.redb")?)
        .model(Ollama::new("llama3.2").base_url(var("OLLAMA_HOST")?))
        .tool(function("status", "Finds an order.", Effect::Read, status))
        .channel(
            var("SLACK_TEAM_ID")?,
            slack.api_url(var("SLACK_API_URL")?).build()?,
        )
        .hire(ava.tool("status").build()?)
        .build()?;
    let (directory, store) = (workforce.directory(), workforce.store());
    let gateway = Gateway::new(directory, store, Arc::new(SystemClock));
    let routes = routes(Arc::new(gateway.with(ChannelKind::SLACK, webhook)));
    let listener = tokio::net::TcpListener::bind(var("LISTEN")?).await?;
    tokio::spawn(async { axum::serve(listener, routes).await });
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    workforce.run(stop).await;
    Ok(())
}
