//! The inner loops. Each is written once in plain Rust, and compiled for several levels of vector instructions; the level is
//! chosen at run time. Only the product of bytes is hand-written, for processors with an instruction for it. All levels return
//! the same numbers, bit by bit.

use std::sync::LazyLock;

use fearless_simd::Level;

use super::arena::Query;

static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

/// The lanes of a sum of `f32`. Their order is fixed, so that the result does not depend on the processor. This many keep four of
/// the widest registers busy.
const LANES: usize = 64;

/// Returns the dot product of two vectors of the same length.
///
/// ```
/// assert_eq!(konstruct_memory::dot(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 32.0);
/// ```
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut score = [0.0];
    if !a.is_empty() {
        dots(a, &b[..a.len()], &mut score);
    }
    score[0]
}

/// Writes the dot product of the question and each row.
pub(super) fn dots(query: &[f32], rows: &[f32], scores: &mut [f32]) {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(level) = LEVEL.as_avx512() {
        return dots_avx512(level, query, rows, scores);
    } else if let Some(level) = LEVEL.as_avx2() {
        return dots_avx2(level, query, rows, scores);
    }
    dots_plain(query, rows, scores);
}

/// Writes the product of the question and each row.
pub(super) fn products(query: &Query, rows: &[u8], products: &mut [i32]) {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(level) = LEVEL.as_avx512() {
        return products_avx512(level, query, rows, products);
    } else if let Some(level) = LEVEL.as_avx2() {
        return products_avx2(level, query, rows, products);
    }
    products_plain(query, rows, products);
}

#[inline(always)]
fn dots_plain(query: &[f32], rows: &[f32], scores: &mut [f32]) {
    let (blocks, rest) = query.as_chunks::<LANES>();
    for (row, score) in rows.chunks_exact(query.len()).zip(scores) {
        let (row_blocks, row_rest) = row.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for (a, b) in blocks.iter().zip(row_blocks) {
            for at in 0..LANES {
                lanes[at] += a[at] * b[at];
            }
        }
        let mut wide = LANES;
        while wide > 1 {
            wide /= 2;
            for at in 0..wide {
                lanes[at] += lanes[at + wide];
            }
        }
        let rest: f32 = rest.iter().zip(row_rest).map(|(a, b)| a * b).sum();
        *score = lanes[0] + rest;
    }
}

#[inline(always)]
fn products_plain(query: &Query, rows: &[u8], products: &mut [i32]) {
    for (row, product) in rows.chunks_exact(query.whole.len()).zip(products) {
        let each = query.whole.iter().zip(row);
        let sum = each.fold(0i32, |sum, (a, b)| {
            // The excess may overflow the `i32`; subtracting it wraps back.
            sum.wrapping_add(i32::from(*a) * i32::from(*b))
        });
        *product = sum.wrapping_sub(query.excess);
    }
}

fearless_simd::kernel!(
    fn dots_avx512(_level: Avx512, query: &[f32], rows: &[f32], scores: &mut [f32]) {
        dots_plain(query, rows, scores);
    }
);

fearless_simd::kernel!(
    fn dots_avx2(_level: Avx2, query: &[f32], rows: &[f32], scores: &mut [f32]) {
        dots_plain(query, rows, scores);
    }
);

fearless_simd::kernel!(
    fn products_avx2(_level: Avx2, query: &Query, rows: &[u8], products: &mut [i32]) {
        products_plain(query, rows, products);
    }
);

fearless_simd::kernel!(
    fn products_avx512(level: Avx512, query: &Query, rows: &[u8], products: &mut [i32]) {
        #[cfg(target_arch = "x86")]
        use std::arch::x86::*;
        #[cfg(target_arch = "x86_64")]
        use std::arch::x86_64::*;

        use fearless_simd::{i8x64, prelude::*, u8x64};

        let (coarse, fine) = (
            query.coarse.as_chunks::<64>().0,
            query.fine.as_chunks::<64>().0,
        );
        for (row, product) in rows.chunks_exact(query.whole.len()).zip(products) {
            let (mut coarse_sum, mut fine_sum) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            let blocks = row.as_chunks::<64>().0.iter().zip(coarse).zip(fine);
            for ((row, coarse), fine) in blocks {
                let row: __m512i = u8x64::from_slice(level, row).into();
                let coarse: __m512i = i8x64::from_slice(level, coarse).into();
                let fine: __m512i = i8x64::from_slice(level, fine).into();
                coarse_sum = _mm512_dpbusd_epi32(coarse_sum, row, coarse);
                fine_sum = _mm512_dpbusd_epi32(fine_sum, row, fine);
            }
            // 32 is two to the fifth.
            let sum = _mm512_add_epi32(_mm512_slli_epi32::<5>(coarse_sum), fine_sum);
            *product = _mm512_reduce_add_epi32(sum).wrapping_sub(query.excess);
        }
    }
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arena, Quantised};

    #[test]
    fn every_level_gives_the_same_numbers() {
        let numbers = |from: usize| move |at: usize| ((at * 7919 + from) % 509) as f32 - 254.0;
        for dim in [1, 31, 64, 100, 384, 1024] {
            let query: Vec<f32> = (0..dim).map(numbers(5)).collect();
            let rows: Vec<f32> = (0..dim * 9).map(numbers(77)).collect();
            let (mut chosen, mut plain) = ([0.0; 9], [0.0; 9]);
            dots(&query, &rows, &mut chosen);
            dots_plain(&query, &rows, &mut plain);
            assert_eq!(chosen.map(f32::to_bits), plain.map(f32::to_bits), "{dim}");

            let arena = rows.chunks(dim).fold(Arena::new(dim), |mut arena, row| {
                arena.push_quantised(&Quantised::new(row));
                arena
            });
            let (query, rows) = arena.parts(&query);
            let (mut chosen, mut plain) = ([0; 9], [0; 9]);
            products(&query, rows, &mut chosen);
            products_plain(&query, rows, &mut plain);
            assert_eq!(chosen, plain, "{dim}");
            assert!(chosen.iter().any(|product| *product != 0));
        }
    }
}
