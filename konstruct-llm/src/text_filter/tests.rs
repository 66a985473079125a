use konstruct_core::llm::{BlockKind, Collector, Finish, ModelAnswer, ModelEvent};

use super::{TextFilter, Tools};

/// Returns the answer of a filter that receives text in these pieces.
fn answer<'a>(tools: &Tools, pieces: impl IntoIterator<Item = &'a str>) -> ModelAnswer {
    let mut filter = TextFilter::new(tools.clone());
    let mut events = Vec::new();
    let kind = BlockKind::Text;
    filter.push(ModelEvent::BlockStart { index: 7, kind }, &mut events);
    for piece in pieces {
        let delta = piece.to_owned();
        filter.push(ModelEvent::Text { index: 7, delta }, &mut events);
    }
    filter.push(ModelEvent::BlockEnd { index: 7 }, &mut events);
    filter.push(ModelEvent::Finish(Finish::Stop), &mut events);
    let mut collector = Collector::default();
    let answers = events.into_iter().map(|event| collector.push(event));
    answers
        .map(Result::unwrap)
        .find_map(|answer| answer)
        .unwrap()
}

/// Checks the text and the calls of an answer, at every split of its text and letter by letter.
fn check_with(tools: &Tools, content: &str, text: &str, calls: &[(&str, &str)]) {
    let holds = |answer: ModelAnswer, how: &str| {
        let found: Vec<(&str, &str)> = answer
            .tool_calls()
            .map(|call| (&*call.name, &*call.arguments))
            .collect();
        assert_eq!(answer.text(), text, "{content:?} {how}");
        assert_eq!(found, calls, "{content:?} {how}");
        let finish = if calls.is_empty() {
            Finish::Stop
        } else {
            Finish::ToolCalls
        };
        assert_eq!(answer.finish, finish, "{content:?} {how}");
    };
    for (at, _) in content.char_indices() {
        let (head, tail) = content.split_at(at);
        holds(answer(tools, [head, tail]), &format!("at {at}"));
    }
    let letters: Vec<String> = content.chars().map(String::from).collect();
    let letters = letters.iter().map(String::as_str);
    holds(answer(tools, letters), "letter by letter");
}

fn check(content: &str, text: &str) {
    check_with(&Tools::Named(vec!["pass_on".into()]), content, text, &[]);
}

