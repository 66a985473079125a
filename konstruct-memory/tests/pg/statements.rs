//! How many statements the simplest turn costs the database.

use crate::{cost::Scene, counter::Counter, database::Database};

#[tokio::test]
async fn the_simplest_turn_costs_few_statements() {
    Database::with(async |database| {
        let folder = tempfile::tempdir().unwrap();
        let counter = Counter::start(folder.path(), &database.socket()).unwrap();
        let store = database.builder_at(counter.folder()).connect().await;
        let owner = database.connect("postgres").await;
        let scene = Scene::new(store.unwrap(), counter, owner).await;
        scene.measure().await.check();
    })
    .await;
}
