//! The decoders, sans IO: the unusual shapes of each wire format, at any split of the bytes.

use std::{fs, path::PathBuf};

use konstruct_core::{
    ErrorKind, Result,
    llm::{Collector, Finish, ModelAnswer, ModelEvent, Part},
    money::Usage,
};
use konstruct_llm::{AnthropicDecoder, OllamaDecoder, OpenAiDecoder, OpenAiResponsesDecoder};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wire {
    OpenAi,
    Anthropic,
    Ollama,
    Responses,
}
use Wire::{Anthropic, Ollama, OpenAi, Responses};

impl Wire {
    fn decode(self, chunks: &[&[u8]]) -> Vec<Result<ModelEvent>> {
        macro_rules! run {
            ($decoder:ty) => {{
                let mut decoder = <$decoder>::default();
                let mut events: Vec<_> = chunks
                    .iter()
                    .flat_map(|chunk| decoder.push(chunk))
                    .collect();
                events.extend(decoder.finish());
                events
            }};
        }
        match self {
            OpenAi => run!(OpenAiDecoder),
            Anthropic => run!(AnthropicDecoder),
            Ollama => run!(OllamaDecoder),
            Responses => run!(OpenAiResponsesDecoder),
        }
    }

    /// Encodes events as the provider does, with a terminal event if it is not one of them.
    fn frame(self, events: &[&str]) -> String {
        match self {
            Ollama => events.iter().map(|event| format!("{event}\n")).collect(),
            _ => events
                .iter()
                .map(|event| format!("data: {event}\n\n"))
                .collect(),
        }
    }
}

/// Returns the decoded events, with errors by their kind, after checking the contract.
fn events(wire: Wire, chunks: &[&[u8]]) -> Vec<std::result::Result<ModelEvent, ErrorKind>> {
    let events: Vec<_> = wire
        .decode(chunks)
        .into_iter()
        .map(|event| event.map_err(|error| error.kind()))
        .collect();
    let endings = |event: &std::result::Result<ModelEvent, _>| {
        matches!(event, Err(_) | Ok(ModelEvent::Finish(_)))
    };
    assert_eq!(
        events.iter().filter(|event| endings(event)).count(),
        1,
        "{events:?}"
    );
    assert!(events.last().is_some_and(endings), "{events:?}");
    let mut open = Vec::new();
    for event in events.iter().flatten() {
        match event {
            ModelEvent::BlockStart { index, .. } => {
                assert!(!open.contains(index), "{events:?}");
                open.push(*index);
            }
            ModelEvent::BlockEnd { index } => {
                assert!(open.contains(index), "{events:?}");
                open.retain(|known| known != index);
            }
            ModelEvent::Text { index, .. }
            | ModelEvent::Reasoning { index, .. }
            | ModelEvent::Signature { index, .. }
            | ModelEvent::ToolArguments { index, .. } => {
                assert!(open.contains(index), "{events:?}")
            }
            ModelEvent::Restart => open.clear(),
            ModelEvent::Finish(_) => assert!(open.is_empty(), "{events:?}"),
            _ => {}
        }
    }
    events
}

fn answer(wire: Wire, frames: &[&str]) -> std::result::Result<ModelAnswer, ErrorKind> {
    let mut collector = Collector::default();
    for event in events(wire, &[wire.frame(frames).as_bytes()]) {
        if let Some(answer) = collector.push(event?).unwrap() {
            return Ok(answer);
        }
    }
    unreachable!("the contract was checked")
}

fn calls(answer: &ModelAnswer) -> Vec<(&str, &str, &str)> {
    answer
        .tool_calls()
        .map(|call| {
            (
                call.id.as_str(),
                call.name.as_str(),
                call.arguments.as_str(),
            )
        })
        .collect()
}

