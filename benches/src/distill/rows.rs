//! Reads the embedding rows of the encoder from a NumPy archive: blocks of bytes, and the scale and the least value of each.

use std::io::{Cursor, Read as _};

use zip::ZipArchive;

use crate::Failed;

/// The numbers of a row.
pub const WIDTH: usize = 512;
/// The row of piece `id` is in block `id % BLOCKS`.
const BLOCKS: usize = 17;

/// Returns the rows of the first `count` pieces, each number with the precision of a half float.
///
/// # Errors
/// The file is malformed.
pub fn rows(file: &[u8], count: usize) -> Result<Vec<f32>, Failed> {
    let mut archive = ZipArchive::new(Cursor::new(file))?;
    let mut array = |name: &str| -> Result<Vec<u8>, Failed> {
        let mut bytes = Vec::new();
        archive
            .by_name(&format!("{name}.npy"))?
            .read_to_end(&mut bytes)?;
        let length = bytes.get(8..10).ok_or("an array has no header")?;
        let header = 10 + usize::from(u16::from_le_bytes(length.try_into()?));
        Ok(bytes.split_off(header.min(bytes.len())))
    };
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        let (numbers, _) = bytes.as_chunks::<4>();
        numbers
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect()
    };
    let (scales, least) = (numbers(&array("scale")?), numbers(&array("lo")?));
    let mut rows = vec![0.0; count * WIDTH];
    for block in 0..BLOCKS {
        let bytes = array(&format!("q{}", block + 1))?;
        let (Some(scale), Some(least)) = (scales.get(block), least.get(block)) else {
            return Err("a block has no scale".into());
        };
        let ids = (block..count).step_by(BLOCKS);
        if bytes.len() < ids.len() * WIDTH {
            return Err("a block has too few rows".into());
        }
        for (id, row) in ids.zip(bytes.chunks_exact(WIDTH)) {
            for (to, from) in rows[id * WIDTH..][..WIDTH].iter_mut().zip(row) {
                *to = half(f32::from(*from) * scale + least);
            }
        }
    }
    Ok(rows)
}

/// Rounds a number to the precision of a half float, ties to even.
fn half(number: f32) -> f32 {
    // 2⁻²⁴ is the least half float, and 2⁻¹⁴ the least normal one: below it the steps no longer shrink.
    let exponent = (number.abs().log2().floor() as i32).max(-14);
    let step = 2f32.powi(exponent - 10);
    (number / step).round_ties_even() * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_precision_of_a_half_float() {
        for (number, expected) in [
            (0.0, 0.0),
            (1.0, 1.0),
            (-1.000_4, -1.0),
            (1.000_9, 1.000_976_6),
            (2049.0, 2048.0),
            (2051.0, 2052.0),
            (6.0e-8, 5.960_464_5e-8),
            (1.0e-8, 0.0),
        ] {
            assert_eq!(half(number), expected, "{number}");
        }
    }
}
