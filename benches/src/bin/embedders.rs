//! Measures the same small program written with Konstruct, and with `--peers` with other libraries.
//!
//! Prints a row for each of them, and ends with `programs=N wrong=N` and the figures of Konstruct's program.

use std::process::ExitCode;

use clap::{Parser, builder::PossibleValuesParser};
use konstruct_benches::{
    Failed,
    embedders::{Build, Dialogue, KONSTRUCT, PEERS, Program, QUESTIONS},
};

/// The largest number of lines of Konstruct's program.
const MAX_LINES: usize = 25;

/// Measures the same small program written with several libraries.
#[derive(Parser)]
struct Arguments {
    /// Also measures the other libraries.
    #[arg(long)]
    peers: bool,
    /// Measures only this program.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(programs().map(|it| it.name)))]
    only: Option<String>,
    /// Only counts lines and packages, and compiles nothing.
    #[arg(long)]
    lines: bool,
}

fn programs() -> impl Iterator<Item = Program> {
    [KONSTRUCT].into_iter().chain(PEERS)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let chosen = |program: &Program| match &arguments.only {
        Some(name) => program.name == name,
        None => arguments.peers || *program == KONSTRUCT,
    };
    let (mut measured, mut wrong, mut too_long) = (0, 0, false);
    let mut ours = String::new();
    for program in programs().filter(chosen) {
        program.lock()?;
        let lines = program.lines()?;
        let mut figures = format!("lines={lines} packages={}", program.packages()?);
        if !arguments.lines {
            let build = Build::cold(&program)?;
            let dialogue = Dialogue::hold(build.program()).await?;
            figures += &format!(" {}", report(&build, &dialogue));
            wrong += QUESTIONS.len() - dialogue.right();
        }
        out(&format!(
            "who={} memory={} {figures}",
            program.name, program.memory
        ));
        measured += 1;
        if program == KONSTRUCT {
            too_long = lines > MAX_LINES;
            ours = format!(" {figures}");
        }
    }
    out(&format!("programs={measured} wrong={wrong}{ours}"));
    Ok(ExitCode::from(u8::from(wrong > 0 || too_long)))
}

fn report(build: &Build, dialogue: &Dialogue) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    format!(
        "compile_cpu_s={:.1} compile_s={:.1} binary_mb={:.1} stripped_mb={:.1} idle_mb={:.1} right={}",
        build.cpu.as_secs_f64(),
        build.wall.as_secs_f64(),
        megabytes(build.bytes),
        megabytes(build.stripped_bytes),
        megabytes(dialogue.idle_kib << 10),
        dialogue.right(),
    )
}

#[expect(clippy::print_stdout, reason = "its lines are what a bench is for")]
fn out(line: &str) {
    println!("{line}");
}
