//! Decoders keep their contract for arbitrary bytes: noise, and answers that were cut, changed, repeated or spliced. The fuzz
//! targets in `fuzz/` test the same.

use konstruct_llm::{
    AnthropicDecoder, OllamaDecoder, OpenAiDecoder, OpenAiResponsesDecoder, testkit::decodes_alike,
};
use proptest::prelude::*;

/// Pieces of all wire formats: whole events and separators.
const PIECES: &[&str] = &[
    "data: ",
    "data:",
    "event: error\n",
    "\n\n",
    "\r\n",
    "\r",
    ": keep-alive\n\n",
    "\u{feff}",
    "[DONE]",
    "null",
    "{}",
    "д",
    r#"{"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\""}}]}}]}"#,
    r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
    r#"{"error":{"message":"The server had an error","type":"server_error"}}"#,
    r#"{"type":"message_start","message":{"id":"m1","model":"m","usage":{"input_tokens":3,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
    r#"{"type":"message_stop"}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
    r#"{"type":"response.created","response":{"id":"r1","model":"m"}}"#,
    r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"i"}}"#,
    r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hi"}"#,
    r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"i"}}"#,
    r#"{"type":"response.completed","response":{"id":"r1","status":"completed"}}"#,
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n",
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n",
    "{\"error\":\"an error was encountered while running the model\"}\n",
];

fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        // An event as SSE frames it.
        8 => proptest::sample::select(PIECES).prop_map(|piece| format!("data: {piece}\n\n").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_at_any_split_decode_alike(bytes in input(), one in 0..4_000_usize, other in 0..4_000_usize) {
        decodes_alike(OpenAiDecoder::default, &bytes, one, other);
        decodes_alike(OpenAiResponsesDecoder::default, &bytes, one, other);
        decodes_alike(AnthropicDecoder::default, &bytes, one, other);
        decodes_alike(OllamaDecoder::default, &bytes, one, other);
    }
}