const CHAT: &[&str] = &[
    r#"{"choices":[],"id":"","model":"","prompt_filter_results":[]}"#,
    r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
    r#"{"id":"c1","choices":[{"delta":{"reasoning_content":"Hm, д."}}]}"#,
    r#"{"id":"c1","choices":[{"delta":{"content":"Hel"}},{"index":1,"delta":{"content":"no"}}]}"#,
    r#"{"id":"c1","choices":[{"delta":{"content":"lo"}}]}"#,
    r#"{"id":"c1","choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"alpha","arguments":""}}]}}]}"#,
    r#"{"id":"c1","choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}},{"index":1,"id":"b","function":{"name":"beta","arguments":""}}]}}]}"#,
    r#"{"id":"c1","choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]}"#,
    r#"{"id":"c1","choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
    r#"{"id":"c1","choices":[],"usage":{"prompt_tokens":90,"completion_tokens":42,"prompt_tokens_details":{"cached_tokens":30},"completion_tokens_details":{"reasoning_tokens":4}}}"#,
    "[DONE]",
];

const MESSAGES: &[&str] = &[
    r#"{"type":"message_start","message":{"id":"m1","model":"m","content":[],"usage":{"input_tokens":43,"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":2},"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm, д."}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web","input":{}}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Hello"}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{}}}"#,
    r#"{"type":"content_block_stop","index":2}"#,
    r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"a","name":"alpha","input":{}}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
    r#"{"type":"content_block_stop","index":3}"#,
    r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"b","name":"beta","input":{"x":1}}}"#,
    r#"{"type":"content_block_stop","index":4}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":61,"cache_creation_input_tokens":5,"output_tokens":70}}"#,
    r#"{"type":"message_stop"}"#,
    "[DONE]",
];

const LINES: &[&str] = &[
    r#"{"model":"m","created_at":"2026-08-05T08:10:56Z","message":{"role":"assistant","content":"","thinking":"Hm, д."},"done":false}"#,
    r#"{"model":"m","message":{"role":"assistant","content":"Hello"},"done":false}"#,
    r#"{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"id":"a","function":{"index":0,"name":"alpha","arguments":{}}}]},"done":false}"#,
    r#"{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"beta","arguments":{"x":1}}}]},"done":false}"#,
    r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":47}"#,
];

#[test]
fn a_whole_answer() {
    let answer = answer(OpenAi, CHAT).unwrap();
    assert_eq!(answer.text(), "Hello");
    assert_eq!(
        calls(&answer),
        [("a", "alpha", "{\"x\":1}"), ("b", "beta", "{}")]
    );
    assert_eq!(
        (answer.finish, answer.model.as_str()),
        (Finish::ToolCalls, "m")
    );
    let usage = Usage {
        input: 60,
        cache_read: 30,
        output: 38,
        reasoning: 4,
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(usage));

    let answer = self::answer(Anthropic, MESSAGES).unwrap();
    let signed = Part::Reasoning {
        text: "Hm, д.".into(),
        signature: Some("sig".into()),
        origin: None,
    };
    assert_eq!(answer.parts[0], signed);
    assert_eq!(answer.text(), "Hello");
    assert_eq!(
        calls(&answer),
        [("a", "alpha", "{}"), ("b", "beta", "{\"x\":1}")]
    );
    assert_eq!(answer.finish, Finish::ToolCalls);
    let usage = Usage {
        input: 61,
        cache_write_5m: 3,
        cache_write_1h: 2,
        output: 70,
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(usage));

    let answer = self::answer(Ollama, LINES).unwrap();
    assert_eq!(answer.text(), "Hello");
    assert_eq!(
        calls(&answer),
        [
            ("a", "alpha", "{}"),
            ("call_20260805T081056Z_3", "beta", "{\"x\":1}")
        ]
    );
    assert_eq!(answer.finish, Finish::ToolCalls);
    assert_eq!(
        answer.usage,
        Some(Usage {
            input: 26,
            output: 47,
            ..Usage::default()
        })
    );
}

