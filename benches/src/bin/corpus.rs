//! Posts every inbound payload of a folder through the real gateway, and then checks the store for it.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use konstruct_benches::{
    Failed,
    corpus::{Intake, Kind, Tally},
};
use konstruct_memory::Redb;

/// Posts every inbound payload of a folder of `.jsonl` files through the real gateway.
#[derive(Parser)]
struct Arguments {
    /// The folder.
    #[arg(env = "KONSTRUCT_CORPUS", default_value = "../shared/corpus")]
    dir: PathBuf,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let Arguments { dir } = Arguments::parse();
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .map_err(|error| format!("{}: {error}", dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    files.sort();
    let folder = tempfile::tempdir()?;
    let store = Redb::open(folder.path().join("corpus.redb"))?;
    let intake = Intake::new(Arc::new(store))?;
    let mut total = Tally::default();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(kind) = Kind::of(&name) else {
            println!("{name:<34} ignored: not an inbound payload");
            continue;
        };
        let tally = intake.file(&path, kind).await?;
        print_row(&name, &tally);
        total.add(&tally);
    }
    println!(
        "payloads={} accepted={} errors={} lost={}",
        total.payloads, total.accepted, total.errors, total.lost
    );
    let clean = total.errors == 0 && total.lost == 0;
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_row(name: &str, tally: &Tally) {
    println!(
        "{name:<34} payloads={} accepted={} typed={} unsupported={} errors={} lost={} control={}",
        tally.payloads,
        tally.accepted,
        tally.typed,
        tally.unsupported,
        tally.errors,
        tally.lost,
        tally.control
    );
    for note in &tally.notes {
        println!("  {note}");
    }
}
