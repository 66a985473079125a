//! Measures the memory of an idle server, and its start time.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use konstruct_benches::{
    Failed,
    office::Office,
    process::resident,
    server::{self, Setup},
};

/// Measures an idle server.
#[derive(Parser)]
struct Arguments {
    /// The server's binary.
    #[arg(long)]
    server: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let dir = tempfile::tempdir()?;
    let mut setup = Setup::new(server::binary(arguments.server)?, dir.path())?;
    let office = Office::open().await?;
    office.connect(&mut setup);
    // The first start creates the store; the second is an ordinary restart.
    let mut server = setup.start()?;
    let first = server.listening().await?;
    server.terminate().await?;
    let mut server = setup.start()?;
    let again = server.listening().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let memory = resident(server.id().ok_or("the server has ended")?)?;
    server.terminate().await?;
    println!(
        "first_start_ms={} start_ms={}",
        first.as_millis(),
        again.as_millis()
    );
    println!("idle_rss_mb={memory}");
    Ok(())
}
