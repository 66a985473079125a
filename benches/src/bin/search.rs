//! Measures exact search: over vectors, compared with plain memory reads, and as a whole recall on redb.
//!
//! `--peers` measures sqlite-vec, faiss, usearch and pgvector's HNSW in the same run with the same vectors.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{path::PathBuf, time::Instant};

use clap::Parser;
use konstruct_benches::{
    Failed,
    search::{self, Vectors, best, peers, recall},
};
use konstruct_memory::{Arena, Flat};

/// Measures exact search.
#[derive(Parser)]
struct Arguments {
    /// Numbers of vectors, measured one after another.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000, 100_000])]
    sizes: Vec<usize>,
    /// Dimension of a vector.
    #[arg(long, default_value_t = 384)]
    dim: usize,
    /// Number of passages of the recalling tenant; 0 skips the recall.
    #[arg(long, default_value_t = 10_000)]
    documents: usize,
    /// Also measures other libraries, in a Python environment in this folder.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "target/search-peers")]
    peers: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    for size in &arguments.sizes {
        let vectors = Vectors::new(*size, arguments.dim);
        vector_row(&vectors);
        if let Some(folder) = &arguments.peers {
            for row in peers::rows(folder, &vectors).await? {
                println!("n={size} {row}");
            }
        }
    }
    if arguments.documents > 0 {
        for row in recall::rows(arguments.documents).await? {
            println!("{row}");
        }
    }
    Ok(())
}

fn vector_row(vectors: &Vectors) {
    let (mut flat, mut arena) = (Flat::new(vectors.dim), Arena::new(vectors.dim));
    let begin = Instant::now();
    for row in vectors.rows() {
        arena.push(row);
    }
    let build = begin.elapsed().as_secs_f64() * 1e3;
    vectors.rows().for_each(|row| flat.push(row));
    let queries = &vectors.queries;
    let (read, read_bytes) = (vectors.read_floats(), search::read_bytes(arena.bytes()));
    let exact = best(queries, |query| flat.top(query, search::TOP));
    let bytes = best(queries, |query| arena.top(query, search::TOP));
    let rescored = best(queries, |query| {
        vectors.rescored(arena.top(query, search::POOL), query)
    });
    println!(
        "n={} dim={} read_f32_ms={read:.4} f32_ms={:.4} f32_to_read={:.2} read_i8_ms={read_bytes:.4} i8_ms={:.4} i8_faster={:.1} i8_recall@10={:.3} rescored_ms={:.4} rescored_recall@10={:.3} build_ms={build:.0}",
        vectors.len(),
        vectors.dim,
        exact.ms,
        exact.ms / read,
        bytes.ms,
        exact.ms / bytes.ms,
        search::agreement(&exact.found, &bytes.found),
        rescored.ms,
        search::agreement(&exact.found, &rescored.found),
    );
}
