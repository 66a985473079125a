//! The server's command line.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::{Parser, Subcommand};
use konstruct_core::{Error, Result};
use konstruct_server::{Config, DEFAULTS, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// AI employees in Slack and WhatsApp.
#[derive(Parser)]
#[command(name = "konstruct-server", version)]
struct Arguments {
    /// A configuration file over the defaults; the environment is over both.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or Ctrl-C (this is the default).
    Serve,
    /// Prints the default configuration with every key.
    Defaults,
    /// Prints the admin API's OpenAPI document.
    Openapi,
}

fn main() -> ExitCode {
    let started = Instant::now();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let done = match arguments.command {
        None | Some(Command::Serve) => serve(arguments.config, started),
        Some(Command::Defaults) => show(DEFAULTS),
        Some(Command::Openapi) => show(&konstruct_admin_api::openapi().to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "konstruct-server ends");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(file: Option<PathBuf>, started: Instant) -> Result<()> {
    let config = Config::load(file.as_deref(), |name| std::env::var(name).ok())?;
    let stop = async || {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminated.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    };
    let server = Server::open(config, started).await?;
    announce(&server)?;
    server
        .run(async {
            if let Err(error) = stop().await {
                tracing::error!(%error, "signals cannot be listened for");
                std::future::pending::<()>().await;
            }
        })
        .await
}

/// Says where to talk to the employee, and what is and is not set up.
fn announce(server: &Server) -> Result<()> {
    let (app, url) = (server.app(), server.url()?);
    let model = app.directory.models().shared().describe();
    let mut lines = vec![format!("Konstruct listens on {url}")];
    if app.simulator.is_some() {
        lines.push(format!("Talk to the employee: {url}/sandbox"));
    }
    lines.push(format!(
        "Admin API: {url}/api/v1, described by {url}/api/openapi.json"
    ));
    if app.token_is_new {
        lines.push(format!(
            "Operator token, shown this once: {}",
            app.operator_token.expose()
        ));
    }
    lines.push(format!("Model: {}/{}", model.provider, model.model));
    if model.provider == "extract" {
        lines.push("  No language model is configured: answers are quoted from the tenant's own documents.".into());
    }
    lines.push(format!("Embedder: {}", app.config.embedder.model));
    lines.push("Billing: off".into());
    if show(&lines.join("\n")).is_err() {
        // Nobody reads: that is no reason not to serve. The token is not for a log.
        tracing::warn!("where to talk to the employee cannot be printed");
    }
    Ok(())
}

fn show(text: &str) -> Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| Error::internal("nothing can be printed").with_source(error))
}
