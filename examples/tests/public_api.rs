//! The public API of the published crates, compared with the `public-api.txt` in each of them: a change of the API is a diff
//! that a reviewer sees.
//!
//! To accept a change: `UPDATE_PUBLIC_API=1 cargo test -p konstruct-examples --all-features --test public_api`
//!
//! The files list what the semver policy covers. Test kits and hidden items are left out. So are blanket and auto trait
//! implementations, and the methods of trait implementations, which the trait lists already.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use public_api::Builder;

const CRATES: [&str; 4] = [
    "konstruct-core",
    "konstruct-channels",
    "konstruct-llm",
    "konstruct-memory",
];

/// Test kits are not covered by the semver policy. That of `konstruct-memory` has no module.
const NOT_COVERED: [&str; 3] = [
    "::testkit",
    "konstruct_memory::Oracle",
    "konstruct_memory::SealProbe",
];

const ACCEPT: &str =
    "UPDATE_PUBLIC_API=1 cargo test -p konstruct-examples --all-features --test public_api";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Documents the workspace as JSON and returns the folder. With the features of `cargo clippy --workspace --all-features`, so that
/// the dependencies are not compiled again.
fn document() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .args(["doc", "--workspace", "--lib", "--all-features", "--no-deps"])
        .args(["--locked", "--offline", "--target-dir"])
        .arg(&target)
        .env("RUSTDOC", workspace().join(".ci/rustdoc-json"))
        .env("RUSTDOCFLAGS", "--output-format=json")
        .current_dir(workspace())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    target.join("doc")
}

/// Lists the public items of a crate, one a line.
fn listed(json: &Path) -> String {
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .unwrap_or_else(|error| {
            panic!(
                "{error}\nThe JSON format of rustdoc changes with the compiler: \
                 choose the version of `public-api` in Cargo.toml that reads it."
            )
        });
    // The type of the trait implementation whose items follow.
    let mut implementor = None;
    let mut text = String::new();
    for line in api.items().map(ToString::to_string) {
        if line.starts_with("impl") {
            let of_trait = line.split_once(" for ").map(|(_, name)| name);
            let name = of_trait.map(|name| name.split(" where ").next().unwrap_or(name));
            implementor = name.map(|name| format!("fn {name}::"));
        }
        let repeats = implementor.as_ref().is_some_and(|it| line.contains(it));
        let internal = line.contains("::StructuralPartialEq ");
        if !repeats && !internal && !NOT_COVERED.iter().any(|path| line.contains(path)) {
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

/// The lines that one text has and the other has not, each after a sign.
fn difference(before: &str, now: &str) -> String {
    let (before, now): (BTreeSet<_>, BTreeSet<_>) =
        (before.lines().collect(), now.lines().collect());
    let removed = before.difference(&now).map(|line| format!("-{line}\n"));
    let added = now.difference(&before).map(|line| format!("+{line}\n"));
    removed.chain(added).collect()
}

#[test]
fn the_public_api_is_that_of_the_snapshot() {
    let documented = document();
    let mut changed = String::new();
    for name in CRATES {
        let json = documented.join(name.replace('-', "_") + ".json");
        let now = listed(&json);
        assert!(now.lines().count() > 20, "{name}: {now}");
        let path = workspace().join(name).join("public-api.txt");
        if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
            fs::write(&path, &now).unwrap();
            continue;
        }
        let before = fs::read_to_string(&path).unwrap_or_default();
        if before != now {
            let difference = difference(&before, &now);
            write!(changed, "\n{name}/public-api.txt\n{difference}").unwrap();
        }
    }
    assert!(
        changed.is_empty(),
        "the public API has changed:\n{changed}\nTo accept it: {ACCEPT}"
    );
}
