//! Stores of vectors, quantised to a byte a number or exact.

use super::{kernel, top::Top};

/// The numbers compared at once: the length of a row is a multiple of it.
const STEP: usize = 64;
/// The most dimensions: this many products of the largest numbers still fit into an `i32`.
const LARGEST: usize = 4096;
/// The number of rows scored before the best of them are kept.
const BLOCK: usize = 256;
/// The byte that represents zero, because the processor multiplies unsigned bytes by signed ones.
const ZERO: u8 = 128;

/// A vector quantised to a byte a number. Each number times `scale` is the original, to half a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// The value of one step.
    pub scale: f32,
    /// The numbers, from -127 to 127.
    pub numbers: Vec<i8>,
}

impl Quantised {
    /// Quantises a vector.
    ///
    /// ```
    /// use konstruct_memory::Quantised;
    ///
    /// let rounded = Quantised::new(&[1.0, -0.5, 0.0]);
    /// assert_eq!(rounded.numbers, [127, -64, 0]);
    /// ```
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the largest number becomes 127"
    )]
    pub fn new(vector: &[f32]) -> Self {
        let scale = step(vector, 127.0);
        let numbers = vector.iter().map(|at| (at / scale).round() as i8).collect();
        Self { scale, numbers }
    }
}

/// Returns the divisor of a vector's numbers by which the largest becomes `most`.
fn step(vector: &[f32], most: f32) -> f32 {
    let largest = vector
        .iter()
        .fold(0.0f32, |largest, at| largest.max(at.abs()));
    if largest > 0.0 && largest.is_finite() {
        largest / most
    } else {
        1.0
    }
}

/// Quantised vectors, each with its scale.
///
/// A score is the dot product with the question, which is the cosine for vectors of length 1. The quantisation causes an error of
/// about a hundredth, so request some more than are needed and rank those by [`dot`](super::dot). The same vectors have the same
/// scores on every processor.
/// same scores on every processor.
///
/// ```
/// use konstruct_memory::Arena;
///
/// let mut arena = Arena::new(2);
/// arena.push(&[1.0, 0.0]);
/// arena.push(&[0.6, 0.8]);
/// assert_eq!(arena.top(&[0.0, 1.0], 1)[0].0, 1);
/// ```
#[derive(Clone, Debug)]
pub struct Arena {
    dim: usize,
    /// The bytes of a row: `dim`, padded.
    stride: usize,
    scales: Vec<f32>,
    rows: Vec<u8>,
}

