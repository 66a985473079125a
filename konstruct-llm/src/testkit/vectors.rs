//! The embedding responses of a fake provider.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Fault, Reply, frames::Dialect};

/// The default dimension of vectors.
const DIM: usize = 8;

/// Returns the vector of a text: texts with the same count of each byte have equal vectors.
pub fn vector(text: &str, dim: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dim];
    for byte in text.bytes() {
        vector[usize::from(byte) % dim] += 1.0;
    }
    vector
}

/// Builds the document. [`Fault::End`] limits the number of vectors.
pub(super) fn document(dialect: Dialect, body: &Value, reply: &Reply) -> Value {
    let dim = body["dimensions"]
        .as_u64()
        .and_then(|dim| usize::try_from(dim).ok());
    let texts = body["input"].as_array().map_or(&[][..], Vec::as_slice);
    let mut vectors: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| vector(text.as_str().unwrap_or_default(), dim.unwrap_or(DIM)))
        .collect();
    if let Some(Fault::End(count)) = reply.fault {
        vectors.truncate(count);
    }
    let model = &body["model"];
    let tokens = reply.usage.0;
    if dialect == Dialect::Ollama {
        return json!({"model": model, "embeddings": vectors, "prompt_eval_count": tokens});
    }
    let form = |vector: &[f32]| match body["encoding_format"].as_str() {
        Some("base64") => {
            let bytes: Vec<u8> = vector.iter().flat_map(|at| at.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        }
        _ => json!(vector),
    };
    let item = |(index, vector): (usize, &Vec<f32>)| json!({"object": "embedding", "index": index, "embedding": form(vector)});
    // Reversed, because the index identifies a vector, not the order.
    let data: Vec<Value> = vectors.iter().enumerate().rev().map(item).collect();
    json!({
        "object": "list", "model": model, "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })
}
