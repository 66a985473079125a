//! The table of the built-in embedder, in the file format that `konstruct-embed-data` describes.

use std::fmt;

/// A parsed table. All of it stays in the program's read-only data, of which the system loads what is used.
pub(super) struct Table {
    dim: usize,
    lowest: f32,
    /// Where the pieces end in `names`, in the order of their bytes.
    ends: &'static [[u8; 4]],
    /// How far before a piece the longest other piece is that is a prefix of it, or 0.
    prefixes: &'static [[u8; 4]],
    scores: &'static [[u8; 4]],
    scales: &'static [[u8; 4]],
    vectors: &'static [u8],
    ids: &'static [[u8; 4]],
    names: &'static [u8],
}

impl Table {
    /// Parses a table.
    ///
    /// # Panics
    /// The table is malformed.
    pub(super) fn read(bytes: &'static [u8]) -> Self {
        let (mark, bytes) = bytes.split_at(8);
        assert_eq!(mark, b"kstatic3", "the static table has another format");
        let (head, mut bytes) = bytes.split_at(12);
        let head = head.as_chunks::<4>().0;
        let [count, dim] = [0, 1].map(|at| u32::from_le_bytes(head[at]) as usize);
        let mut take = |length: usize| {
            let (part, rest) = bytes.split_at(length);
            bytes = rest;
            part
        };
        let [ends, prefixes, scores, scales] = [(); 4].map(|()| take(4 * count).as_chunks().0);
        let vectors = take(count * dim / 2);
        let ids = take(4 * count).as_chunks().0;
        let table = Self {
            dim,
            lowest: f32::from_le_bytes(head[2]),
            ends,
            prefixes,
            scores,
            scales,
            vectors,
            ids,
            names: bytes,
        };
        let end = count.checked_sub(1).map_or(0, |last| table.end(last));
        assert_eq!(end, table.names.len(), "the static table lacks pieces");
        table
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    fn end(&self, at: usize) -> usize {
        u32::from_le_bytes(self.ends[at]) as usize
    }

    /// Returns the piece at a place.
    fn piece(&self, at: usize) -> &'static [u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.end(before));
        &self.names[begin..self.end(at)]
    }

    /// Returns the id of a piece.
    pub(super) fn id(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.ids[at as usize])
    }

    /// Returns the logarithm of a piece's probability.
    pub(super) fn score(&self, at: u32) -> f64 {
        f32::from_le_bytes(self.scores[at as usize]).into()
    }

    /// Returns the least score of a piece.
    pub(super) fn lowest_score(&self) -> f64 {
        self.lowest.into()
    }

    /// Calls `found` with the length and the place of each piece that the text begins with, the longest first.
    pub(super) fn beginnings(&self, text: &str, mut found: impl FnMut(usize, u32)) {
        let text = text.as_bytes();
        // Every piece that the text begins with is a prefix of the last piece that is not greater than the text, or that piece.
        let (mut from, mut to) = (0, self.ends.len());
        while from < to {
            let middle = from.midpoint(to);
            if self.piece(middle) <= text {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        let Some(mut at) = from.checked_sub(1) else {
            return;
        };
        let same = self.piece(at).iter().zip(text);
        let same = same.take_while(|(a, b)| a == b).count();
        loop {
            let length = self.piece(at).len();
            if length <= same && length > 0 {
                found(length, at as u32);
            }
            match u32::from_le_bytes(self.prefixes[at]) {
                0 => return,
                before => at -= before as usize,
            }
        }
    }

    /// Adds the vector of a piece.
    pub(super) fn add(&self, at: u32, sum: &mut [f32]) {
        let at = at as usize;
        let scale = f32::from_le_bytes(self.scales[at]);
        let row = &self.vectors[at * self.dim / 2..][..self.dim / 2];
        for (sum, pair) in sum.as_chunks_mut::<2>().0.iter_mut().zip(row) {
            sum[0] += scale * (f32::from(pair & 15) - 8.0);
            sum[1] += scale * (f32::from(pair >> 4) - 8.0);
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = f.debug_struct("Table");
        table
            .field("pieces", &self.ends.len())
            .field("dim", &self.dim);
        table.finish_non_exhaustive()
    }
}
