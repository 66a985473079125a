//! Counts the statements of the simplest turn on PostgreSQL, at the server's socket.

#![expect(clippy::print_stdout, reason = "a bench prints what it counted")]
#![allow(clippy::unwrap_used, reason = "what is counted is shared with a test")]

use konstruct_benches::{Failed, store::Database};

#[path = "../../../konstruct-memory/tests/pg/cost.rs"]
mod cost;
#[path = "../../../konstruct-memory/tests/pg/counter.rs"]
mod counter;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let database = Database::create().await?;
    let folder = tempfile::tempdir()?;
    let counter = counter::Counter::start(folder.path(), &Database::socket()?)?;
    let store = database.connect_at(counter.folder()).await?;
    let scene = cost::Scene::new(store, counter, database.owner().await?).await;
    let costs = scene.measure().await;
    database.remove().await?;
    println!("{costs}");
    costs.check();
    Ok(())
}