#[test]
fn every_beginning_of_an_answer_is_truncated() {
    // The number of events up to the finish reason, and with the terminal event.
    for (wire, frames, reason, terminal) in [
        (OpenAi, CHAT, 9, 11),
        (Anthropic, MESSAGES, 19, 20),
        (Ollama, LINES, 5, 5),
    ] {
        for end in 0..reason {
            assert_eq!(
                answer(wire, &frames[..end]).unwrap_err(),
                ErrorKind::Truncated,
                "{wire:?} {end}"
            );
        }
        for end in reason..terminal {
            let ended = answer(wire, &frames[..end]).unwrap();
            assert_eq!(ended.finish, Finish::ToolCalls, "{wire:?} {end}");
        }
        let whole = wire.frame(&frames[..terminal]);
        let unterminated = whole.trim_end();
        let last = events(wire, &[unterminated.as_bytes()]).pop();
        assert!(
            matches!(last, Some(Ok(ModelEvent::Finish(_)))),
            "{wire:?}: {last:?}"
        );
        // After the finish reason, the terminal event may be cut off.
        let cut = &unterminated.as_bytes()[..unterminated.len() - 1];
        let expected = match wire {
            Ollama => Err(ErrorKind::Truncated),
            _ => Ok(ModelEvent::Finish(Finish::ToolCalls)),
        };
        assert_eq!(events(wire, &[cut]).pop(), Some(expected), "{wire:?}");
    }
}

#[test]
fn leaked_thoughts_are_removed_from_the_text() {
    let check = |wire: Wire, contents: &[&str], text: &str| {
        let mut frames: Vec<String> = contents
            .iter()
            .map(|content| {
                let content = serde_json::to_string(content).unwrap();
                match wire {
                    Ollama => format!(r#"{{"model":"m","message":{{"content":{content}}}}}"#),
                    Anthropic => format!(
                        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{content}}}}}"#
                    ),
                    _ => format!(r#"{{"id":"c","choices":[{{"delta":{{"content":{content}}}}}]}}"#),
                }
            })
            .collect();
        if wire == Anthropic {
            frames.splice(0..0, MESSAGES[..1].iter().map(|frame| (*frame).to_owned()));
            frames.insert(1, MESSAGES[9].replace("2", "0"));
            frames.push(r#"{"type":"content_block_stop","index":0}"#.into());
        }
        frames.push(match wire {
            Ollama => r#"{"done":true,"done_reason":"stop"}"#.into(),
            Anthropic => r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#.into(),
            _ => r#"{"id":"c","choices":[{"delta":{},"finish_reason":"stop"}]}"#.into(),
        });
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let answer = answer(wire, &frames).unwrap();
        assert_eq!(answer.text(), text, "{wire:?} {contents:?}");
        assert_eq!(answer.is_blank(), text.is_empty(), "{wire:?} {contents:?}");
    };
    for wire in [OpenAi, Ollama, Anthropic] {
        let thought = "<think>\nPolicy says refuse.\n";
        check(
            wire,
            &[thought, "</think>\n\nWe open at 9."],
            "We open at 9.",
        );
        check(
            wire,
            &["<thi", "nk>secret</th", "ink>We open at 9."],
            "We open at 9.",
        );
        check(
            wire,
            &["<thinking>Hm.</thinking>We open at 9."],
            "We open at 9.",
        );
        check(wire, &["<think>It was cut"], "");
        check(wire, &["Write <think> here"], "Write <think> here");
        check(wire, &["1 <", " 2"], "1 < 2");
    }
}

