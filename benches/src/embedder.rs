//! A program that embeds Konstruct on PostgreSQL, built from the published parts: the gateway's routes and a workforce
//! that learns, with a directory of many tenants with a WhatsApp number each. It is configured by the same variables as the server.

use std::{env, sync::Arc};

use konstruct_channels::{Gateway, WhatsApp, WhatsAppWebhook, routes};
use konstruct_core::{ChannelKind, Employee, LocalDirectory, Secret, TenantId, Workforce};
use konstruct_llm::{Deployment, OpenAi, Pool};
use konstruct_memory::{KeyRing, Postgres, StaticEmbedder};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::Failed;

/// Returns the phone number id of a tenant.
pub fn number(nth: usize) -> String {
    format!("10654035{nth:07}")
}

/// Serves this many tenants until SIGTERM, with this many connections to the database.
///
/// # Errors
/// A variable is missing or invalid; errors of the database.
pub async fn serve(tenants: usize, connections: u32) -> Result<(), Failed> {
    let mut terminated = signal(SignalKind::terminate())?;
    let store = Postgres::builder(Secret::new(variable("DATABASE_URL")?))
        .key_ring(KeyRing::parse(&variable("KONSTRUCT_MASTER_KEY")?)?)
        .embedder(Arc::new(StaticEmbedder::new()))
        .connections(connections)
        .connect()
        .await?;
    let workforce = Workforce::builder(store)
        .directory(shops(tenants)?)
        .learn_every(8)
        .concurrency(variable("KONSTRUCT_CONCURRENCY")?.parse()?)
        .build()?;

    let secret = |name| variable(name).map(Secret::new);
    let webhook = WhatsAppWebhook::new(
        secret("WHATSAPP_APP_SECRET")?,
        secret("WHATSAPP_VERIFY_TOKEN")?,
    )?;
    let gateway = Gateway::of(&workforce).with(ChannelKind::WHATSAPP, webhook);
    let listener = TcpListener::bind(variable("KONSTRUCT_LISTEN")?).await?;
    tokio::spawn(async { axum::serve(listener, routes(Arc::new(gateway))).await });

    let ended = async move {
        let _ = terminated.recv().await;
    };
    tokio::spawn(workforce.run(ended)).await?;
    Ok(())
}

fn variable(name: &str) -> Result<String, Failed> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// Returns a directory of tenants, each with an employee and a WhatsApp number.
fn shops(tenants: usize) -> Result<LocalDirectory, Failed> {
    let model = OpenAi::new(Secret::new(variable("OPENAI_API_KEY")?), "fake")
        .base_url(variable("OPENAI_BASE_URL")?);
    let pool = Pool::builder().deployment(Deployment::new("openai/fake", model));
    let directory = LocalDirectory::new(pool.build()?);
    let graph = variable("GRAPH_API_URL")?;
    for nth in 0..tenants {
        let tenant = TenantId::from_bytes((nth as u128 + 1).to_be_bytes());
        let employee = Employee::builder("Ava").role("front desk of a bicycle shop");
        directory.hire(tenant, employee.persona("warm and brief").build()?)?;
        let channel = WhatsApp::builder(number(nth), Secret::new("EAAG-fake")).api_url(&graph);
        directory.connect(tenant, number(nth), channel.build()?)?;
    }
    Ok(directory)
}
