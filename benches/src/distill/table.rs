//! The file format of the table, which the documentation of `konstruct-embed-data` describes.

use super::Piece;

/// Serializes a table.
///
/// # Panics
/// Two pieces are equal.
pub fn write(pieces: &[Piece], rows: &[Vec<f64>]) -> Vec<u8> {
    let width = rows.first().map_or(0, Vec::len);
    let mut ids: Vec<usize> = (0..pieces.len()).collect();
    ids.sort_unstable_by_key(|id| &pieces[*id].text);
    let names: Vec<&str> = ids.iter().map(|id| &*pieces[*id].text).collect();
    assert!(
        names.windows(2).all(|pair| pair[0] < pair[1]),
        "two pieces are equal"
    );
    let lowest = pieces.iter().map(|piece| piece.score).fold(0.0, f32::min);

    let mut file = b"kstatic3".to_vec();
    for size in [rows.len(), width] {
        file.extend((size as u32).to_le_bytes());
    }
    file.extend(lowest.to_le_bytes());
    let mut end = 0;
    for name in &names {
        end += name.len() as u32;
        file.extend(end.to_le_bytes());
    }
    for prefix in prefixes(&names) {
        file.extend(prefix.to_le_bytes());
    }
    for id in &ids {
        file.extend(pieces[*id].score.to_le_bytes());
    }
    let scales: Vec<f64> = ids.iter().map(|id| scale(&rows[*id])).collect();
    for scale in &scales {
        file.extend((*scale as f32).to_le_bytes());
    }
    for (id, scale) in ids.iter().zip(&scales) {
        let steps = rows[*id].iter().map(|at| (rounded(at / scale) + 8) as u8);
        let steps: Vec<u8> = steps.collect();
        let (pairs, _) = steps.as_chunks::<2>();
        file.extend(pairs.iter().map(|[low, high]| low | high << 4));
    }
    for id in &ids {
        file.extend((*id as u32).to_le_bytes());
    }
    file.extend(names.concat().into_bytes());
    file
}

/// Returns for each sorted piece how far before it the longest other piece is that is a prefix of it; 0 if there is none.
fn prefixes(names: &[&str]) -> Vec<u32> {
    // The chain of prefixes of the piece before.
    let mut chain: Vec<usize> = Vec::new();
    let mut prefixes = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        while chain
            .last()
            .is_some_and(|last| !name.starts_with(names[*last]))
        {
            chain.pop();
        }
        prefixes.push(chain.last().map_or(0, |last| (at - last) as u32));
        chain.push(at);
    }
    prefixes
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
        let pieces = [("b", -1.0), ("a", -2.0)].map(|(text, score)| Piece {
            text: text.into(),
            score,
        });
        let file = write(&pieces, &[vec![1.0, -0.5], vec![0.0, 0.0]]);
        assert_eq!(&file[..8], b"kstatic3");
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let float = |at: usize| f32::from_bits(number(at));
        assert_eq!([number(8), number(12)], [2, 2]);
        assert_eq!(float(16), -2.0);
        assert_eq!([number(20), number(24)], [1, 2], "ends");
        assert_eq!([number(28), number(32)], [0, 0], "prefixes");
        assert_eq!([float(36), float(40)], [-2.0, -1.0]);
        assert!((float(48) * 7.0 - 1.0).abs() < 1e-6);
        assert_eq!(file[52..54], [8 | 8 << 4, 15 | 4 << 4]);
        assert_eq!([number(54), number(58)], [1, 0], "ids");
        assert_eq!(file[62..], *b"ab");
    }

    #[test]
    fn a_piece_leads_to_its_longest_prefix() {
        let names = ["a", "ab", "abc", "abd", "b", "bcd"];
        assert_eq!(prefixes(&names), [0, 1, 1, 2, 0, 1]);
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
