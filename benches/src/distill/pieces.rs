//! Reads the vocabulary of a SentencePiece model, a protocol buffer: the field 1 of the file repeats the pieces, each with its
//! text in field 1 and its log-probability in field 2.

use crate::Failed;

/// A piece of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its text; `▁` stands for a space.
    pub text: String,
    /// The natural logarithm of its probability.
    pub score: f32,
}

/// Returns the pieces in the order of their ids.
///
/// # Errors
/// The file is malformed.
pub fn pieces(file: &[u8]) -> Result<Vec<Piece>, Failed> {
    let mut pieces = Vec::new();
    for (number, value) in fields(file)? {
        if number == 1 {
            let mut piece = Piece {
                text: String::new(),
                score: 0.0,
            };
            for (number, value) in fields(value)? {
                match number {
                    1 => piece.text = String::from_utf8(value.to_vec())?,
                    2 => piece.score = f32::from_le_bytes(value.try_into()?),
                    _ => {}
                }
            }
            pieces.push(piece);
        }
    }
    Ok(pieces)
}

/// Returns the fields of a message: numbers and bytes.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, &[u8])>, Failed> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let size = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?)?,
            5 => 4,
            kind => return Err(format!("the vocabulary has a field of kind {kind}").into()),
        };
        let (value, rest) = bytes
            .split_at_checked(size)
            .ok_or("the vocabulary ends early")?;
        fields.push((key >> 3, value));
        bytes = rest;
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Failed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("the vocabulary ends early")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("the vocabulary has a number that is too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_their_texts_and_scores() {
        let mut file = b"\x0a\x08\x0a\x01a\x15".to_vec();
        file.extend((-1.5f32).to_le_bytes());
        file.extend(b"\x0a\x04\x0a\x02ab\x10\x96\x01\x1a\x01x");
        let expected = [("a", -1.5), ("ab", 0.0)].map(|(text, score)| Piece {
            text: text.into(),
            score,
        });
        assert_eq!(pieces(&file).unwrap(), expected);
        assert!(pieces(&file[..file.len() - 1]).is_err());
    }
}
