//! Compares the built-in embedder with the vectors of a reference implementation, and measures its time.
//!
//! The file is a JSON array of `{"text": …, "ids": […], "static": […]}`; `ids` includes the marks at both ends of a text. Ends with
//! `texts=N ids_equal=N error_max=E us_per_sentence=T`.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{fs, hint::black_box, path::PathBuf, time::Instant};

use clap::Parser;
use konstruct_benches::Failed;
use konstruct_memory::StaticEmbedder;
use serde_json::Value;

/// Compares the built-in embedder with a reference implementation.
#[derive(Parser)]
struct Arguments {
    /// File with the texts, the ids of their pieces and their vectors.
    file: PathBuf,
}

/// The best of this many runs is reported, because the machine may be shared.
const RUNS: usize = 50;

fn main() -> Result<(), Failed> {
    let file = fs::read(Arguments::parse().file)?;
    let rows: Vec<Value> = serde_json::from_slice(&file)?;
    let embedder = StaticEmbedder::new();
    let numbers = |value: &Value| -> Vec<f64> {
        let numbers = value.as_array().into_iter().flatten();
        numbers.filter_map(Value::as_f64).collect()
    };
    let (mut equal, mut error) = (0, 0.0f64);
    for row in &rows {
        let text = row["text"].as_str().unwrap_or_default();
        let ids = numbers(&row["ids"]);
        let mut found = embedder.pieces(text);
        if found.is_empty() {
            found.push(0);
        }
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        if ids.get(1..ids.len() - 1) == Some(&found) {
            equal += 1;
        } else {
            println!("{text:?}: {found:?}, not {ids:?}");
        }
        let vector = embedder.embed_one(text);
        for (at, expected) in vector.iter().zip(numbers(&row["static"])) {
            error = error.max((f64::from(*at) - expected).abs());
        }
    }
    let texts: Vec<&str> = rows.iter().filter_map(|row| row["text"].as_str()).collect();
    let run = |_| {
        let begin = Instant::now();
        for text in &texts {
            black_box(embedder.embed_one(black_box(text)));
        }
        begin.elapsed().as_secs_f64() * 1e6 / texts.len() as f64
    };
    let best = (0..RUNS).map(run).fold(f64::INFINITY, f64::min);
    println!(
        "texts={} ids_equal={equal} error_max={error:.5} us_per_sentence={best:.1}",
        texts.len()
    );
    Ok(())
}
