use std::{hint::black_box, time::Instant};

use konstruct_memory::dot;

use crate::dice::Dice;

/// The number of requested vectors.
pub const TOP: usize = 10;
/// The number of candidates that are rescored.
pub const POOL: usize = 30;
/// The number of questions, and of rounds of each.
const QUERIES: usize = 40;
const ROUNDS: usize = 15;
/// The number of rows of a cluster, and their distance from its centre.
const CLUSTER: usize = 50;
const SPREAD: f32 = 0.8;

/// Vectors of length 1, and questions near some of them.
#[derive(Debug)]
pub struct Vectors {
    /// The dimension of a vector.
    pub dim: usize,
    /// All vectors, concatenated.
    pub numbers: Vec<f32>,
    /// The questions.
    pub queries: Vec<Vec<f32>>,
}

/// The latency of a question, and the results of each.
#[derive(Debug)]
pub struct Timed {
    /// Milliseconds: the mean over the questions of the best round.
    pub ms: f64,
    /// The found slots, a list for each question.
    pub found: Vec<Vec<usize>>,
}

impl Vectors {
    /// Generates seeded vectors.
    pub fn new(size: usize, dim: usize) -> Self {
        let mut dice = Dice::new(size as u64);
        let mut near = |middle: &[f32], spread: f32| {
            let scale = spread / (dim as f32).sqrt();
            unit(
                middle
                    .iter()
                    .map(|at| at + scale * normal(&mut dice))
                    .collect(),
            )
        };
        let nowhere = vec![0.0; dim];
        let mut numbers = Vec::with_capacity(size * dim);
        let mut middle = Vec::new();
        for at in 0..size {
            if at % CLUSTER == 0 {
                middle = near(&nowhere, 1.0);
            }
            numbers.extend(near(&middle, SPREAD));
        }
        let queries = (0..QUERIES).map(|at| {
            let row = at * (size / QUERIES).max(1) % size;
            near(&numbers[row * dim..][..dim], SPREAD)
        });
        let queries = queries.collect();
        Self {
            dim,
            numbers,
            queries,
        }
    }

    /// Returns the number of vectors.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.dim
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Returns the vectors in order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.dim)
    }

    /// Ranks candidates by the exact vectors.
    pub fn rescored(&self, found: Vec<(usize, f32)>, query: &[f32]) -> Vec<(usize, f32)> {
        let score = |slot: usize| dot(query, &self.numbers[slot * self.dim..][..self.dim]);
        let mut scored: Vec<(usize, f32)> = found
            .into_iter()
            .map(|(slot, _)| (slot, score(slot)))
            .collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored.truncate(TOP);
        scored
    }

    /// Returns the milliseconds to read all vectors once.
    pub fn read_floats(&self) -> f64 {
        fastest(|| {
            let mut sums = [0u32; 64];
            for part in self.numbers.as_chunks::<64>().0 {
                for (sum, number) in sums.iter_mut().zip(part) {
                    *sum ^= number.to_bits();
                }
            }
            black_box(sums);
        })
    }
}

/// Returns the milliseconds to read this many bytes once, measured like a search.
pub fn read_bytes(bytes: usize) -> f64 {
    let words = vec![1u64; bytes / 8];
    fastest(|| {
        let mut sums = [0u64; 32];
        for part in words.as_chunks::<32>().0 {
            for (sum, word) in sums.iter_mut().zip(part) {
                *sum ^= word;
            }
        }
        black_box(sums);
    })
}

fn fastest(mut work: impl FnMut()) -> f64 {
    let once = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        begin.elapsed().as_secs_f64() * 1e3
    };
    (0..QUERIES)
        .map(|_| once(&mut work))
        .fold(f64::MAX, f64::min)
}

/// Asks every question several times.
pub fn best(queries: &[Vec<f32>], search: impl Fn(&[f32]) -> Vec<(usize, f32)>) -> Timed {
    let mut times = vec![f64::MAX; queries.len()];
    let mut found = vec![Vec::new(); queries.len()];
    for _ in 0..ROUNDS {
        for ((query, time), found) in queries.iter().zip(&mut times).zip(&mut found) {
            let begin = Instant::now();
            let hits = search(query);
            *time = time.min(begin.elapsed().as_secs_f64() * 1e3);
            *found = hits.into_iter().map(|(slot, _)| slot).collect();
        }
    }
    let ms = times.iter().sum::<f64>() / times.len() as f64;
    Timed { ms, found }
}

/// Returns the share of the exact results that was found.
pub fn agreement(exact: &[Vec<usize>], other: &[Vec<usize>]) -> f64 {
    let hits = exact
        .iter()
        .zip(other)
        .map(|(exact, other)| exact.iter().filter(|slot| other.contains(slot)).count());
    let wanted: usize = exact.iter().map(Vec::len).sum();
    hits.sum::<usize>() as f64 / wanted.max(1) as f64
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt().max(f32::MIN_POSITIVE);
    vector.into_iter().map(|at| at / length).collect()
}

/// Approximately normal: the sum of twelve uniform numbers.
fn normal(dice: &mut Dice) -> f32 {
    (0..12)
        .map(|_| (dice.roll() >> 40) as f32 / (1u64 << 24) as f32)
        .sum::<f32>()
        - 6.0
}
