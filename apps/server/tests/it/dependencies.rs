//! The server's dependencies: none needs a system package.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

#[test]
fn openssl_and_aws_lc_are_absent() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .unwrap();
    let names: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let server = names.iter().find(|(_, name)| **name == "konstruct-server");
    let (mut seen, mut open) = (BTreeSet::new(), vec![*server.unwrap().0]);
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let needed = |dependency: &&cargo_metadata::NodeDep| {
            let mut kinds = dependency.dep_kinds.iter();
            kinds.any(|kind| kind.kind != DependencyKind::Development)
        };
        let dependencies = nodes[id].deps.iter().filter(needed);
        open.extend(dependencies.map(|dependency| &dependency.pkg));
    }
    let found: BTreeSet<&str> = seen.iter().map(|id| names[*id]).collect();
    assert!(
        found.contains("rustls") && found.contains("ring"),
        "{found:?}"
    );
    for name in [
        "openssl",
        "openssl-sys",
        "native-tls",
        "aws-lc-rs",
        "aws-lc-sys",
        "cmake",
    ] {
        assert!(!found.contains(name), "{name}");
    }
}
