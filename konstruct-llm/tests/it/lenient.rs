//! The table of what the decoders accept beyond the documentation: `lenient` in the sources, a test for each of its entries.

use konstruct_core::{
    ErrorKind, Result,
    llm::{Collector, Finish, ModelAnswer, ModelEvent},
    money::Usage,
};
use konstruct_llm::{AnthropicDecoder, OllamaDecoder, OpenAiDecoder, OpenAiResponsesDecoder};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wire {
    Chat,
    Responses,
    Messages,
    Ollama,
}
use Wire::{Chat, Messages, Ollama, Responses};

const ALL: [Wire; 4] = [Chat, Responses, Messages, Ollama];

fn collect(events: Vec<Result<ModelEvent>>) -> std::result::Result<ModelAnswer, ErrorKind> {
    let mut collector = Collector::default();
    for event in events {
        let event = event.map_err(|error| error.kind())?;
        if let Some(answer) = collector.push(event).unwrap() {
            return Ok(answer);
        }
    }
    unreachable!("an answer has an ending")
}

/// Decodes a stream of these events.
fn stream(wire: Wire, events: &[String]) -> std::result::Result<ModelAnswer, ErrorKind> {
    let framed: String = events
        .iter()
        .map(|event| match wire {
            Ollama => format!("{event}\n"),
            _ => format!("data: {event}\n\n"),
        })
        .collect();
    macro_rules! decoded {
        ($decoder:ty) => {{
            let mut decoder = <$decoder>::default();
            let mut events = decoder.push(framed.as_bytes());
            events.extend(decoder.finish());
            events
        }};
    }
    collect(match wire {
        Chat => decoded!(OpenAiDecoder),
        Responses => decoded!(OpenAiResponsesDecoder),
        Messages => decoded!(AnthropicDecoder),
        Ollama => decoded!(OllamaDecoder),
    })
}

fn document(wire: Wire, body: &str) -> std::result::Result<ModelAnswer, ErrorKind> {
    let body = body.as_bytes();
    let events = match wire {
        Chat => OpenAiDecoder::document(body),
        Responses => OpenAiResponsesDecoder::document(body),
        Messages => AnthropicDecoder::document(body),
        Ollama => OllamaDecoder::document(body),
    };
    collect(
        events
            .map_err(|error| error.kind())?
            .into_iter()
            .map(Ok)
            .collect(),
    )
}

