//! The tensors of a `safetensors` file: a length, a JSON header, and the numbers.

use std::{collections::HashMap, ops::Range};

use serde_json::Value;

use crate::Failed;

/// The tensors of a file by name.
#[derive(Debug)]
pub struct Weights {
    bytes: Vec<u8>,
    places: HashMap<String, Range<usize>>,
}

impl Weights {
    /// Parses a file's header.
    ///
    /// # Errors
    /// The file is malformed.
    pub fn new(bytes: Vec<u8>) -> Result<Self, Failed> {
        let length = bytes.first_chunk::<8>().ok_or("the weights end early")?;
        let start = 8 + usize::try_from(u64::from_le_bytes(*length))?;
        let header = bytes.get(8..start).ok_or("the weights end early")?;
        let header: HashMap<String, Value> = serde_json::from_slice(header)?;
        let mut places = HashMap::new();
        for (name, about) in header {
            if about["dtype"] != "F32" {
                continue;
            }
            let offset = |index: usize| about["data_offsets"][index].as_u64();
            let (Some(from), Some(to)) = (offset(0), offset(1)) else {
                return Err(format!("`{name}` has no offsets").into());
            };
            let place = start + usize::try_from(from)?..start + usize::try_from(to)?;
            places.insert(name, place);
        }
        Ok(Self { bytes, places })
    }

    /// Returns a tensor of this many numbers.
    ///
    /// # Errors
    /// There is no tensor of this name and size.
    pub fn tensor(&self, name: &str, size: usize) -> Result<Vec<f32>, Failed> {
        let place = self.places.get(name).cloned();
        let bytes = place.and_then(|place| self.bytes.get(place));
        let bytes = bytes.ok_or_else(|| format!("there is no `{name}`"))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if numbers.len() != size || !rest.is_empty() {
            return Err(format!("`{name}` has {} numbers, not {size}", numbers.len()).into());
        }
        Ok(numbers
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect())
    }
}
