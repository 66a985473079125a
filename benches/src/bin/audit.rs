//! Lists every field of a folder's inbound payloads and its place in the decoded event.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use konstruct_benches::{
    Failed,
    audit::{Audit, Ignored},
};

/// Lists every field of a folder's inbound payloads and its place in the decoded event.
///
/// Reads the rows of `.jsonl` files (`{source, payload}`) and the bodies in `.json` files.
#[derive(Parser)]
struct Arguments {
    /// The folder.
    #[arg(env = "KONSTRUCT_CORPUS", default_value = "../shared/corpus")]
    dir: PathBuf,
    /// The fields that are ignored on purpose, each with a reason.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/ignored_fields.txt"))]
    ignored: PathBuf,
    /// Prints only the fields that are not listed.
    #[arg(long)]
    unlisted: bool,
}

fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let ignored = Ignored::parse(&read(&arguments.ignored)?)?;
    let mut audit = Audit::default();
    let mut files: Vec<PathBuf> = fs::read_dir(&arguments.dir)
        .map_err(|error| format!("{}: {error}", arguments.dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for path in files {
        let text = match path.extension().and_then(|kind| kind.to_str()) {
            Some("jsonl" | "json") => read(&path)?,
            _ => continue,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let rows = if name.ends_with(".jsonl") {
            text.lines().map(|row| audit.row(row)).sum()
        } else {
            audit.body(&text)
        };
        if rows == 0 {
            println!("{name}: no inbound payload");
        }
    }
    let mut used = BTreeSet::new();
    let (mut unlisted, mut kinds) = (0_u64, BTreeMap::<&str, u64>::new());
    for ((kind, path), places) in audit.fields() {
        *kinds.entry(kind).or_default() += 1;
        let rule = ignored.find(kind, path);
        used.extend(rule.map(|rule| rule.line));
        let what = match rule {
            _ if !places.is_empty() => {
                let places: Vec<_> = places.iter().take(4).map(String::as_str).collect();
                format!("-> {}", places.join(", "))
            }
            Some(rule) => format!("ignored: {}", rule.reason),
            None => {
                unlisted += 1;
                "UNLISTED".to_owned()
            }
        };
        if !arguments.unlisted || what == "UNLISTED" {
            println!("{kind} {path} {what}");
        }
    }
    for rule in ignored.rules().filter(|rule| !used.contains(&rule.line)) {
        println!(
            "{}:{} matches no field",
            arguments.ignored.display(),
            rule.line
        );
    }
    println!("payloads={} kinds={}", audit.payloads(), kinds.len());
    println!("fields={} unlisted={unlisted}", audit.fields().len());
    Ok(if unlisted == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(path: &Path) -> Result<String, Failed> {
    Ok(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
}
