//! The table of the built-in embedder, in the file format that `konstruct-embed-data` describes.

use std::fmt;

/// A parsed table. Everything but the order of the pieces stays in the program's read-only data.
pub(super) struct Table {
    dim: usize,
    scores: &'static [[u8; 4]],
    scales: &'static [[u8; 4]],
    vectors: &'static [u8],
    pieces: Vec<&'static str>,
    /// The ids of the pieces, sorted by their bytes.
    sorted: Vec<u32>,
    /// For each place in `sorted` the place of the longest other piece that is a prefix of this one, or `NONE`.
    prefixes: Vec<u32>,
    /// The length of the longest piece, in bytes.
    longest: usize,
}

const NONE: u32 = u32::MAX;

impl Table {
    /// Parses a table.
    ///
    /// # Panics
    /// The table is malformed.
    pub(super) fn read(bytes: &'static [u8]) -> Self {
        let (mark, bytes) = bytes.split_at(8);
        assert_eq!(mark, b"kstatic2", "the static table has another format");
        let (sizes, bytes) = bytes.split_at(12);
        let sizes = sizes.as_chunks::<4>().0;
        let [count, dim, _] = [0, 1, 2].map(|at| u32::from_le_bytes(sizes[at]) as usize);
        let (scores, bytes) = bytes.split_at(4 * count);
        let (scales, bytes) = bytes.split_at(4 * count);
        let (vectors, names) = bytes.split_at(count * dim / 2);
        let names = std::str::from_utf8(names).unwrap_or_default();
        let pieces: Vec<&str> = names.split('\n').collect();
        assert_eq!(pieces.len(), count, "the static table lacks pieces");
        let mut sorted: Vec<u32> = (0..count as u32).collect();
        sorted.sort_unstable_by_key(|id| pieces[*id as usize]);
        Self {
            dim,
            scores: scores.as_chunks().0,
            scales: scales.as_chunks().0,
            vectors,
            prefixes: prefixes(&sorted, &pieces),
            longest: pieces.iter().map(|piece| piece.len()).max().unwrap_or(0),
            pieces,
            sorted,
        }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the logarithm of a piece's probability.
    pub(super) fn score(&self, id: u32) -> f64 {
        f32::from_le_bytes(self.scores[id as usize]).into()
    }

    pub(super) fn lowest_score(&self) -> f64 {
        let scores = self.scores.iter().map(|score| f32::from_le_bytes(*score));
        scores.fold(0.0, f32::min).into()
    }

    /// Calls `found` with the length and the id of each piece that the text begins with, the longest first.
    pub(super) fn beginnings(&self, text: &str, mut found: impl FnMut(usize, u32)) {
        let text = text.as_bytes();
        let text = &text[..text.len().min(self.longest)];
        let piece = |at: usize| self.pieces[self.sorted[at] as usize].as_bytes();
        // Every piece that the text begins with is a prefix of the last piece that is not greater than the text, or that piece.
        let after = self
            .sorted
            .partition_point(|id| self.pieces[*id as usize].as_bytes() <= text);
        let Some(mut at) = after.checked_sub(1) else {
            return;
        };
        let same = piece(at).iter().zip(text).take_while(|(a, b)| a == b);
        let same = same.count();
        loop {
            let length = piece(at).len();
            if length <= same && length > 0 {
                found(length, self.sorted[at]);
            }
            match self.prefixes[at] {
                NONE => return,
                next => at = next as usize,
            }
        }
    }

    /// Adds the vector of a piece.
    pub(super) fn add(&self, id: u32, sum: &mut [f32]) {
        let id = id as usize;
        let scale = f32::from_le_bytes(self.scales[id]);
        let row = &self.vectors[id * self.dim / 2..][..self.dim / 2];
        for (sum, pair) in sum.as_chunks_mut::<2>().0.iter_mut().zip(row) {
            sum[0] += scale * (f32::from(pair & 15) - 8.0);
            sum[1] += scale * (f32::from(pair >> 4) - 8.0);
        }
    }
}

/// Finds the longest proper prefix of each sorted piece among the pieces before it.
fn prefixes(sorted: &[u32], pieces: &[&str]) -> Vec<u32> {
    // The chain of prefixes of the piece before.
    let mut chain: Vec<u32> = Vec::new();
    let mut prefixes = Vec::with_capacity(sorted.len());
    for (at, id) in (0..).zip(sorted) {
        let piece = pieces[*id as usize];
        let is_prefix = |at: &u32| piece.starts_with(pieces[sorted[*at as usize] as usize]);
        while chain.last().is_some_and(|last| !is_prefix(last)) {
            chain.pop();
        }
        prefixes.push(chain.last().copied().unwrap_or(NONE));
        chain.push(at);
    }
    prefixes
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = f.debug_struct("Table");
        table
            .field("pieces", &self.pieces.len())
            .field("dim", &self.dim);
        table.finish_non_exhaustive()
    }
}
