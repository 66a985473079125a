//! Values as bytes, before they are sealed: JSON, compressed with a dictionary of what most of it repeats.
//!
//! A record of a turn is a few hundred bytes, of which nearly all are the names of fields. LZ4 finds them in the dictionary. A file
//! that holds a value needs the dictionary with which it was written, so one that was released never changes.

use konstruct_core::{Error, ErrorKind, Result};
use lz4_flex::block::{compress_into_with_dict, decompress_with_dict, get_maximum_output_size};
use serde::{Serialize, de::DeserializeOwned};

/// JSON as it is.
const PLAIN: u8 = 0;
/// The length of the JSON in four bytes, and LZ4 with [`DICTIONARY`].
const LZ4_1: u8 = 1;

/// What values mostly repeat, the commonest last.
const DICTIONARY: &[u8] = include_bytes!("dictionary-1.txt");

/// What is shorter is not worth it.
const SHORT: usize = 32;

/// Appends a value.
///
/// # Errors
/// Where it is not JSON.
pub(crate) fn encode_onto(value: &impl Serialize, row: &mut Vec<u8>) -> Result<()> {
    let from = row.len();
    row.push(PLAIN);
    serde_json::to_writer(&mut *row, value)
        .map_err(|error| Error::internal("a row cannot be written as JSON").with_source(error))?;
    let json = row.get(from + 1..).unwrap_or_default();
    let Some(len) = u32::try_from(json.len())
        .ok()
        .filter(|_| json.len() >= SHORT)
    else {
        return Ok(());
    };
    let mut compressed = vec![0; get_maximum_output_size(json.len())];
    if let Ok(size) = compress_into_with_dict(json, &mut compressed, DICTIONARY)
        && size + 4 < json.len()
    {
        row.truncate(from);
        row.push(LZ4_1);
        row.extend_from_slice(&len.to_le_bytes());
        row.extend_from_slice(&compressed[..size]);
    }
    Ok(())
}

/// Reads a value back.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where it is none.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes {
        [PLAIN, json @ ..] => read(json),
        [LZ4_1, rest @ ..] => {
            let (len, compressed) = rest.split_first_chunk().ok_or_else(|| damaged("short"))?;
            let len = u32::from_le_bytes(*len) as usize;
            let json = decompress_with_dict(compressed, len, DICTIONARY).map_err(damaged)?;
            read(&json)
        }
        _ => Err(damaged("of an unknown form")),
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(damaged)
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row does not read back").with_source(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut row = b"before".to_vec();
        encode_onto(value, &mut row).unwrap();
        row.split_off(6)
    }

    #[test]
    fn a_record_becomes_small() {
        let record = json!({
            "v": 1, "turn": "trn_01a22b53815c7102a181870909a1d936", "at": 1_796_023_222_702_793_u64,
            "cause": "employee", "entry": {"action": {"send": {
                "key": "trn_01a22b53815c7102a181870909a1d936.p0", "attempt": 1,
                "give_up_at": 1_796_023_232_702_818_u64,
            }}},
        });
        let (whole, row) = (record.to_string().len(), encoded(&record));
        assert!(2 * row.len() < whole, "{} of {whole}", row.len());
        assert_eq!(decode::<Value>(&row).unwrap(), record);
    }

    /// What was written with it needs it.
    #[test]
    fn the_dictionary_never_changes() {
        let hash = hex::encode(Sha256::digest(DICTIONARY));
        assert_eq!(
            hash,
            "a96f9d342cfd3b94581ade4bc6d0ec8e820bbd3a28371bdf1213dd66091a07d1"
        );
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        for bytes in [
            &b""[..],
            b"{}",
            b"\x00{",
            b"\x01",
            b"\x01\xff\xff\xff\xff",
            b"\x02{}",
        ] {
            let error = decode::<Value>(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back(texts in prop::collection::vec("\\PC{0,60}", 0..20)) {
            let value = json!(texts);
            prop_assert_eq!(decode::<Value>(&encoded(&value)).unwrap(), value);
        }
    }
}
