//! The file of a static table, as `konstruct-memory` reads it.

/// Serializes a table: the format mark; the numbers of rows, numbers a row and bytes of tokens; the scale of each row; the rows,
/// a byte a number; the tokens, one a line. Numbers are little-endian.
pub fn write(tokens: &[&str], rows: &[Vec<f64>]) -> Vec<u8> {
    let width = rows.first().map_or(0, Vec::len);
    let names = tokens.join("\n");
    let mut file = b"kstatic1".to_vec();
    for size in [rows.len(), width, names.len()] {
        file.extend((size as u32).to_le_bytes());
    }
    let scales: Vec<f64> = rows.iter().map(|row| scale(row)).collect();
    for scale in &scales {
        file.extend((*scale as f32).to_le_bytes());
    }
    for (row, scale) in rows.iter().zip(&scales) {
        file.extend(row.iter().map(|at| (at / scale).round() as i8 as u8));
    }
    file.extend(names.into_bytes());
    file
}

/// Returns the scale of a row: its largest number becomes 127.
fn scale(row: &[f64]) -> f64 {
    let largest = row
        .iter()
        .fold(0.0, |largest: f64, at| largest.max(at.abs()));
    if largest > 0.0 { largest / 127.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_to_half_a_step() {
        let file = write(&["a", "b"], &[vec![1.0, -0.5], vec![0.0, 0.0]]);
        assert_eq!(&file[..8], b"kstatic1");
        assert_eq!(file[8..20], [2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
        let scale = f32::from_le_bytes(file[20..24].try_into().unwrap());
        assert!((scale * 127.0 - 1.0).abs() < 1e-6);
        assert_eq!(
            file[28..30].iter().map(|at| *at as i8).collect::<Vec<_>>(),
            [127, -64]
        );
        assert_eq!(&file[30..], [0, 0, b'a', b'\n', b'b']);
    }
}