#[test]
fn reasoning_is_not_text() {
    for (open, close) in [
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<THINK>", "</THINK>"),
        ("<thinking>", "</think>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
    ] {
        check(
            &format!("{open}\nHm.\n{close}\n\nWe open at 9."),
            "We open at 9.",
        );
        check(&format!(" \n{open}{close}We open at 9."), "We open at 9.");
        check(
            &format!("{open} Refuse. {close} We open at 9."),
            "We open at 9.",
        );
        check(
            &format!("Hello. {open}Hm.{close} We open at 9."),
            "Hello. We open at 9.",
        );
        check(&format!("We open at 9.\n{open}Hm."), "We open at 9.\n");
        check(&format!("{open}Hm"), "");
        // Only the end.
        check(&format!("{close}\n\nWe open at 9."), "We open at 9.");
        check(
            &format!("Refuse.\n{close}\n\nWe open at 9."),
            "We open at 9.",
        );
        check(
            &format!("They ask for hours.{close}We open at 9."),
            "We open at 9.",
        );
        check(
            &format!("Hm. They ask {close} we open at 9."),
            "we open at 9.",
        );
        check(&format!("Refuse.{close}"), "");
    }
    check(
        "<think>Say `</think>` first.</think>We open at 9.",
        "We open at 9.",
    );
    check("a</think>\nb\n</think>\nc", "c");
}

#[test]
fn marks_of_templates_are_not_text() {
    check(
        "<|channel|>analysis<|message|>They ask.\nHm.<|end|><|start|>assistant<|channel|>final<|message|>We open at 9.<|return|>",
        "We open at 9.",
    );
    check(
        "They ask.<|end|><|start|>assistant<|channel|>final<|message|>We open at 9.",
        "We open at 9.",
    );
    check("<|channel|>final<|message|>We open at 9.", "We open at 9.");
    check("<|channel|>analysis<|message|>They ask", "");
    check(
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>We open.",
        "We open.",
    );
    check("<|start|>assistant<|message|>We open.", "We open.");
    check("<|start|>assistant\nWe open.", "We open.");
    check(
        "analysisThey ask for hours.assistantfinalWe open.",
        "We open.",
    );
    check("<|im_start|>assistant\nWe open.<|im_end|>", "We open.");
    check(
        "We open.<|im_end|>\n<|im_start|>user\nAnd on Sunday?<|im_end|>\n<|im_start|>assistant\nNo.",
        "We open.",
    );
    check(
        "<|start_header_id|>assistant<|end_header_id|>\n\nWe open.<|eot_id|>",
        "We open.",
    );
    check("<start_of_turn>model\nWe open.<end_of_turn>\n", "We open.");
    check("[INST] Open? [/INST] We open.", "We open.");
    check("We open.\n[INST] And Sunday? [/INST] No.", "We open.\n");
    check("<｜Assistant｜>We open.<｜end▁of▁sentence｜>", "We open.");
    check("<｜User｜>Open?<｜Assistant｜>We open.", "We open.");
    check("We open.</s>", "We open.");
    check("We open<|reserved_special_token_3|>.", "We open.");
}

#[test]
fn other_text_is_kept() {
    for text in [
        "",
        "Hello",
        "\n\n  Hello\n",
        "<th",
        "1 < 2 and 3 > 2 [sic]",
        "<thinner>",
        "a <| b |> c",
        "Use <thead> and <b>bold</b>.",
        "<s>12 €</s> 9 €",
        "analysis of the market",
        "Write <think> here",
        "Say </think> twice",
        "Write. Write <think> and </think>, please",
        "The marks \"<think>\" and (</think>)",
        "Put `<think>` before and `</think>` after.\n\nNot more.",
        "```\n<think>\nhm\n</think>\n```\nThat is all.",
        "```html\n<|im_start|>\n[INST]\n```",
        "~~~\n</think>\n~~~",
        "[link](https://example.com) and [x]",
        "[\n1, 2]",
        "{ not json",
        "{\"name\": \"Ada\", \"age\": 36}",
        "{\"price\": 9}",
        "```json\n{\"name\": \"Ada\"}\n```",
        "```\nplain\n```\nmore",
        "Say:\n{\"name\": \"other\", \"arguments\": {}}",
        "5` tall",
    ] {
        check(text, text);
    }
}

#[test]
fn a_call_in_the_text_is_a_call() {
    let tools = Tools::Named(vec!["pass_on".into(), "find".into()]);
    let json = r#"{"name": "pass_on", "arguments": {"question": "hours?"}}"#;
    let hours = r#"{"question":"hours?"}"#;
    let check = |content: &str, text: &str| {
        check_with(&tools, content, text, &[("pass_on", hours)]);
    };
    check(json, "");
    check(&format!("\n{json}\n"), "\n");
    check(&format!("```json\n{json}\n```"), "");
    check(&format!("I ask.\n```\n{json}\n```\n"), "I ask.\n");
    check(&format!("I ask.\n{json}"), "I ask.\n");
    check(&format!("<think>Hm.</think>\n{json}"), "");
    check(&format!("<tool_call>\n{json}\n</tool_call>"), "");
    check(&format!("I ask.\n<tool_call>\n{json}"), "I ask.\n");
    check(&format!("<|python_tag|>{json}<|eom_id|>"), "");
    check(&format!("[TOOL_CALLS][{json}]"), "");
    check(&format!("[TOOL_CALLS] [{json}]</s>"), "");
    check(&format!("<function_call>{json}</function_call>"), "");
    check(&format!("```xml\n<tool_call>{json}</tool_call>\n```"), "");
    for content in [
        r#"{"tool_calls": [{"id": "a", "type": "function", "function": {"name": "pass_on", "arguments": "{\"question\":\"hours?\"}"}}]}"#,
        r#"{"type": "function", "name": "pass_on", "parameters": {"question": "hours?"}}"#,
        r#"{"tool": "functions.pass_on", "input": {"question": "hours?"}}"#,
        r#"{"name": "pass_on", "arguments": {"question": "hours?"}"#,
        r#"<function=pass_on>{"question":"hours?"}</function>"#,
        r#"<function=pass_on>
<parameter=question>
hours?
</parameter>
</function>"#,
        r#"<tool_call>
<function=pass_on>
<parameter=question>
hours?
</parameter>
</function>
</tool_call>"#,
        r#"<function_calls><invoke name="pass_on"><parameter name="question">hours?</parameter></invoke></function_calls>"#,
        "<tool_call>pass_on\n<arg_key>question</arg_key>\n<arg_value>hours?</arg_value>\n</tool_call>",
        r#"[TOOL_CALLS]pass_on[ARGS]{"question": "hours?"}"#,
        r#"[TOOL_CALLS]pass_on[CALL_ID]a1b[ARGS]{"question": "hours?"}"#,
        r#"<|tool_calls_section_begin|><|tool_call_begin|>functions.pass_on:0<|tool_call_argument_begin|>{"question": "hours?"}<|tool_call_end|><|tool_calls_section_end|>"#,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>pass_on\n```json\n{\"question\": \"hours?\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        r#"<|channel|>analysis<|message|>Ask.<|end|><|start|>assistant<|channel|>commentary to=functions.pass_on <|constrain|>json<|message|>{"question": "hours?"}<|call|>"#,
    ] {
        check(content, "");
    }
    let two = [("pass_on", hours), ("find", "{}")];
    let other = r#"{"name": "find", "arguments": {}}"#;
    check_with(&tools, &format!("[{json}, {other}]"), "", &two);
    check_with(
        &tools,
        &format!("<tool_call>{json}</tool_call>\n<tool_call>{other}</tool_call>"),
        "",
        &two,
    );
    check_with(
        &tools,
        &format!("<tool_call>\n{json}\n{other}\n</tool_call>"),
        "",
        &two,
    );
}

#[test]
fn a_call_that_cannot_be_made_is_not_text() {
    let unknown = r#"{"name": "other", "arguments": {"x": 1}}"#;
    check(unknown, "");
    check(&format!("```json\n{unknown}\n```"), "");
    check(&format!("<tool_call>{unknown}</tool_call>"), "");
    check(
        "<tool_call>{\"name\": \"pass_on\", \"arguments\": {\"ques",
        "",
    );
    check("<tool_call>pass_on it</tool_call>", "");
    // The model is told, because its words may announce the call.
    let tools = Tools::Named(vec!["pass_on".into()]);
    let marked = format!("I asked them. <tool_call>{unknown}</tool_call>");
    check_with(&tools, &marked, "I asked them. ", &[("other", "{\"x\":1}")]);
    // An answer that must match a schema is JSON.
    check_with(&Tools::Ignored, unknown, unknown, &[]);
}
