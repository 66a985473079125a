//! The server's command line.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Instant};

use clap::{Parser, Subcommand};
use konstruct_core::{Error, ErrorKind, Result};
use konstruct_server::{
    BUSINESS_TENANT, Config, DEFAULTS, Role, Server, raise_descriptor_limit, without_effect,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A turn makes about a thousand allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The signal for exceeding the file size limit, on Linux and the BSDs.
const SIGXFSZ: i32 = 25;

/// AI employees in Slack and WhatsApp.
#[derive(Parser)]
#[command(name = "konstruct-server", version)]
struct Arguments {
    /// A configuration file that overrides the defaults; the environment overrides both.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or Ctrl-C (this is the default).
    Serve {
        /// What this process does; processes share the work through the database.
        #[arg(long, value_enum, default_value_t)]
        role: Role,
    },
    /// Creates or updates the tables of the PostgreSQL database, as its owner (DATABASE_OWNER_URL).
    Migrate,
    /// Copies the store to a new file while it is used. On the embedded store, a running server is asked (KONSTRUCT_OPERATOR_TOKEN);
    /// on PostgreSQL, pg_dump is run (DATABASE_OWNER_URL).
    Backup {
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Makes the store from a backup. There must be none in its place. The server repeats younger erasures before it serves.
    Restore {
        /// The file of `backup`.
        file: PathBuf,
    },
    /// Checks the hashes of all audit logs. On the embedded store, a running server is asked (KONSTRUCT_OPERATOR_TOKEN).
    VerifyAudit,
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
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let done = match arguments.command {
        None => serve(arguments.config, Role::default(), started),
        Some(Command::Serve { role }) => serve(arguments.config, role, started),
        Some(Command::Migrate) => migrate(arguments.config),
        Some(Command::Backup { file }) => backup(arguments.config, file),
        Some(Command::Restore { file }) => restore(arguments.config, file),
        Some(Command::VerifyAudit) => verify_audit(arguments.config),
        Some(Command::Defaults) => show(DEFAULTS),
        Some(Command::Openapi) => show(&konstruct_admin_api::openapi().to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Printed whatever the log filter is. If stderr is closed, the exit code remains.
            let _ = writeln!(std::io::stderr(), "konstruct-server: {}", error.message());
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Returns 2 for a configuration that cannot work on any start, as for wrong arguments, and 1 for everything else.
fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::Unauthorized => 2,
        _ => 1,
    }
}

#[tokio::main]
async fn serve(file: Option<PathBuf>, role: Role, started: Instant) -> Result<()> {
    let mut config = Config::load(file.as_deref(), |name| std::env::var(name).ok())?;
    config.role = role;
    raise_descriptor_limit();
    let mut terminated = listen(SignalKind::terminate())?;
    let mut interrupted = listen(SignalKind::interrupt())?;
    let mut stop = std::pin::pin!(async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    });
    // A write beyond the file size limit then fails like a write to a full disk, instead of killing the process.
    let _too_large = signal(SignalKind::from_raw(SIGXFSZ)).ok();
    let start = async {
        let server = Server::open(config, started).await?;
        announce(&server).await?;
        Ok::<_, Error>(server)
    };
    let server = tokio::select! {
        server = start => server?,
        // There is nothing open yet to finish.
        () = &mut stop => return Ok(()),
    };
    server.run(stop).await
}

#[tokio::main(flavor = "current_thread")]
async fn migrate(file: Option<PathBuf>) -> Result<()> {
    let config = Config::load(file.as_deref(), |name| std::env::var(name).ok())?;
    konstruct_server::migrate(&config).await?;
    show("The database has the tables of this version.")
}

#[tokio::main(flavor = "current_thread")]
async fn backup(config: Option<PathBuf>, file: PathBuf) -> Result<()> {
    let config = Config::load(config.as_deref(), |name| std::env::var(name).ok())?;
    konstruct_server::backup(&config, &file).await?;
    show("The backup is complete. Keep the master key and erasures.log too, in other places.")
}

#[tokio::main(flavor = "current_thread")]
async fn restore(config: Option<PathBuf>, file: PathBuf) -> Result<()> {
    let config = Config::load(config.as_deref(), |name| std::env::var(name).ok())?;
    konstruct_server::restore(&config, &file).await?;
    show(
        "The store is restored. The server repeats the erasures since the backup before it serves.",
    )
}

#[tokio::main(flavor = "current_thread")]
async fn verify_audit(file: Option<PathBuf>) -> Result<()> {
    let config = Config::load(file.as_deref(), |name| std::env::var(name).ok())?;
    let broken = konstruct_server::verify_audit(&config, &mut |line| show(&line)).await?;
    match broken {
        0 => show("All audit logs are intact."),
        broken => Err(Error::new(
            ErrorKind::Corrupt,
            format!("{broken} audit logs were changed; compare them with a backup"),
        )),
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| {
        Error::new(ErrorKind::Internal, "could not install a signal handler").with_source(error)
    })
}

/// Prints where to talk to the employee, and the state of the setup.
async fn announce(server: &Server) -> Result<()> {
    let (app, url) = (server.app(), server.url()?);
    let model = app.directory.models().shared().describe();
    let mut lines = vec![format!("Konstruct listens on {url}")];
    lines.extend(
        match app.config.role {
            Role::Web => Some("Role: web, so another process must run the turns"),
            Role::Worker => Some("Role: worker, so another process must accept the webhooks"),
            _ => None,
        }
        .map(str::to_owned),
    );
    match app.config.without_demo() {
        None => lines.push(format!("Talk to the employee: {url}/demo")),
        Some(_) if app.config.role != Role::All => {}
        Some(why) => lines.push(format!(
            "Demo: off, because {why} (KONSTRUCT_DEMO=on serves it)"
        )),
    }
    if app.config.role.serves() {
        lines.push(format!(
            "Admin API: {url}/api/v1, described by {url}/api/openapi.json"
        ));
    }
    if app.config.role.serves() && app.config.operator_token.is_empty() {
        let link = app.operator_link().await?;
        lines.push(format!(
            "Sign in as the operator, once and within 15 minutes: {}",
            link.expose()
        ));
    }
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
    lines.push(match app.config.transcriber.model.as_str() {
        "" => "Transcriber: none, so people who send voice messages are asked to write".into(),
        model => format!("Transcriber: {model}"),
    });
    lines.extend(business(server).await?);
    for name in without_effect(|name| std::env::var(name).ok()) {
        lines.push(format!("{name}: has no effect in this version"));
    }
    lines.push("Billing: off".into());
    if show(&lines.join("\n")).is_err() {
        // The server keeps serving if stdout is closed. The token must not be logged.
        tracing::warn!("could not print the addresses of the server to stdout");
    }
    Ok(())
}

/// Describes the state of the configured business.
async fn business(server: &Server) -> Result<Vec<String>> {
    let (app, config) = (server.app(), &server.app().config);
    let configured = [
        ("slack", !config.slack.bot_token.is_empty()),
        ("whatsapp", !config.whatsapp.phone_number_id.is_empty()),
    ];
    if configured.iter().all(|(_, set)| !set) {
        return Ok(Vec::new());
    }
    let mut lines = vec![format!(
        "Business: tenant {BUSINESS_TENANT}; change its employee and documents with the admin API"
    )];
    let connections = app.directory.connections(BUSINESS_TENANT).await?;
    for (channel, _) in configured.into_iter().filter(|(_, set)| *set) {
        let known = connections
            .iter()
            .find(|known| known.channel.as_str() == channel && known.confirmed);
        lines.push(match known {
            Some(known) if known.state.is_active() => {
                format!("  {channel}: connected to {}", known.account.0)
            }
            Some(known) => format!(
                "  {channel}: the vendor rejected the token for {}; set a valid token",
                known.account.0
            ),
            None => format!(
                "  {channel}: not confirmed by the vendor yet; its webhooks get 503 until then"
            ),
        });
    }
    Ok(lines)
}

fn show(text: &str) -> Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{text}")
        .map_err(|error| Error::internal("could not write to stdout").with_source(error))
}