/// Returns a chunk of Chat Completions.
fn chunk(choice: &str) -> String {
    format!(r#"{{"id":"c1","model":"m","choices":[{{"index":0,{choice}}}]}}"#)
}

/// Returns a stream of this text.
fn spoken(wire: Wire, text: &str) -> Vec<String> {
    let text = serde_json::to_string(text).unwrap();
    match wire {
        Chat => vec![
            chunk(&format!(r#""delta":{{"content":{text}}}"#)),
            chunk(r#""delta":{},"finish_reason":"stop""#),
            "[DONE]".into(),
        ],
        Responses => vec![
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message"}}"#
                .into(),
            format!(r#"{{"type":"response.output_text.delta","output_index":0,"delta":{text}}}"#),
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message"}}"#
                .into(),
            r#"{"type":"response.completed","response":{"id":"r","status":"completed"}}"#.into(),
        ],
        Messages => messages(
            &[&format!(r#"{{"type":"text","text":{text}}}"#)],
            r#""end_turn""#,
        ),
        Ollama => vec![format!(
            r#"{{"model":"m","message":{{"content":{text}}},"done":true,"done_reason":"stop"}}"#
        )],
    }
}

/// Returns a stream of Messages with whole blocks.
fn messages(blocks: &[&str], reason: &str) -> Vec<String> {
    let start = r#"{"type":"message_start","message":{"id":"m1","model":"m","content":[]}}"#;
    let mut events = vec![start.to_owned()];
    for (index, block) in blocks.iter().enumerate() {
        events.push(format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#
        ));
        events.push(format!(
            r#"{{"type":"content_block_stop","index":{index}}}"#
        ));
    }
    events.push(format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":{reason}}}}}"#
    ));
    events.push(r#"{"type":"message_stop"}"#.into());
    events
}

/// Returns a stream of whole calls, each with an id and its arguments as they are on the wire.
fn called(wire: Wire, calls: &[(&str, &str, &str)]) -> Vec<String> {
    let function = |(id, name, arguments): &(&str, &str, &str)| {
        format!(r#"{{"id":{id},"function":{{"name":"{name}","arguments":{arguments}}}}}"#)
    };
    let functions: Vec<String> = calls.iter().map(function).collect();
    let functions = functions.join(",");
    match wire {
        Chat => vec![
            chunk(&format!(
                r#""delta":{{"tool_calls":[{functions}]}},"finish_reason":"stop""#
            )),
            "[DONE]".into(),
        ],
        Responses => {
            let item = |(id, name, arguments): &(&str, &str, &str)| {
                format!(
                    r#"{{"type":"function_call","call_id":{id},"name":"{name}","arguments":{arguments}}}"#
                )
            };
            let items: Vec<String> = calls.iter().map(item).collect();
            vec![format!(
                r#"{{"type":"response.completed","response":{{"id":"r","status":"completed","output":[{}]}}}}"#,
                items.join(",")
            )]
        }
        Messages => {
            let block = |(id, name, input): &(&str, &str, &str)| {
                format!(r#"{{"type":"tool_use","id":{id},"name":"{name}","input":{input}}}"#)
            };
            let blocks: Vec<String> = calls.iter().map(block).collect();
            let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
            messages(&blocks, r#""tool_use""#)
        }
        Ollama => vec![format!(
            r#"{{"model":"m","created_at":"2026","message":{{"tool_calls":[{functions}]}},"done":true,"done_reason":"stop"}}"#
        )],
    }
}

#[test]
fn arguments() {
    let question = r#"{"question":"Open?"}"#;
    let text = serde_json::to_string(question).unwrap();
    let twice = serde_json::to_string(&text).unwrap();
    for wire in ALL {
        for (arguments, value) in [
            (question, question),
            (&*text, question),
            (&*twice, question),
            (r#""""#, "{}"),
            ("null", "{}"),
            ("[]", "{}"),
            ("{}", "{}"),
        ] {
            let answer = stream(wire, &called(wire, &[(r#""a""#, "pass_on", arguments)])).unwrap();
            let call = answer.tool_calls().next().unwrap();
            assert_eq!((&*call.id, &*call.name), ("a", "pass_on"), "{wire:?}");
            assert_eq!(call.arguments, value, "{wire:?} {arguments}");
            assert_eq!(answer.finish, Finish::ToolCalls, "{wire:?} {arguments}");
        }
    }
}

#[test]
fn ids_of_calls() {
    for wire in ALL {
        for id in [r#""a""#, r#""""#, "null"] {
            let calls = [(id, "f", r#"{"x":1}"#), (id, "g", r#"{"x":2}"#)];
            let answer = stream(wire, &called(wire, &calls)).unwrap();
            let calls: Vec<_> = answer.tool_calls().collect();
            let found: Vec<_> = calls
                .iter()
                .map(|call| (&*call.name, &*call.arguments))
                .collect();
            assert_eq!(
                found,
                [("f", r#"{"x":1}"#), ("g", r#"{"x":2}"#)],
                "{wire:?} {id}"
            );
            assert!(
                !calls[0].id.is_empty() && !calls[1].id.is_empty(),
                "{wire:?} {id}"
            );
            assert_ne!(calls[0].id, calls[1].id, "{wire:?} {id}");
        }
    }
    // Without an index, the last block is the open one.
    let mut events = messages(
        &[
            r#"{"type":"text","text":"a"}"#,
            r#"{"type":"text","text":"b"}"#,
        ],
        r#""end_turn""#,
    );
    for event in &mut events {
        *event = event
            .replace(r#""index":0,"#, "")
            .replace(r#""index":1,"#, "");
        *event = event
            .replace(r#","index":0"#, "")
            .replace(r#","index":1"#, "");
    }
    assert_eq!(stream(Messages, &events).unwrap().text(), "ab");
}

#[test]
fn empty_calls() {
    for delta in [
        r#""function_call":{}"#,
        r#""function_call":{"name":"","arguments":""}"#,
        r#""function_call":{"name":null,"arguments":null}"#,
        r#""tool_calls":[{}]"#,
        r#""tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":""}}]"#,
        r#""tool_calls":[{"index":0,"id":"a","function":{"name":"","arguments":""}}]"#,
    ] {
        let said = format!(r#""delta":{{"content":"We open at 9.",{delta}}}"#);
        let events = [
            chunk(&said),
            chunk(r#""delta":{},"finish_reason":"stop""#),
            "[DONE]".into(),
        ];
        let answer = stream(Chat, &events).unwrap();
        let found = (answer.text(), answer.tool_calls().count(), answer.finish);
        assert_eq!(found, ("We open at 9.".into(), 0, Finish::Stop), "{delta}");
    }
    let line = r#"{"model":"m","message":{"content":"We open.","tool_calls":[{"function":{}}]},"done":true,"done_reason":"stop"}"#;
    let answer = stream(Ollama, &[line.into()]).unwrap();
    assert_eq!(
        (answer.text(), answer.finish),
        ("We open.".into(), Finish::Stop)
    );
    // Both fields for the same call.
    let both = r#""delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}],"function_call":{"name":"f","arguments":"{}"}},"finish_reason":"tool_calls""#;
    assert_eq!(
        stream(Chat, &[chunk(both)]).unwrap().tool_calls().count(),
        1
    );
}

#[test]
fn finish_reasons() {
    let said = chunk(r#""delta":{"content":"We open."},"finish_reason":"""#);
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
    let done = "[DONE]";
    let check = |wire: Wire, events: &[&str], finish| {
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        let answer = stream(wire, &events);
        if let Ok(answer) = &answer {
            assert_eq!(answer.text(), "We open.", "{wire:?} {events:?}");
        }
        let found = answer.map(|answer| answer.finish);
        assert_eq!(found, finish, "{wire:?} {events:?}");
    };
    let stop = Ok(Finish::Stop);
    for end in [
        r#""delta":{},"finish_reason":"stop""#,
        r#""delta":{},"finish_reason":"end_turn""#,
        r#""delta":{},"finish_reason":null,"native_finish_reason":"STOP""#,
        r#""delta":{},"finish_details":{"type":"stop"}"#,
        r#""delta":{"finish_reason":"stop"}"#,
        r#""delta":{},"stop_reason":"end_turn""#,
    ] {
        let end = chunk(end);
        check(Chat, &[&said, &end, usage, done], stop.clone());
        // Without the terminal event.
        check(Chat, &[&said, &end, usage], stop.clone());
        check(Chat, &[&said, &end], stop.clone());
    }
    let beside = r#"{"choices":[{"delta":{}}],"finish_reason":"length"}"#;
    check(Chat, &[&said, beside, done], Ok(Finish::Length));
    check(
        Chat,
        &[&said, &chunk(r#""delta":{},"finish_reason":"MAX_TOKENS""#)],
        Ok(Finish::Length),
    );
    // An empty reason is one if something else marks the end.
    check(
        Chat,
        &[
            &said,
            &chunk(r#""delta":{},"finish_reason":"""#),
            usage,
            done,
        ],
        stop.clone(),
    );
    check(Chat, &[&said, usage], stop.clone());
    check(Chat, &[&said], Err(ErrorKind::Truncated));
    let silent = said.replace(r#","finish_reason":"""#, "");
    check(Chat, &[&silent, done], Err(ErrorKind::Truncated));
    check(Chat, &[&silent, usage], Err(ErrorKind::Truncated));

    let block = r#"{"type":"text","text":"We open."}"#;
    for (reason, finish) in [
        (r#""end_turn""#, stop.clone()),
        (r#""""#, stop.clone()),
        ("null", Err(ErrorKind::Truncated)),
    ] {
        let events = messages(&[block], reason);
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        check(Messages, &events, finish);
    }
    let events = messages(&[block], r#""end_turn""#);
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    check(Messages, &events[..events.len() - 1], stop.clone());

    let line = |end: &str| {
        format!(r#"{{"model":"m","message":{{"content":"We open."}},"done":true{end}}}"#)
    };
    check(
        Ollama,
        &[&line(r#","prompt_eval_count":5,"eval_count":5"#)],
        stop.clone(),
    );
    check(
        Ollama,
        &[&line(r#","done_reason":"","eval_count":5"#)],
        stop,
    );
    check(Ollama, &[&line("")], Err(ErrorKind::Truncated));
}

#[test]
fn documents() {
    let check = |wire: Wire, body: &str| {
        let answer = document(wire, body).unwrap_or_else(|kind| panic!("{kind:?}: {body}"));
        let found = (answer.text(), answer.finish);
        assert_eq!(found, ("We open.".into(), Finish::Stop), "{body}");
    };
    check(
        Chat,
        r#"{"choices":[{"message":{"content":"We open."},"finish_reason":"stop"}]}"#,
    );
    check(
        Chat,
        r#"{"choices":[{"message":{"content":"We open."},"finish_reason":""}]}"#,
    );
    check(
        Responses,
        r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"We open."}]}]}"#,
    );
    check(
        Messages,
        r#"{"content":[{"type":"text","text":"We open."}],"stop_reason":"end_turn"}"#,
    );
    check(
        Messages,
        r#"{"id":null,"type":"message","content":[{"type":"text","text":"We open."}],"stop_reason":""}"#,
    );
    check(
        Ollama,
        r#"{"message":{"content":"We open."},"done":true,"eval_count":"5"}"#,
    );
    for wire in ALL {
        for body in ["{}", r#"{"detail":"Not Found"}"#] {
            assert_eq!(
                document(wire, body),
                Err(ErrorKind::Protocol),
                "{wire:?} {body}"
            );
        }
    }
    let events = [
        chunk(r#""delta":{"content":"We open."}"#),
        chunk(r#""message":{"content":"We open."},"finish_reason":"stop""#),
    ];
    assert_eq!(stream(Chat, &events).unwrap().text(), "We open.");
}

/// Returns the usage of an answer whose usage is this on the wire.
fn counted(wire: Wire, usage: &str) -> Option<Usage> {
    let body = match wire {
        Chat => format!(
            r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":"stop","index":"0"}}],"usage":{usage}}}"#
        ),
        Responses => format!(r#"{{"status":"completed","output":[],"usage":{usage}}}"#),
        Messages => {
            format!(r#"{{"type":"message","content":[],"stop_reason":"end_turn","usage":{usage}}}"#)
        }
        Ollama => usage.replacen('{', r#"{"message":{},"done":true,"done_reason":"stop","#, 1),
    };
    document(wire, &body)
        .unwrap_or_else(|kind| panic!("{kind:?}: {body}"))
        .usage
}

#[test]
fn counts() {
    for (wire, input, output) in [
        (Chat, "prompt_tokens", "completion_tokens"),
        (Responses, "input_tokens", "output_tokens"),
        (Messages, "input_tokens", "output_tokens"),
        (Ollama, "prompt_eval_count", "eval_count"),
    ] {
        let check = |usage: String, expected: (u64, u64)| {
            let found = counted(wire, &usage).unwrap();
            assert_eq!((found.input, found.output), expected, "{wire:?} {usage}");
        };
        check(format!(r#"{{"{input}":10,"{output}":5}}"#), (10, 5));
        check(format!(r#"{{"{input}":"10","{output}":" 5 "}}"#), (10, 5));
        check(format!(r#"{{"{input}":10.0,"{output}":"5.0"}}"#), (10, 5));
        check(format!(r#"{{"{input}":null,"{output}":5}}"#), (0, 5));
        if wire != Ollama {
            assert_eq!(counted(wire, "null"), None, "{wire:?}");
        }
    }
}

#[test]
fn usage() {
    let check = |wire: Wire, usage: &str, expected: [u64; 5]| {
        let found = counted(wire, usage).unwrap();
        let found = [
            found.input,
            found.cache_read,
            found.cache_write_5m,
            found.output,
            found.reasoning,
        ];
        assert_eq!(found, expected, "{wire:?} {usage}");
    };
    check(
        Chat,
        r#"{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30}}"#,
        [10, 60, 30, 5, 0],
    );
    check(
        Chat,
        r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":60}}"#,
        [10, 60, 0, 5, 0],
    );
    check(
        Chat,
        r#"{"prompt_tokens":100,"completion_tokens":5,"cache_read_input_tokens":60,"cache_creation_input_tokens":30}"#,
        [10, 60, 30, 5, 0],
    );
    check(
        Responses,
        r#"{"input_tokens":100,"output_tokens":5,"input_tokens_details":{"cached_tokens":60,"cache_write_tokens":30}}"#,
        [10, 60, 30, 5, 0],
    );
    check(
        Messages,
        r#"{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":60,"cache_creation_input_tokens":30}"#,
        [10, 60, 30, 5, 0],
    );
    // Reasoning above the output: counted separately, unless the total shows that it is part of the output.
    let chat = |completion: u64, reasoning: u64, total: &str| {
        format!(
            r#"{{"prompt_tokens":10,"completion_tokens":{completion}{total},"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}"#
        )
    };
    check(Chat, &chat(20, 8, ""), [10, 0, 0, 12, 8]);
    check(Chat, &chat(5, 8, ""), [10, 0, 0, 5, 8]);
    check(Chat, &chat(5, 8, r#","total_tokens":23"#), [10, 0, 0, 5, 8]);
    check(Chat, &chat(9, 8, r#","total_tokens":27"#), [10, 0, 0, 9, 8]);
    check(Chat, &chat(5, 8, r#","total_tokens":15"#), [10, 0, 0, 0, 5]);
    check(
        Responses,
        r#"{"input_tokens":10,"output_tokens":5,"total_tokens":15,"output_tokens_details":{"reasoning_tokens":8}}"#,
        [10, 0, 0, 0, 5],
    );
    check(
        Messages,
        r#"{"input_tokens":10,"output_tokens":5,"output_tokens_details":{"thinking_tokens":8}}"#,
        [10, 0, 0, 5, 8],
    );
}

#[test]
fn text() {
    for wire in ALL {
        let check = |said: &str, text: &str, calls: usize| {
            let answer = stream(wire, &spoken(wire, said)).unwrap();
            assert_eq!(answer.text(), text, "{wire:?} {said:?}");
            assert_eq!(answer.tool_calls().count(), calls, "{wire:?} {said:?}");
            let blank = text.trim().is_empty() && calls == 0;
            assert_eq!(answer.is_blank(), blank, "{wire:?} {said:?}");
        };
        check("", "", 0);
        check("\n\n ", "\n\n ", 0);
        check("<think>Hm.</think>", "", 0);
        check("<think>Hm.</think>\n\nWe open.", "We open.", 0);
        check("<|channel|>final<|message|>We open.<|end|>", "We open.", 0);
        check(
            r#"{"name":"pass_on","arguments":{"question":"hours?"}}"#,
            "",
            1,
        );
        check(r#"<tool_call>{"name":"pass_on"</tool_call>"#, "", 0);
    }
}
