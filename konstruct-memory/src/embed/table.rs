//! The table: a row of bytes and a scale for each token.
//!
//! File format `kstatic1`: three `u32` (rows, numbers a row, bytes of the tokens); a `f32` scale for each row; the rows, one
//! signed byte for each number; the tokens, one a line. Numbers are little-endian. A token that continues a word begins with
//! `##`.

use std::{collections::HashMap, fmt};

/// A parsed table.
pub(super) struct Table {
    dim: usize,
    scales: Vec<f32>,
    rows: &'static [u8],
    /// Tokens that begin a word, and tokens that continue one.
    begin: HashMap<&'static str, u32>,
    within: HashMap<&'static str, u32>,
}

impl Table {
    /// Parses a file that this crate ships.
    ///
    /// # Panics
    /// The file is malformed.
    pub(super) fn read(bytes: &'static [u8]) -> Self {
        let (mark, bytes) = bytes.split_at(8);
        assert_eq!(mark, b"kstatic1", "the static table has another format");
        let (sizes, bytes) = bytes.split_at(12);
        let sizes: Vec<usize> = words(sizes)
            .map(|four| u32::from_le_bytes(four) as usize)
            .collect();
        let (count, dim) = (sizes[0], sizes[1]);
        let (scales, bytes) = bytes.split_at(4 * count);
        let (rows, names) = bytes.split_at(count * dim);
        let (mut begin, mut within) = (HashMap::with_capacity(count), HashMap::new());
        let names = std::str::from_utf8(names).unwrap_or_default().split('\n');
        for (id, name) in (0..).zip(names) {
            match name.strip_prefix("##") {
                Some(rest) if !rest.is_empty() => within.insert(rest, id),
                _ => begin.insert(name, id),
            };
        }
        assert_eq!(
            begin.len() + within.len(),
            count,
            "the static table lacks tokens"
        );
        let scales = words(scales).map(f32::from_le_bytes).collect();
        Self {
            dim,
            scales,
            rows,
            begin,
            within,
        }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Finds a token that begins a word, or one that continues it.
    pub(super) fn find(&self, token: &str, begins: bool) -> Option<u32> {
        let tokens = if begins { &self.begin } else { &self.within };
        tokens.get(token).copied()
    }

    /// Adds the vector of a token.
    pub(super) fn add(&self, token: u32, sum: &mut [f32]) {
        let token = token as usize;
        let scale = self.scales[token];
        let row = &self.rows[token * self.dim..][..self.dim];
        for (sum, at) in sum.iter_mut().zip(row) {
            *sum += scale * f32::from(at.cast_signed());
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = f.debug_struct("Table");
        table
            .field("rows", &self.scales.len())
            .field("dim", &self.dim);
        table.finish_non_exhaustive()
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.as_chunks::<4>().0.iter().copied()
}