impl Arena {
    /// Creates an empty arena.
    ///
    /// # Panics
    /// `dim` is 0 or above 4096.
    pub fn new(dim: usize) -> Self {
        assert!(
            (1..=LARGEST).contains(&dim),
            "dim {dim} is not 1 to {LARGEST}"
        );
        Self {
            dim,
            stride: dim.next_multiple_of(STEP),
            scales: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Returns the number of dimensions.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the number of vectors. Their slots are 0 to one less.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Returns whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Returns the bytes that the vectors take.
    pub fn bytes(&self) -> usize {
        self.rows.len() + self.scales.len() * size_of::<f32>()
    }

    /// Adds a vector and returns its slot.
    ///
    /// # Panics
    /// The vector has another dimension.
    pub fn push(&mut self, vector: &[f32]) -> usize {
        self.push_quantised(&Quantised::new(vector))
    }

    /// Adds a quantised vector and returns its slot.
    ///
    /// # Panics
    /// The vector has another dimension.
    pub fn push_quantised(&mut self, vector: &Quantised) -> usize {
        self.check(vector.numbers.len());
        self.scales.push(vector.scale);
        self.rows.resize(self.scales.len() * self.stride, ZERO);
        let slot = self.len() - 1;
        self.set(slot, vector);
        slot
    }

    /// Replaces the vector of a slot.
    ///
    /// # Panics
    /// The slot does not exist, or the vector has another dimension.
    pub fn replace(&mut self, slot: usize, vector: &[f32]) {
        self.check(vector.len());
        self.set(slot, &Quantised::new(vector));
    }

    /// Removes a vector. The last vector takes its slot.
    ///
    /// # Panics
    /// The slot does not exist.
    pub fn swap_remove(&mut self, slot: usize) {
        self.scales.swap_remove(slot);
        let last = self.len() * self.stride;
        self.rows.copy_within(last.., slot * self.stride);
        self.rows.truncate(last);
    }

    /// Returns all scores, by slot.
    ///
    /// # Panics
    /// The question has another dimension.
    pub fn scores(&self, query: &[f32]) -> Vec<f32> {
        let query = self.query(query);
        let mut products = vec![0; self.len()];
        kernel::products(&query, &self.rows, &mut products);
        let scored = products.iter().zip(&self.scales);
        scored
            .map(|(product, scale)| query.score(*product, *scale))
            .collect()
    }

    /// Returns the `k` slots with the highest scores, best first. Of equal scores, the lower slot comes first.
    ///
    /// # Panics
    /// The question has another dimension.
    pub fn top(&self, query: &[f32], k: usize) -> Vec<(usize, f32)> {
        let query = self.query(query);
        let mut top = Top::new(k);
        let mut products = [0; BLOCK];
        let blocks = self
            .rows
            .chunks(BLOCK * self.stride)
            .zip(self.scales.chunks(BLOCK));
        for (block, (rows, scales)) in blocks.enumerate() {
            let products = &mut products[..scales.len()];
            kernel::products(&query, rows, products);
            for (at, (product, scale)) in products.iter().zip(scales).enumerate() {
                top.offer(block * BLOCK + at, query.score(*product, *scale));
            }
        }
        top.into_sorted()
    }

    fn set(&mut self, slot: usize, vector: &Quantised) {
        self.scales[slot] = vector.scale;
        let row = &mut self.rows[slot * self.stride..][..self.dim];
        let numbers = vector.numbers.iter();
        row.iter_mut()
            .zip(numbers)
            .for_each(|(to, from)| *to = from.cast_unsigned() ^ ZERO);
    }

    fn query(&self, query: &[f32]) -> Query {
        self.check(query.len());
        Query::new(query, self.stride)
    }

    #[cfg(test)]
    pub(super) fn parts(&self, query: &[f32]) -> (Query, &[u8]) {
        (self.query(query), &self.rows)
    }

    fn check(&self, dim: usize) {
        assert_eq!(dim, self.dim, "a vector is of another dimension");
    }
}

/// A question, quantised 32 times finer than the vectors, so that its own error is negligible.
#[derive(Debug)]
pub(super) struct Query {
    scale: f32,
    /// The numbers, and their two parts: 32 times the coarse plus the fine.
    pub(super) whole: Vec<i16>,
    pub(super) coarse: Vec<i8>,
    pub(super) fine: Vec<i8>,
    /// The excess of a product, because zero is stored as 128 in the rows.
    pub(super) excess: i32,
}

impl Query {
    /// The fine steps of a coarse one.
    pub(super) const FINER: i16 = 32;

    #[expect(clippy::cast_possible_truncation, reason = "at most 127 times 32")]
    fn new(query: &[f32], stride: usize) -> Self {
        let scale = step(query, 127.0 * f32::from(Self::FINER));
        let mut whole: Vec<i16> = query.iter().map(|at| (at / scale).round() as i16).collect();
        whole.resize(stride, 0);
        let half = Self::FINER / 2;
        let coarse = |at: &i16| (at + half).div_euclid(Self::FINER);
        Self {
            scale,
            coarse: whole.iter().map(|at| coarse(at) as i8).collect(),
            fine: whole
                .iter()
                .map(|at| (at - coarse(at) * Self::FINER) as i8)
                .collect(),
            excess: whole
                .iter()
                .map(|at| i32::from(*at) * i32::from(ZERO))
                .sum(),
            whole,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "seven digits are enough for a score"
    )]
    fn score(&self, product: i32, scale: f32) -> f32 {
        product as f32 * (self.scale * scale)
    }
}

/// Exact vectors: four times the bytes of an [`Arena`], without quantisation.
#[derive(Clone, Debug)]
pub struct Flat {
    dim: usize,
    rows: Vec<f32>,
}

impl Flat {
    /// Creates an empty store.
    ///
    /// # Panics
    /// `dim` is 0.
    pub fn new(dim: usize) -> Self {
        assert!(dim > 0, "dim is 0");
        let rows = Vec::new();
        Self { dim, rows }
    }

    /// Adds a vector.
    ///
    /// # Panics
    /// The vector has another dimension.
    pub fn push(&mut self, vector: &[f32]) {
        assert_eq!(vector.len(), self.dim, "a vector is of another dimension");
        self.rows.extend(vector);
    }

    /// Returns the `k` vectors with the highest scores, best first. Of equal scores, the earlier one comes first.
    ///
    /// # Panics
    /// The question has another dimension.
    pub fn top(&self, query: &[f32], k: usize) -> Vec<(usize, f32)> {
        assert_eq!(query.len(), self.dim, "a vector is of another dimension");
        let mut top = Top::new(k);
        let mut scores = [0.0; BLOCK];
        for (block, rows) in self.rows.chunks(BLOCK * self.dim).enumerate() {
            let scores = &mut scores[..rows.len() / self.dim];
            kernel::dots(query, rows, scores);
            for (at, score) in scores.iter().enumerate() {
                top.offer(block * BLOCK + at, *score);
            }
        }
        top.into_sorted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::dot;

    /// Returns a pseudo-random vector of length 1.
    fn vector(dim: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..20).for_each(|_| _ = next());
        let raw: Vec<f32> = (0..dim).map(|_| next()).collect();
        let length = dot(&raw, &raw).sqrt();
        raw.iter().map(|at| at / length).collect()
    }

    #[test]
    fn scores_are_the_cosines_to_a_hundredth() {
        for dim in [16, 63, 64, 65, 100, 256, 384, 1536, 4096] {
            let mut arena = Arena::new(dim);
            let vectors: Vec<Vec<f32>> = (0..50).map(|seed| vector(dim, seed)).collect();
            for (slot, vector) in vectors.iter().enumerate() {
                assert_eq!(arena.push(vector), slot);
            }
            let query = vector(dim, 7);
            for (score, vector) in arena.scores(&query).iter().zip(&vectors) {
                let cosine: f32 = query.iter().zip(vector).map(|(a, b)| a * b).sum();
                assert!((score - cosine).abs() < 0.01, "{dim}: {score} {cosine}");
            }
            assert_eq!(
                arena.top(&query, 1)[0].0,
                7,
                "{dim}: its own vector is the nearest"
            );
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        for sign in [1.0, -1.0] {
            let flat = vec![1.0 / 64.0; 4096];
            let mut arena = Arena::new(4096);
            arena.push(&flat.iter().map(|at| at * sign).collect::<Vec<_>>());
            let score = arena.scores(&flat)[0];
            assert!((score - sign).abs() < 1e-4, "{score}");
        }
    }

    #[test]
    fn the_top_is_what_a_full_sort_gives() {
        let mut arena = Arena::new(32);
        // Each vector twice: the lower slot of two equal ones comes first.
        (0..1000).for_each(|seed| _ = arena.push(&vector(32, seed % 500)));
        let query = vector(32, 9999);
        let mut sorted: Vec<(usize, f32)> = arena.scores(&query).into_iter().enumerate().collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for k in [0, 1, 10, 257, 1000, 2000] {
            assert_eq!(arena.top(&query, k), sorted[..k.min(1000)], "{k}");
        }
    }

    #[test]
    fn replaced_and_removed_is_gone() {
        let vectors: Vec<Vec<f32>> = (0..4).map(|seed| vector(3, seed)).collect();
        let mut arena = Arena::new(3);
        vectors.iter().for_each(|vector| _ = arena.push(vector));
        let scores = |arena: &Arena| arena.scores(&[1.0, 0.0, 0.0]);
        let before = scores(&arena);
        arena.swap_remove(1);
        assert_eq!(scores(&arena), [before[0], before[3], before[2]]);
        arena.swap_remove(2);
        assert_eq!(scores(&arena), [before[0], before[3]]);
        arena.replace(0, &vectors[2]);
        assert_eq!(scores(&arena), [before[2], before[3]]);
        arena.swap_remove(0);
        arena.swap_remove(0);
        assert!(arena.is_empty() && scores(&arena).is_empty() && arena.bytes() == 0);
    }

    #[test]
    fn vectors_without_direction_score_nothing() {
        let mut arena = Arena::new(2);
        arena.push(&[0.0, 0.0]);
        assert_eq!(arena.scores(&[1.0, 0.0]), [0.0]);
        assert_eq!(arena.scores(&[0.0, 0.0]), [0.0]);
        assert!(arena.top(&[f32::NAN, 1.0], 1).len() <= 1);
    }

    #[test]
    fn flat_agrees_with_one_by_one() {
        let mut flat = Flat::new(384);
        (0..600).for_each(|seed| flat.push(&vector(384, seed)));
        let query = vector(384, 599);
        let mut sorted: Vec<(usize, f32)> = (0..600)
            .map(|seed| dot(&query, &vector(384, seed as u64)))
            .enumerate()
            .collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        assert_eq!(flat.top(&query, 10), sorted[..10]);
        assert_eq!(sorted[0].0, 599);
    }
}
