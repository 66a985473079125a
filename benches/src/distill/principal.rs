//! Principal component analysis: the eigenvectors of the rows' covariance.

/// The principal directions of some rows.
#[derive(Debug)]
pub struct Principal {
    mean: Vec<f64>,
    /// A direction in each row, the strongest first.
    directions: Vec<Vec<f64>>,
    /// The share of the rows' variance in these directions, from 0 to 1.
    pub share: f64,
}

impl Principal {
    /// Finds the `keep` strongest directions of rows of `width` numbers.
    pub fn of(rows: &[f32], width: usize, keep: usize) -> Self {
        let count = (rows.len() / width) as f64;
        let mut mean = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(mean, at)| *mean += f64::from(*at) / count);
        }
        let mut covariance = vec![vec![0.0; width]; width];
        let mut centred = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            for ((to, from), mean) in centred.iter_mut().zip(row).zip(&mean) {
                *to = f64::from(*from) - mean;
            }
            for (line, at) in covariance.iter_mut().zip(&centred) {
                line.iter_mut()
                    .zip(&centred)
                    .for_each(|(sum, other)| *sum += at * other / count);
            }
        }
        let mut found = eigen(covariance);
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let whole: f64 = found.iter().map(|(value, _)| value).sum();
        found.truncate(keep);
        Self {
            mean,
            share: found.iter().map(|(value, _)| value).sum::<f64>() / whole,
            directions: found
                .into_iter()
                .map(|(_, direction)| signed(direction))
                .collect(),
        }
    }

    /// Returns the coordinates of a row along the directions, relative to the rows' mean.
    pub fn project(&self, row: &[f32]) -> Vec<f64> {
        let along = |direction: &Vec<f64>| {
            let steps = direction.iter().zip(row).zip(&self.mean);
            steps
                .map(|((along, at), mean)| along * (f64::from(*at) - mean))
                .sum()
        };
        self.directions.iter().map(along).collect()
    }
}

/// Normalises the sign of a direction: its largest number becomes positive.
fn signed(mut direction: Vec<f64>) -> Vec<f64> {
    let largest = direction
        .iter()
        .copied()
        .max_by(|a, b| a.abs().total_cmp(&b.abs()));
    if largest.is_some_and(|largest| largest < 0.0) {
        direction.iter_mut().for_each(|at| *at = -*at);
    }
    direction
}

/// Returns the eigenvalues and eigenvectors of a symmetric matrix, by Jacobi rotations.
fn eigen(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    const SWEEPS: usize = 30;
    let size = matrix.len();
    // A row is a vector.
    let mut vectors: Vec<Vec<f64>> = (0..size)
        .map(|row| (0..size).map(|at| f64::from(u8::from(at == row))).collect())
        .collect();
    let scale: f64 = (0..size).map(|at| matrix[at][at].abs()).sum();
    for _ in 0..SWEEPS {
        let mut off = 0.0;
        for p in 0..size {
            for q in p + 1..size {
                off += matrix[p][q].abs();
                if matrix[p][q].abs() > f64::EPSILON * scale * 1e-3 {
                    rotate(&mut matrix, &mut vectors, p, q);
                }
            }
        }
        if off <= scale * 1e-12 {
            break;
        }
    }
    let values = (0..size).map(|at| matrix[at][at]).collect::<Vec<_>>();
    values.into_iter().zip(vectors).collect()
}

/// Makes the number at (p, q) zero.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    let turn = |a: &mut f64, b: &mut f64| {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    };
    for rows in [&mut *matrix, vectors] {
        let (above, below) = rows.split_at_mut(q);
        above[p]
            .iter_mut()
            .zip(&mut below[0])
            .for_each(|(a, b)| turn(a, b));
    }
    for row in matrix {
        let (left, right) = row.split_at_mut(q);
        turn(&mut left[p], &mut right[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_matrix_has_its_known_values() {
        let matrix = vec![
            vec![2.0, 1.0, 0.0],
            vec![1.0, 2.0, 0.0],
            vec![0.0, 0.0, 5.0],
        ];
        let mut found = eigen(matrix.clone());
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        for ((value, vector), expected) in found.iter().zip([5.0, 3.0, 1.0]) {
            assert!((value - expected).abs() < 1e-9, "{value}");
            for (row, at) in matrix.iter().zip(vector) {
                let product: f64 = row.iter().zip(vector).map(|(a, b)| a * b).sum();
                assert!((product - value * at).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_strongest_direction_is_the_one_rows_lie_along() {
        let rows: Vec<f32> = (0..100u8)
            .flat_map(|at| [f32::from(at), 2.0 * f32::from(at), f32::from(at % 2)])
            .collect();
        let principal = Principal::of(&rows, 3, 1);
        assert!(principal.share > 0.99);
        let (low, high) = (
            principal.project(&rows[..3])[0],
            principal.project(&rows[297..])[0],
        );
        assert!(
            (high - low - 99.0 * 5.0f64.sqrt()).abs() < 0.1,
            "{low} {high}"
        );
    }
}
