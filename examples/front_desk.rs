//! Slack and WhatsApp in an axum app of your own, with one tool, on redb.
//!
//! Set `SLACK_TEAM_ID`, `SLACK_BOT_TOKEN`, `SLACK_SIGNING_SECRET`, `SLACK_API_URL` (`https://slack.com/api`), the four `WHATSAPP_`
//! variables of the README, `GRAPH_API_URL` (`https://graph.facebook.com`), `OLLAMA_HOST` and `LISTEN` (`0.0.0.0:8080`).

use std::env::var;

use konstruct_channels::{Gateway, Slack, SlackWebhook, WhatsApp, WhatsAppWebhook, routes};
use konstruct_core::tool::{Effect, ToolContext, ToolError, function};
use konstruct_core::{ChannelKind, Employee, Secret, Workforce};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Order {
    number: String,
}

async fn status(_: ToolContext, order: Order) -> Result<String, ToolError> {
    Ok(format!("{} was shipped", order.number))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = |name| var(name).map(Secret::new);
    let (team, number) = (var("SLACK_TEAM_ID")?, var("WHATSAPP_PHONE_NUMBER_ID")?);
    let slack = Slack::builder(secret("SLACK_BOT_TOKEN")?).api_url(var("SLACK_API_URL")?);
    let whatsapp = WhatsApp::builder(&number, secret("WHATSAPP_ACCESS_TOKEN")?);
    let ava = Employee::builder("Ava")
        .role("front desk of Acme Bikes")
        .tool("status");
    let workforce = Workforce::builder(konstruct_memory::Redb::open("ava.redb")?)
        .model(konstruct_llm::Ollama::new("llama3.2").base_url(var("OLLAMA_HOST")?))
        .tool(function("status", "Finds an order.", Effect::Read, status))
        .channel(team, slack.build()?)
        .channel(number, whatsapp.api_url(var("GRAPH_API_URL")?).build()?)
        .hire(ava.build()?)
        .build()?;
    let (app, verify) = (
        secret("WHATSAPP_APP_SECRET")?,
        secret("WHATSAPP_VERIFY_TOKEN")?,
    );
    let gateway = Gateway::of(&workforce)
        .with(
            ChannelKind::SLACK,
            SlackWebhook::new(secret("SLACK_SIGNING_SECRET")?)?,
        )
        .with(ChannelKind::WHATSAPP, WhatsAppWebhook::new(app, verify)?);
    let app = axum::Router::new().merge(routes(gateway.into()));
    let listener = tokio::net::TcpListener::bind(var("LISTEN")?).await?;
    tokio::spawn(async { axum::serve(listener, app).await });
    workforce
        .run(async { drop(tokio::signal::ctrl_c().await) })
        .await;
    Ok(())
}
