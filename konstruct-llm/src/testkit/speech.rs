//! The transcription API of a fake provider: `multipart/form-data` in, a transcript out.

use serde_json::{Value, json};

use super::Reply;

/// Parses a form. Returns its text fields, and under `file` the name, the media type, the number of bytes and the bytes after
/// the mark `OggS` as text.
pub(super) fn form(content_type: &str, body: &[u8]) -> Value {
    let boundary = content_type.split("boundary=").nth(1).unwrap_or_default();
    let mark = format!("--{boundary}");
    let mut fields = json!({});
    let mut rest = body;
    while let Some(start) = find(rest, mark.as_bytes()) {
        rest = &rest[start + mark.len()..];
        let end = find(rest, mark.as_bytes()).unwrap_or(0);
        let part = &rest[..end];
        let Some(gap) = find(part, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&part[..gap]).into_owned();
        let content = &part[gap + 4..part.len() - 2];
        let quoted = |name: &str| {
            let after = head.split(&format!("{name}=\"")).nth(1)?;
            after.split('"').next().map(str::to_owned)
        };
        let name = head
            .split("; name=\"")
            .nth(1)
            .and_then(|after| after.split('"').next())
            .unwrap_or_default()
            .to_owned();
        fields[&name] = match quoted("filename") {
            Some(file) => json!({
                "name": file,
                "type": head.split("content-type: ").nth(1).unwrap_or_default().trim(),
                "bytes": content.len(),
                "text": String::from_utf8_lossy(content).trim_start_matches("OggS").trim(),
            }),
            None => String::from_utf8_lossy(content).into_owned().into(),
        };
    }
    fields
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// Returns the response with a transcript in the requested format.
pub(super) fn document(form: &Value, reply: &Reply) -> Value {
    let (input, output) = reply.usage;
    match form["response_format"].as_str() {
        Some("verbose_json") => json!({
            "task": "transcribe", "language": "english", "duration": 2.4, "text": reply.text, "segments": [],
            "usage": {"type": "duration", "seconds": 3},
        }),
        // Only OpenAI's form names a model.
        Some("json") if form["model"].is_string() => json!({
            "text": reply.text,
            "usage": {"type": "tokens", "total_tokens": input + output, "input_tokens": input, "output_tokens": output},
        }),
        _ => json!({"text": format!(" {}\n", reply.text)}),
    }
}
