//! A server for tests of what happens at given times, without its background tasks.

#[expect(dead_code, reason = "these tests need only a database")]
#[path = "../tests/it/database.rs"]
pub(crate) mod database;

use std::{collections::HashMap, sync::Arc, time::Instant};

use konstruct_channels::testkit::{FakeGraph, FakeSlack};

use crate::{App, Config};

/// The secret of Meta's signatures.
pub(crate) const SECRET: &str = "a secret of the vendors";

/// Opens a server on the store that the tests run on.
pub(crate) async fn app(
    data: &tempfile::TempDir,
    slack: &FakeSlack,
    graph: &FakeGraph,
) -> Arc<App> {
    let mut variables: HashMap<&str, String> = HashMap::from([
        ("KONSTRUCT_DATA_DIR", data.path().display().to_string()),
        ("KONSTRUCT_MODEL", "extract".into()),
        ("KONSTRUCT_DEMO", "off".into()),
        ("WHATSAPP_APP_SECRET", SECRET.into()),
        ("WHATSAPP_VERIFY_TOKEN", "verify".into()),
        ("SLACK_API_URL", slack.url()),
        ("GRAPH_API_URL", graph.url()),
    ]);
    if database::on_postgres() {
        variables.extend(database::of(data.path()));
    }
    let config = Config::load(None, |name: &str| variables.get(name).cloned()).unwrap();
    let address = "127.0.0.1:9".parse().unwrap();
    App::open(config, address, Instant::now()).await.unwrap()
}
