//! The audit of the catalogue.

use sqlx::PgConnection;

use crate::database::Database;

/// The files that build statements from strings.
const MADE: [&str; 3] = [
    "postgres/tenant.rs",
    "postgres/graph/mod.rs",
    "postgres/graph/make.rs",
];

/// Returns the ways in which one tenant could see another's rows.
pub(crate) async fn audit(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(include_str!("audit.sql"))
        .fetch_all(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_catalogue_keeps_tenants_apart() {
    Database::with(async |database| {
        let findings = audit(&mut database.connect("postgres").await).await;
        assert!(findings.is_empty(), "{findings:#?}");
    })
    .await;
}

/// Statements are constants. Those that are not name the tenant, or belong to graphs.
#[test]
fn no_other_statement_is_built_from_strings() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/postgres");
    let (mut folders, mut seen) = (vec![sources], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            seen += 1;
            let dynamic = text.contains("AssertSqlSafe") || text.contains("QueryBuilder");
            assert!(
                !dynamic || MADE.iter().any(|of| path.ends_with(of)),
                "{} builds statements from strings",
                path.display()
            );
        }
    }
    assert!(seen > 10, "the sources have moved");
}
