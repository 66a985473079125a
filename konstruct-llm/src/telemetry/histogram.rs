//! A histogram in Prometheus's text format.

use std::fmt::Write as _;

/// Counts by upper bounds, as in Prometheus: each bucket counts all values that do not exceed its bound.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    pub(super) fn observe(&mut self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at] += 1;
        self.sum += value;
    }

    /// Writes the samples of one set of labels, such as `a="b"`.
    pub(super) fn write(&self, name: &str, labels: &str, out: &mut String) {
        let mut below = 0;
        let bounds = self.bounds.iter().map(f64::to_string);
        for (bound, count) in bounds.chain(["+Inf".into()]).zip(&self.counts) {
            below += count;
            let _infallible = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let _infallible = writeln!(
            out,
            "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {below}",
            self.sum
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_not_above_them() {
        let mut histogram = Histogram::new(&[1.0, 4.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.observe(value);
        }
        let mut text = String::new();
        histogram.write("tokens", "model=\"m\"", &mut text);
        assert_eq!(
            text,
            "tokens_bucket{model=\"m\",le=\"1\"} 2\n\
             tokens_bucket{model=\"m\",le=\"4\"} 3\n\
             tokens_bucket{model=\"m\",le=\"+Inf\"} 4\n\
             tokens_sum{model=\"m\"} 12\n\
             tokens_count{model=\"m\"} 4\n"
        );
    }
}
