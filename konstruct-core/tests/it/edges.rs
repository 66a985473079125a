//! The dependencies between crates run in one direction, and the core crate stays small.

use std::{collections::BTreeSet, process::Command};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The crates of the workspace that a crate may depend on. No crate may depend on one that is missing here.
const EDGES: &[(&str, &[&str])] = &[
    ("konstruct-core", &[]),
    ("konstruct-channels", &["konstruct-core"]),
    ("konstruct-llm", &["konstruct-core"]),
    ("konstruct-embed-data", &[]),
    (
        "konstruct-memory",
        &["konstruct-core", "konstruct-embed-data"],
    ),
    ("konstruct-admin-api", &["konstruct-core"]),
    ("konstruct-console", &["konstruct-admin-api"]),
    (
        "konstruct-server",
        &[
            "konstruct-admin-api",
            "konstruct-channels",
            "konstruct-console",
            "konstruct-core",
            "konstruct-llm",
            "konstruct-memory",
        ],
    ),
    (
        "konstruct-desktop",
        &[
            "konstruct-admin-api",
            "konstruct-console",
            "konstruct-server",
        ],
    ),
];
/// Crates that may depend on all of the above.
const LEAVES: &[&str] = &["konstruct-benches", "konstruct-examples"];

#[test]
fn dependencies_run_one_way() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .unwrap();
    let members: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert!(members.contains("konstruct-core"));
    for package in &metadata.packages {
        let name = package.name.as_str();
        let known = EDGES
            .iter()
            .find(|(from, _)| *from == name)
            .map(|(_, to)| *to);
        assert!(
            known.is_some() || LEAVES.contains(&name),
            "{name} is missing in `EDGES`"
        );
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let inner = dependency.kind == DependencyKind::Development && to == name;
            if !members.contains(to) || inner {
                continue;
            }
            let allowed = known.map_or(!LEAVES.contains(&to), |known| known.contains(&to));
            assert!(allowed, "{name} must not depend on {to}");
        }
    }
}

#[test]
fn only_core_has_an_http_client() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .unwrap();
    let has = |package: &&cargo_metadata::Package| {
        let mut dependencies = package.dependencies.iter();
        dependencies.any(|it| ["reqwest", "rustls", "webpki-roots"].contains(&it.name.as_str()))
    };
    let with: BTreeSet<&str> = metadata
        .packages
        .iter()
        .filter(has)
        .map(|package| package.name.as_str())
        .collect();
    // The benches compare the pool with a bare client. The server has no client, but chooses the provider of TLS to Redis.
    assert_eq!(
        with,
        BTreeSet::from(["konstruct-benches", "konstruct-core", "konstruct-server"])
    );
    let server = metadata.packages.iter();
    let mut server = server.filter(|package| package.name.as_str() == "konstruct-server");
    let dependencies = &server.next().unwrap().dependencies;
    assert!(dependencies.iter().all(|it| it.name != "reqwest"));
}

/// Returns the packages that core depends on. `cargo metadata` unifies the features of the whole workspace, so this uses `cargo
/// tree`, which shows what the author of a backend gets.
fn packages(features: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "konstruct-core",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--locked", "--offline"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let text = String::from_utf8(tree.stdout).unwrap();
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

#[test]
fn core_is_small() {
    let packages = packages(&[]);
    assert!(packages.len() > 10, "{packages:?}");
    assert!(packages.len() <= 45, "{}: {packages:#?}", packages.len());
    let http = self::packages(&["--features", "http"]);
    for name in ["reqwest v", "rustls v", "ring v"] {
        let has = |packages: &BTreeSet<String>| packages.iter().any(|it| it.starts_with(name));
        assert!(has(&http) && !has(&packages), "{name}");
    }
}
