//! The file format of the table, which the documentation of `konstruct-embed-data` describes.

use super::Piece;

/// Serializes a table.
pub fn write(pieces: &[Piece], rows: &[Vec<f64>]) -> Vec<u8> {
    let width = rows.first().map_or(0, Vec::len);
    let names: Vec<&str> = pieces.iter().map(|piece| &*piece.text).collect();
    let names = names.join("\n");
    let mut file = b"kstatic2".to_vec();
    for size in [rows.len(), width, names.len()] {
        file.extend((size as u32).to_le_bytes());
    }
    for piece in pieces {
        file.extend(piece.score.to_le_bytes());
    }
    let scales: Vec<f64> = rows.iter().map(|row| scale(row)).collect();
    for scale in &scales {
        file.extend((*scale as f32).to_le_bytes());
    }
    for (row, scale) in rows.iter().zip(&scales) {
        let steps = row.iter().map(|at| (rounded(at / scale) + 8) as u8);
        let steps: Vec<u8> = steps.collect();
        let (pairs, _) = steps.as_chunks::<2>();
        file.extend(pairs.iter().map(|[low, high]| low | high << 4));
    }
    file.extend(names.into_bytes());
    file
}

/// Returns the scale of a row: its largest number becomes 7.
fn scale(row: &[f64]) -> f64 {
    let largest = row
        .iter()
        .fold(0.0, |largest: f64, at| largest.max(at.abs()));
    if largest > 0.0 { largest / 7.0 } else { 1.0 }
}

/// Rounds to an integer. What is a half within the error of the sums that led to it is rounded away from zero, so that the result
/// does not depend on their order.
fn rounded(steps: f64) -> i8 {
    (steps + 1e-5f64.copysign(steps)).round() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_to_half_a_step() {
        let pieces = ["a", "b"].map(|text| Piece {
            text: text.into(),
            score: -1.0,
        });
        let file = write(&pieces, &[vec![1.0, -0.5], vec![0.0, 0.0]]);
        assert_eq!(&file[..8], b"kstatic2");
        assert_eq!(file[8..20], [2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(file[20..28], [0, 0, 128, 191, 0, 0, 128, 191]);
        let scale = f32::from_le_bytes(file[28..32].try_into().unwrap());
        assert!((scale * 7.0 - 1.0).abs() < 1e-6);
        assert_eq!(file[36..], [15 | 4 << 4, 8 | 8 << 4, b'a', b'\n', b'b']);
    }

    #[test]
    fn what_is_nearly_a_half_is_rounded_away_from_zero() {
        for (steps, expected) in [
            (-0.499_995, -1),
            (0.499_995, 1),
            (0.4999, 0),
            (-6.6, -7),
            (7.0, 7),
        ] {
            assert_eq!(rounded(steps), expected, "{steps}");
        }
    }
}