#[test]
fn arguments_may_be_an_object_or_its_json() {
    let check = |wire: Wire, arguments: &str, expected: &str| {
        let call = format!(r#"{{"name":"pass_on","arguments":{arguments}}}"#);
        let calls = format!(r#"{{"tool_calls":[{{"id":"a","function":{call}}}]}}"#);
        let frames = match wire {
            Ollama => vec![format!(
                r#"{{"model":"m","message":{calls},"done":true,"done_reason":"stop"}}"#
            )],
            _ => vec![
                format!(r#"{{"id":"c","choices":[{{"delta":{calls},"finish_reason":"stop"}}]}}"#),
                "[DONE]".into(),
            ],
        };
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let answer = answer(wire, &frames).unwrap();
        assert_eq!(
            self::calls(&answer),
            [("a", "pass_on", expected)],
            "{wire:?} {arguments}"
        );
    };
    for wire in [OpenAi, Ollama] {
        check(
            wire,
            r#""{\"question\":\"Open?\"}""#,
            r#"{"question":"Open?"}"#,
        );
        check(wire, r#"{"question":"Open?"}"#, r#"{"question":"Open?"}"#);
        check(wire, r#""""#, "{}");
        check(wire, "null", "{}");
    }
}

/// Incomplete and blank answers are recognisable in every wire format.
#[test]
fn an_incomplete_or_blank_answer_is_recognised() {
    let chat = |delta: &str, reason: &str| {
        vec![
            format!(r#"{{"id":"c","model":"m","choices":[{{"delta":{delta}}}]}}"#),
            format!(r#"{{"id":"c","choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#),
            "[DONE]".into(),
        ]
    };
    let responses = |text: &str, end: &str| {
        vec![format!(
            r#"{{"type":"response.{end},"model":"m","output":[{{"type":"message","content":[{{"type":"output_text","text":{text}}}]}}]}}}}"#
        )]
    };
    let messages = |block: &str, reason: &str| {
        vec![
            r#"{"type":"message_start","message":{"id":"m1","model":"m","content":[]}}"#.into(),
            format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#),
            r#"{"type":"content_block_stop","index":0}"#.into(),
            format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}}}}"#),
            r#"{"type":"message_stop"}"#.into(),
        ]
    };
    let line = |message: &str, reason: &str| {
        vec![format!(
            r#"{{"model":"m","message":{message},"done":true,"done_reason":"{reason}"}}"#
        )]
    };
    let incomplete = |reason: &str| {
        format!(
            r#"incomplete","response":{{"id":"r","status":"incomplete","incomplete_details":{reason}"#
        )
    };
    let completed = r#"completed","response":{"id":"r","status":"completed""#;
    let said = r#"{"content":"We open at"}"#;
    for (wire, frames, cut, blank) in [
        (OpenAi, chat(said, "stop"), false, false),
        (OpenAi, chat(said, "length"), true, false),
        (OpenAi, chat(said, "model_length"), true, false),
        (OpenAi, chat(r#"{"content":""}"#, "stop"), false, true),
        (OpenAi, chat(r#"{"content":"\n\n "}"#, "stop"), false, true),
        (
            OpenAi,
            chat(r#"{"content":"\u200b\ufeff"}"#, "stop"),
            false,
            true,
        ),
        (OpenAi, chat(r#"{"reasoning":"Hm."}"#, "stop"), false, true),
        (
            OpenAi,
            chat(r#"{"reasoning_content":"Hm."}"#, "length"),
            true,
            true,
        ),
        (
            Responses,
            responses(r#""We open at""#, completed),
            false,
            false,
        ),
        (Responses, responses(r#"" \n""#, completed), false, true),
        (
            Responses,
            responses(
                r#""We open at""#,
                &incomplete(r#"{"reason":"max_output_tokens"}"#),
            ),
            true,
            false,
        ),
        (
            Responses,
            responses(r#""We open at""#, &incomplete("null")),
            true,
            false,
        ),
        (
            Anthropic,
            messages(r#"{"type":"text","text":"We open at"}"#, "end_turn"),
            false,
            false,
        ),
        (
            Anthropic,
            messages(r#"{"type":"text","text":"We open at"}"#, "max_tokens"),
            true,
            false,
        ),
        (
            Anthropic,
            messages(
                r#"{"type":"text","text":"We open at"}"#,
                "model_context_window_exceeded",
            ),
            true,
            false,
        ),
        (
            Anthropic,
            messages(r#"{"type":"text","text":" "}"#, "end_turn"),
            false,
            true,
        ),
        (
            Anthropic,
            messages(r#"{"type":"thinking","thinking":"Hm."}"#, "end_turn"),
            false,
            true,
        ),
        (
            Anthropic,
            messages(
                r#"{"type":"tool_use","id":"a","name":"n","input":{}}"#,
                "tool_use",
            ),
            false,
            false,
        ),
        (Ollama, line(said, "stop"), false, false),
        (Ollama, line(said, "length"), true, false),
        (
            Ollama,
            line(r#"{"content":"","thinking":"Hm."}"#, "stop"),
            false,
            true,
        ),
        (Ollama, line(r#"{"content":" \n"}"#, "stop"), false, true),
    ] {
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let answer = answer(wire, &frames).unwrap();
        assert_eq!(
            answer.finish.is_cut(),
            cut,
            "{wire:?} {frames:?}: {answer:?}"
        );
        assert_eq!(answer.is_blank(), blank, "{wire:?} {frames:?}: {answer:?}");
    }
}

#[test]
fn errors_in_the_stream() {
    let check =
        |wire: Wire, event: &str, kind| assert_eq!(answer(wire, &[event]), Err(kind), "{event}");
    check(
        OpenAi,
        r#"{"error":{"message":"m","type":"server_error","code":null}}"#,
        ErrorKind::Ambiguous,
    );
    check(
        OpenAi,
        r#"{"error":{"message":"m","code":429}}"#,
        ErrorKind::RateLimited,
    );
    check(
        OpenAi,
        r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#,
        ErrorKind::QuotaExhausted,
    );
    check(
        OpenAi,
        r#"{"error":"out of memory"}"#,
        ErrorKind::Unavailable,
    );
    check(OpenAi, r#"{"choices":"#, ErrorKind::Protocol);
    check(OpenAi, "[DONE]", ErrorKind::Truncated);
    // An open block is incomplete, whatever the reason is.
    let open = [MESSAGES[0], MESSAGES[9], MESSAGES[10], MESSAGES[18]];
    assert_eq!(answer(Anthropic, &open), Err(ErrorKind::Truncated));
    check(
        Anthropic,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
        ErrorKind::Unavailable,
    );
    check(
        Anthropic,
        r#"{"type":"error","error":{"type":"rate_limit_error"}}"#,
        ErrorKind::RateLimited,
    );
    check(
        Anthropic,
        r#"{"type":"content_block_stop","index":0}"#,
        ErrorKind::Protocol,
    );
    check(
        Ollama,
        r#"{"error":"an error was encountered"}"#,
        ErrorKind::Unavailable,
    );
    check(
        Ollama,
        r#"{"message":{"content":"x"},"done":true}"#,
        ErrorKind::Truncated,
    );
    check(
        Ollama,
        r#"{"message":{"content":"x"},"done":true,"done_reason":""}"#,
        ErrorKind::Truncated,
    );
}

#[test]
fn the_tool_calls_of_compatible_servers() {
    let check = |deltas: &[&str], expected: &[(&str, &str, &str)]| {
        let mut frames: Vec<String> = deltas
            .iter()
            .map(|calls| {
                format!(r#"{{"id":"c","choices":[{{"delta":{{"tool_calls":[{calls}]}}}}]}}"#)
            })
            .collect();
        frames.push(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.into());
        frames.push("[DONE]".into());
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        let answer = answer(OpenAi, &frames).unwrap();
        assert_eq!(calls(&answer), expected, "{deltas:?}");
        assert_eq!(answer.finish, Finish::ToolCalls, "a stop after calls");
    };
    // The index starts at 1; the id is repeated in every fragment.
    check(
        &[
            r#"{"index":1,"id":"a","function":{"name":"f","arguments":"{"}}"#,
            r#"{"index":1,"id":"a","function":{"arguments":"}"}}"#,
        ],
        &[("a", "f", "{}")],
    );
    // No index, or null.
    check(
        &[
            r#"{"id":"a","function":{"name":"f","arguments":"{"}},{"index":null,"function":{"arguments":"}"}}"#,
            r#"{"id":"b","function":{"name":"g","arguments":"{}"}}"#,
        ],
        &[("a", "f", "{}"), ("b", "g", "{}")],
    );
    // Every call has the index 0.
    check(
        &[
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}"#,
        ],
        &[("a", "f", "{}"), ("b", "g", "{}")],
    );
    // No id, an object as arguments, null as a name.
    check(
        &[
            r#"{"index":0,"function":{"name":"f","arguments":{"x":1}}},{"index":0,"function":{"name":null,"arguments":null}}"#,
        ],
        &[("call_c_0", "f", "{\"x\":1}")],
    );
}

#[test]
fn how_answers_of_openai_end() {
    let check = |reason: &str, finish| {
        let last = format!(
            r#"{{"choices":[{{"delta":{{"content":[{{"type":"text","text":"x"}}]}},"finish_reason":{reason}}}]}}"#
        );
        assert_eq!(
            answer(OpenAi, &[&last, "[DONE]"]).map(|answer| answer.finish),
            finish,
            "{reason}"
        );
    };
    check(r#""stop""#, Ok(Finish::Stop));
    check(r#""length""#, Ok(Finish::Length));
    check(r#""model_length""#, Ok(Finish::Length));
    check(r#""content_filter""#, Ok(Finish::ContentFilter));
    check(r#""odd""#, Ok(Finish::Other("odd".into())));
    check("null", Err(ErrorKind::Truncated));
    let refusal = r#"{"choices":[{"delta":{"refusal":"No."},"finish_reason":"stop"}]}"#;
    let answer = answer(OpenAi, &[refusal, "[DONE]"]).unwrap();
    assert_eq!((answer.finish, answer.parts.len()), (Finish::Refusal, 1));
}

#[test]
fn a_restarted_message() {
    let start =
        |id: &str| format!(r#"{{"type":"message_start","message":{{"id":"{id}","model":"m"}}}}"#);
    let (first, second) = (start("m1"), start("m2"));
    let begin =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let text =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#;
    let end = &[
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        r#"{"type":"message_stop"}"#,
    ][..];
    let check = |frames: &[&str], expected: std::result::Result<&str, ErrorKind>| {
        let frames = [frames, end].concat();
        let got = answer(Anthropic, &frames).map(|answer| answer.text());
        assert_eq!(got.as_deref().map_err(|kind| *kind), expected, "{frames:?}");
    };
    check(&[&first, &first, begin, text], Ok("x"));
    check(&[&first, begin, &second, begin, text], Ok("x"));
    check(
        &[&first, begin, text, &second, begin, text],
        Err(ErrorKind::Truncated),
    );
    check(&[&first, begin, begin], Err(ErrorKind::Protocol));
}

/// The directory of the recordings, if present.
fn corpus() -> PathBuf {
    std::env::var_os("KONSTRUCT_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    )
}

/// Returns the recorded streams of the supported wire formats, by name.
fn recordings() -> Vec<(String, Wire, String)> {
    let mut found = Vec::new();
    for (folder, wire) in [("openai", OpenAi), ("anthropic", Anthropic)] {
        let files = fs::read_dir(corpus().join("llm_streams").join(folder))
            .into_iter()
            .flatten()
            .flatten();
        for path in files.map(|file| file.path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = if name.ends_with(".chunks.txt") {
                fs::read_to_string(path).unwrap()
            } else {
                continue;
            };
            // A few files contain two concatenated recordings.
            let text = text.replace(
                "}{\"type\":\"message_start\"",
                "}\n{\"type\":\"message_start\"",
            );
            if wire == OpenAi && !text.contains("chat.completion.chunk") {
                continue;
            }
            let mut frames: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .collect();
            if wire == OpenAi {
                frames.push("[DONE]");
            }
            found.push((name, wire, wire.frame(&frames)));
        }
    }
    found
}

#[test]
fn recordings_decode_to_a_finish_at_any_split() {
    for (name, wire, bytes) in recordings() {
        let whole = events(wire, &[bytes.as_bytes()]);
        assert!(
            matches!(whole.last(), Some(Ok(ModelEvent::Finish(_)))),
            "{name}: {:?}",
            whole.last()
        );
        for size in [1, 2, 3, 7, 61, 997] {
            let chunks: Vec<&[u8]> = bytes.as_bytes().chunks(size).collect();
            assert_eq!(events(wire, &chunks), whole, "{name} in steps of {size}");
        }
    }
}

/// One of the three answers, complete, cut off, or with one byte changed.
fn input() -> impl Strategy<Value = (Wire, Vec<u8>)> {
    let wires = prop_oneof![
        Just((OpenAi, CHAT)),
        Just((Anthropic, MESSAGES)),
        Just((Ollama, LINES))
    ];
    let change = proptest::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (wires, any::<prop::sample::Index>(), any::<bool>(), change).prop_map(
        |((wire, frames), end, whole, change)| {
            let mut bytes = wire.frame(frames).into_bytes();
            if let Some((at, byte)) = change {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if !whole {
                bytes.truncate(end.index(bytes.len()));
            }
            (wire, bytes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_split_gives_the_same_events(
        (wire, bytes) in input(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(events(wire, &chunks), events(wire, &[&bytes]));
    }
}
