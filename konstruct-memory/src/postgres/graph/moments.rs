//! The means of vectors and of their products, from which the mean and deviation of their cosines with any question follow.

/// Sums over vectors of one dimension.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    dim: usize,
    count: u64,
    sum: Vec<f64>,
    /// For each component of a vector, the sums of its products with the components from it on.
    products: Vec<Vec<f64>>,
}

impl Moments {
    pub(super) fn new(dim: usize) -> Self {
        Self {
            dim,
            count: 0,
            sum: vec![0.0; dim],
            products: (0..dim).map(|from| vec![0.0; dim - from]).collect(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn add(&mut self, vector: &[f32]) {
        let wide: Vec<f64> = vector.iter().map(|at| f64::from(*at)).collect();
        for (sum, at) in self.sum.iter_mut().zip(&wide) {
            *sum += at;
        }
        for (from, row) in self.products.iter_mut().enumerate() {
            let Some((factor, _)) = wide.get(from..).and_then(<[f64]>::split_first) else {
                return;
            };
            for (sum, at) in row.iter_mut().zip(&wide[from..]) {
                *sum += factor * at;
            }
        }
        self.count += 1;
    }

    /// Returns the rows in order: the mean, and the means of the products with each component.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "means of numbers that are f32"
    )]
    pub(super) fn rows(&self) -> Vec<f32> {
        let count = (self.count as f64).max(1.0);
        let mut rows: Vec<f32> = self.sum.iter().map(|sum| (sum / count) as f32).collect();
        for row in 0..self.dim {
            for column in 0..self.dim {
                let (less, more) = (row.min(column), row.max(column));
                rows.push((self.products[less][more - less] / count) as f32);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_products_follow() {
        let mut moments = Moments::new(2);
        moments.add(&[1.0, 2.0]);
        moments.add(&[3.0, -2.0]);
        assert_eq!(moments.count(), 2);
        // (1 + 3) / 2, (2 - 2) / 2; 1 + 9, 2 - 6; 2 - 6, 4 + 4, each divided by 2.
        assert_eq!(moments.rows(), [2.0, 0.0, 5.0, -2.0, -2.0, 4.0]);
    }
}
