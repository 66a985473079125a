//! Proof that tenants are separated: an audit of the catalogue, a probe of its guarantees, and mutants that both must find.

use konstruct_memory::isolation::{audit, mutants, probe, probe_randomly};

use crate::database::Database;

/// The files that build statements from strings.
const MADE: [&str; 5] = [
    "postgres/tenant.rs",
    "postgres/graph/mod.rs",
    "postgres/graph/make.rs",
    // Only tests and benchmarks use these two.
    "postgres/isolation/mod.rs",
    "postgres/isolation/probe.rs",
];

#[tokio::test]
async fn the_catalogue_keeps_tenants_apart() {
    Database::with(async |database| {
        let findings = audit(&database.url("postgres")).await.unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    })
    .await;
}

#[tokio::test]
async fn no_tenant_touches_anothers_rows() {
    Database::with(async |database| {
        let owner = database.url("postgres");
        let probed = probe(&owner).await.unwrap();
        assert!(probed.leaks.is_empty(), "{:#?}", probed.leaks);
        // Twelve verbs, two roles, and every table.
        assert!(probed.probes > 12 * 2 * 15, "{}", probed.probes);
        let probed = probe_randomly(&owner, 5, 500, 13).await.unwrap();
        assert!(probed.leaks.is_empty(), "{:#?}", probed.leaks);
    })
    .await;
}

#[tokio::test]
async fn every_mistake_is_found() {
    Database::with(async |database| {
        let tried = mutants(&database.url("postgres")).await.unwrap();
        let missed: Vec<_> = tried.iter().filter(|mutant| !mutant.caught()).collect();
        assert!(missed.is_empty(), "{missed:#?}");
        assert!(tried.len() >= 14, "{}", tried.len());
    })
    .await;
}

/// Statements are constants. Those that are not name the tenant, belong to graphs, or to the proof.
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
