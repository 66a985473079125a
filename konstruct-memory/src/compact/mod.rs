//! Serializes values before they are sealed: JSON, compressed with a dictionary of its most frequent parts.
//!
//! A record of a turn is a few hundred bytes, mostly field names and ids. LZ4 finds the names in the dictionary, and an id takes
//! 17 bytes instead of 32 hex digits. Reading a value needs the dictionary that it was written with, so a released dictionary
//! never changes.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

use konstruct_core::{Error, ErrorKind};
use lz4_flex::block::{compress_into_with_dict, decompress_with_dict, get_maximum_output_size};
use serde::{
    Deserialize, Deserializer as _, Serialize,
    de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor},
};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Uncompressed JSON.
const PLAIN: u8 = 0;
/// The uncompressed length in four bytes, then LZ4 with [`DICTIONARY`] of [packed](pack) JSON.
const LZ4_1: u8 = 1;

/// Frequent parts of values, the most frequent last.
const DICTIONARY: &[u8] = include_bytes!("dictionary-1.txt");

/// Shorter values are not compressed.
const SHORT: usize = 32;

/// Appends a serialized value.
///
/// # Errors
/// The value cannot be serialized as JSON.
pub(crate) fn encode_onto(value: &impl Serialize, row: &mut Vec<u8>) -> Result<()> {
    let from = row.len();
    row.push(PLAIN);
    serde_json::to_writer(&mut *row, value).map_err(|error| {
        Error::internal("a row could not be serialized as JSON").with_source(error)
    })?;
    let json = row.get(from + 1..).unwrap_or_default();
    if json.len() < SHORT {
        return Ok(());
    }
    let packed = pack(json);
    let Ok(len) = u32::try_from(packed.len()) else {
        return Ok(());
    };
    let mut compressed = vec![0; get_maximum_output_size(packed.len())];
    if let Ok(size) = compress_into_with_dict(&packed, &mut compressed, DICTIONARY)
        && size + 4 < json.len()
    {
        row.truncate(from);
        row.push(LZ4_1);
        row.extend_from_slice(&len.to_le_bytes());
        row.extend_from_slice(&compressed[..size]);
    }
    Ok(())
}

/// Deserializes a value.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if the bytes are not a value of this type.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(&json(bytes)?).map_err(damaged)
}

/// Deserializes the selected values of a list. The others are skipped, which is much cheaper.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if the bytes are not a list of this type, or if its length is not that of `selected`.
pub(crate) fn decode_some<T: DeserializeOwned>(
    bytes: &[u8],
    selected: &[bool],
) -> Result<Vec<Option<Arc<T>>>> {
    let json = json(bytes)?;
    let mut from = serde_json::Deserializer::from_slice(&json);
    let select = Select::<T> {
        selected,
        of: PhantomData,
    };
    let read = from.deserialize_seq(select);
    read.and_then(|read| from.end().map(|()| read))
        .map_err(damaged)
}

struct Select<'a, T> {
    selected: &'a [bool],
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Select<'_, T> {
    type Value = Vec<Option<Arc<T>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", self.selected.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::with_capacity(self.selected.len());
        for selected in self.selected {
            let next = if *selected {
                list.next_element()?.map(|value| Some(Arc::new(value)))
            } else {
                list.next_element()?.map(|IgnoredAny| None)
            };
            read.push(next.ok_or_else(|| A::Error::invalid_length(read.len(), &self))?);
        }
        Ok(read)
    }
}

/// Returns the JSON of a value.
fn json(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    match bytes {
        [PLAIN, json @ ..] => Ok(Cow::Borrowed(json)),
        [LZ4_1, rest @ ..] => {
            let (len, compressed) = rest
                .split_first_chunk()
                .ok_or_else(|| damaged("truncated"))?;
            let len = u32::from_le_bytes(*len) as usize;
            let packed = decompress_with_dict(compressed, len, DICTIONARY).map_err(damaged)?;
            let json = unpack(&packed).ok_or_else(|| damaged("truncated"))?;
            Ok(Cow::Owned(json))
        }
        _ => Err(damaged("unknown format")),
    }
}

/// Marks the 16 bytes of an id. JSON does not contain this byte.
const ID: u8 = 1;

/// Replaces each id, an underscore and 32 lower-case hexadecimal digits, by a marker and 16 bytes.
fn pack(json: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'_') {
        let (before, after) = rest.split_at(at + 1);
        packed.extend_from_slice(before);
        rest = after;
        if let Some((digits, after)) = after.split_first_chunk::<32>()
            && let Some(id) = from_digits(digits)
        {
            packed.push(ID);
            packed.extend_from_slice(&id);
            rest = after;
        }
    }
    packed.extend_from_slice(rest);
    packed
}

fn from_digits(digits: &[u8; 32]) -> Option<[u8; 16]> {
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let mut id = [0; 16];
    digits.iter().all(lower).then_some(())?;
    hex::decode_to_slice(digits, &mut id).ok()?;
    Some(id)
}

/// Undoes [`pack`]; `None` if an id is truncated.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut json = Vec::with_capacity(2 * packed.len());
    let mut rest = packed;
    while let Some(at) = rest.iter().position(|byte| *byte == ID) {
        json.extend_from_slice(&rest[..at]);
        let (id, after) = rest[at + 1..].split_first_chunk::<16>()?;
        let from = json.len();
        json.resize(from + 32, 0);
        hex::encode_to_slice(id, &mut json[from..]).ok()?;
        rest = after;
    }
    json.extend_from_slice(rest);
    Some(json)
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row is damaged").with_source(error)
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
    fn a_record_is_compressed() {
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

    /// Stored values need the dictionary that they were written with.
    #[test]
    fn the_dictionary_never_changes() {
        let hash = hex::encode(Sha256::digest(DICTIONARY));
        assert_eq!(
            hash,
            "a96f9d342cfd3b94581ade4bc6d0ec8e820bbd3a28371bdf1213dd66091a07d1"
        );
    }

    #[test]
    fn invalid_bytes_are_an_error() {
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

    #[test]
    fn ids_are_packed_and_similar_text_is_unchanged() {
        let id = "cnv_605403e83aa206b3d23e2b3b2356de1e";
        let texts = [
            id,
            &id.to_uppercase(),
            &id[..35],
            "_",
            "__",
            "\u{1}",
            &format!("_{id}0"),
        ];
        for text in texts {
            let value = json!([text, text]);
            let json = value.to_string();
            let packed = pack(json.as_bytes());
            assert_eq!(unpack(&packed).unwrap(), json.as_bytes(), "{text}");
        }
        assert_eq!(pack(id.as_bytes()).len(), 21);
    }

    #[test]
    fn only_the_selected_values_are_read() {
        let row = encoded(&json!(["a", {"b": [1, "2"]}, "c"]));
        let read = |wanted: &[bool]| decode_some::<String>(&row, wanted);
        let found: Vec<_> = read(&[true, false, true]).unwrap();
        let texts: Vec<_> = found.iter().map(Option::as_deref).collect();
        assert_eq!(texts, [Some(&"a".to_owned()), None, Some(&"c".to_owned())]);
        // Not a text, and lists that are longer and shorter than the selection.
        for wanted in [&[true, true, true][..], &[false; 4], &[false; 2]] {
            let error = read(wanted).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back(texts in prop::collection::vec("\\PC{0,60}|[a-f0-9_]{0,99}", 0..20)) {
            let value = json!(texts);
            prop_assert_eq!(decode::<Value>(&encoded(&value)).unwrap(), value);
        }
    }
}
