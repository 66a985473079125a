//! The forward pass of a small BERT over short texts, and the mean of each text's tokens.
//!
//! Sums use fixed lanes in a fixed order, so that the same weights give the same numbers with any number of threads.

use super::Weights;
use crate::Failed;

/// The width of the hidden states.
const WIDTH: usize = 384;
/// The inner width of a feed-forward layer.
const INNER: usize = 1536;
const LAYERS: usize = 6;
const HEADS: usize = 12;
const HEAD: usize = WIDTH / HEADS;
const EPSILON: f32 = 1e-12;

/// A sentence encoder of the shape of all-MiniLM-L6-v2.
#[derive(Debug)]
pub struct Encoder {
    tokens: Vec<f32>,
    positions: Vec<f32>,
    kind: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

impl Encoder {
    /// The width of the vectors from [`Encoder::encode`].
    pub const WIDTH: usize = WIDTH;

    /// Loads the encoder's weights.
    ///
    /// # Errors
    /// A tensor is missing or has another size.
    pub fn new(weights: &Weights, vocabulary: usize) -> Result<Self, Failed> {
        let table = |name: &str, rows: usize| {
            weights.tensor(
                &format!("embeddings.{name}_embeddings.weight"),
                rows * WIDTH,
            )
        };
        Ok(Self {
            tokens: table("word", vocabulary)?,
            positions: table("position", 512)?,
            kind: table("token_type", 2)?,
            norm: Norm::new(weights, "embeddings.LayerNorm")?,
            layers: (0..LAYERS)
                .map(|layer| Layer::new(weights, layer))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Encodes texts with the same number of tokens, including the special tokens at both ends. Returns rows of
    /// [`Encoder::WIDTH`] numbers.
    pub fn encode(&self, texts: &[Vec<usize>]) -> Vec<f32> {
        let length = texts.first().map_or(1, Vec::len);
        let mut states = Vec::with_capacity(texts.len() * length * WIDTH);
        for text in texts {
            for (position, id) in text.iter().enumerate() {
                let row = &self.tokens[id * WIDTH..][..WIDTH];
                let place = &self.positions[position * WIDTH..][..WIDTH];
                let sum = row.iter().zip(place).zip(&self.kind);
                states.extend(sum.map(|((row, place), kind)| row + place + kind));
            }
        }
        self.norm.apply(&mut states);
        for layer in &self.layers {
            layer.apply(&mut states, length);
        }
        let mean = |text: &[f32]| -> Vec<f32> {
            let each = |at: usize| {
                (0..length)
                    .map(|token| text[token * WIDTH + at])
                    .sum::<f32>()
            };
            (0..WIDTH).map(|at| each(at) / length as f32).collect()
        };
        states.chunks_exact(length * WIDTH).flat_map(mean).collect()
    }
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    after_attention: Norm,
    widen: Linear,
    narrow: Linear,
    after_all: Norm,
}

impl Layer {
    fn new(weights: &Weights, layer: usize) -> Result<Self, Failed> {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let square = |part: &str| Linear::new(weights, &name(part), WIDTH, WIDTH);
        Ok(Self {
            query: square("attention.self.query")?,
            key: square("attention.self.key")?,
            value: square("attention.self.value")?,
            out: square("attention.output.dense")?,
            after_attention: Norm::new(weights, &name("attention.output.LayerNorm"))?,
            widen: Linear::new(weights, &name("intermediate.dense"), WIDTH, INNER)?,
            narrow: Linear::new(weights, &name("output.dense"), INNER, WIDTH)?,
            after_all: Norm::new(weights, &name("output.LayerNorm"))?,
        })
    }

    fn apply(&self, states: &mut [f32], length: usize) {
        let mixed = attention(
            length,
            &self.query.apply(states),
            &self.key.apply(states),
            &self.value.apply(states),
        );
        add(states, &self.out.apply(&mixed));
        self.after_attention.apply(states);
        let mut inner = self.widen.apply(states);
        inner.iter_mut().for_each(|number| *number = gelu(*number));
        add(states, &self.narrow.apply(&inner));
        self.after_all.apply(states);
    }
}

/// Multi-head self-attention within each text.
fn attention(length: usize, query: &[f32], key: &[f32], value: &[f32]) -> Vec<f32> {
    let mut mixed = vec![0.0; query.len()];
    let scale = 1.0 / (HEAD as f32).sqrt();
    for start in (0..query.len()).step_by(length * WIDTH) {
        for (head, token) in (0..HEADS).flat_map(|head| (0..length).map(move |token| (head, token)))
        {
            let at = |token: usize| start + token * WIDTH + head * HEAD;
            let row = &query[at(token)..][..HEAD];
            let mut shares: Vec<f32> = (0..length)
                .map(|other| scale * sum(row, &key[at(other)..][..HEAD]))
                .collect();
            let most = shares.iter().copied().fold(f32::MIN, f32::max);
            shares
                .iter_mut()
                .for_each(|share| *share = (*share - most).exp());
            let whole: f32 = shares.iter().sum();
            for (other, share) in shares.into_iter().enumerate() {
                let from = &value[at(other)..][..HEAD];
                let to = mixed[at(token)..][..HEAD].iter_mut();
                to.zip(from)
                    .for_each(|(to, from)| *to += share / whole * from);
            }
        }
    }
    mixed
}

/// A matrix with a row for each output, and a bias for each output.
#[derive(Debug)]
struct Linear {
    inputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    fn new(weights: &Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self, Failed> {
        Ok(Self {
            inputs,
            weight: weights.tensor(&format!("{name}.weight"), inputs * outputs)?,
            bias: weights.tensor(&format!("{name}.bias"), outputs)?,
        })
    }

    /// The rows multiplied at once, so that a row of weights is read once for all of them.
    const ROWS: usize = 4;

    fn apply(&self, states: &[f32]) -> Vec<f32> {
        let outputs = self.bias.len();
        let mut result = vec![0.0; states.len() / self.inputs * outputs];
        let blocks = states.chunks(Self::ROWS * self.inputs);
        for (rows, out) in blocks.zip(result.chunks_mut(Self::ROWS * outputs)) {
            let weights = self.weight.chunks_exact(self.inputs);
            for (at, (weight, bias)) in weights.zip(&self.bias).enumerate() {
                for (row, out) in rows.chunks(self.inputs).zip(out.chunks_mut(outputs)) {
                    out[at] = bias + sum(row, weight);
                }
            }
        }
        result
    }
}

#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Norm {
    fn new(weights: &Weights, name: &str) -> Result<Self, Failed> {
        Ok(Self {
            weight: weights.tensor(&format!("{name}.weight"), WIDTH)?,
            bias: weights.tensor(&format!("{name}.bias"), WIDTH)?,
        })
    }

    fn apply(&self, states: &mut [f32]) {
        for row in states.chunks_exact_mut(WIDTH) {
            let mean = row.iter().sum::<f32>() / WIDTH as f32;
            row.iter_mut().for_each(|number| *number -= mean);
            let spread = 1.0 / (sum(row, row) / WIDTH as f32 + EPSILON).sqrt();
            for ((number, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                *number = *number * spread * weight + bias;
            }
        }
    }
}

fn add(states: &mut [f32], more: &[f32]) {
    states
        .iter_mut()
        .zip(more)
        .for_each(|(state, more)| *state += more);
}

/// Returns the dot product over fixed lanes, which the compiler vectorises without changing the order.
fn sum(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.as_chunks::<LANES>().0, b.as_chunks::<LANES>().0);
    for (a, b) in a.iter().zip(b) {
        for at in 0..LANES {
            lanes[at] += a[at] * b[at];
        }
    }
    lanes.iter().sum()
}

fn gelu(number: f32) -> f32 {
    let wide = f64::from(number);
    (0.5 * wide * (1.0 + error_function(wide / std::f64::consts::SQRT_2))) as f32
}

/// The error function, to seven digits (Abramowitz and Stegun, 7.1.26).
fn error_function(x: f64) -> f64 {
    const TERMS: [f64; 5] = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ];
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = TERMS.iter().fold(0.0, |sum, term| sum * t + term) * t;
    (1.0 - series * (-x * x).exp()).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_matches_the_tables() {
        for (x, value) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (2.0, 0.995_322_265_0),
        ] {
            assert!((error_function(x) - value).abs() < 2e-7, "{x}");
            assert!((error_function(-x) + value).abs() < 2e-7, "-{x}");
        }
    }

    #[test]
    fn equal_keys_get_equal_attention() {
        let (query, key) = (vec![0.5; 3 * WIDTH], vec![0.25; 3 * WIDTH]);
        let value: Vec<f32> = [0.0, 3.0, 6.0]
            .iter()
            .flat_map(|at| vec![*at; WIDTH])
            .collect();
        let mixed = attention(3, &query, &key, &value);
        assert!(mixed.iter().all(|number| (number - 3.0).abs() < 1e-5));
    }
}
