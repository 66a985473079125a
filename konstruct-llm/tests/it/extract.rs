//! Conversations with the offline backend.

use konstruct_core::LlmBackend as _;
use konstruct_core::{
    llm::{
        Finish, LlmBackendExt as _, ModelAnswer, ModelMessage, ModelRequest, Part, Passage, Role,
    },
    money::{Price, Usage},
};
use konstruct_llm::Extract;

use crate::{ask, call, tool};

const UNKNOWN: &str = "Do you sell electric scooters?";

async fn answer(mut request: ModelRequest) -> ModelAnswer {
    request.passages = vec![Passage {
        source: "FAQ › Returns".into(),
        title: "Returns".into(),
        text: "Unused goods can be returned within 30 days.".into(),
        confidence: 0.6,
    }];
    let answer = Extract::new().complete(request, &call()).await.unwrap();
    assert_eq!(answer.usage, Some(Usage::default()));
    assert_eq!(answer.model, "extract-1");
    answer
}

fn said(messages: &[(Role, &str)], tools: &[&str]) -> ModelRequest {
    ask("").with(|it| {
        it.messages = messages
            .iter()
            .map(|(role, text)| ModelMessage::text(*role, *text))
            .collect();
        it.tools = tools.iter().map(|name| tool(name)).collect();
    })
}

#[tokio::test]
async fn it_quotes_and_names_the_source() {
    let answer = answer(ask("Can I send it back?")).await;
    assert_eq!(
        answer.text(),
        "Unused goods can be returned within 30 days.\n\nSource: FAQ › Returns"
    );
    assert_eq!(answer.finish, Finish::Stop);
    assert_eq!(Extract::new().describe().price, Some(Price::default()));
}

#[tokio::test]
async fn the_speakers_name_is_ignored() {
    let text = answer(ask("Robin Doe: can I get a refund?")).await.text();
    assert!(text.contains("within 30 days"), "{text}");
    let text = answer(ask("U012AB: hi there")).await.text();
    assert!(text.starts_with("Hello!"), "{text}");
}

#[tokio::test]
async fn small_talk_states_no_fact() {
    for (text, begins) in [
        ("Hello!", "Hello!"),
        ("thank you so much", "You're welcome"),
        ("no thanks", "All right"),
    ] {
        let text = answer(ask(text)).await.text();
        assert!(text.starts_with(begins), "{text}");
        assert!(!text.contains("30 days"), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_question_is_passed_on_after_a_yes() {
    let tools = &["pass_on"][..];
    let offer = answer(said(&[(Role::User, UNKNOWN)], tools)).await.text();
    assert!(offer.starts_with("I don't know"), "{offer}");
    assert!(offer.contains("pass your question on"), "{offer}");

    let agreed = [
        (Role::User, UNKNOWN),
        (Role::Assistant, offer.as_str()),
        (Role::User, "Yes please!"),
    ];
    let called = answer(said(&agreed, tools)).await;
    let tool_call = called.tool_calls().next().unwrap().clone();
    assert_eq!(
        (tool_call.name.as_str(), &called.finish),
        ("pass_on", &Finish::ToolCalls)
    );
    assert_eq!(
        tool_call.arguments,
        format!("{{\"question\":\"{UNKNOWN}\"}}")
    );

    for (error, expected) in [
        (false, "I have passed your question on"),
        (true, "I am sorry"),
    ] {
        let mut request = said(&agreed, tools);
        let parts = vec![Part::ToolCall(tool_call.clone())];
        request.messages.push(ModelMessage {
            role: Role::Assistant,
            parts,
        });
        let parts = vec![Part::ToolResult {
            id: tool_call.id.clone(),
            name: "pass_on".into(),
            content: "{}".into(),
            error,
        }];
        request.messages.push(ModelMessage {
            role: Role::Tool,
            parts,
        });
        let text = answer(request).await.text();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[tokio::test]
async fn without_the_tool_it_does_not_offer() {
    let text = answer(said(&[(Role::User, UNKNOWN)], &["other"]))
        .await
        .text();
    assert!(text.starts_with("I don't know"), "{text}");
    assert!(!text.contains("Shall I"), "{text}");
    let text = answer(said(&[(Role::User, "yes please")], &["pass_on"])).await;
    assert_eq!(
        text.tool_calls().count(),
        0,
        "a yes to nothing calls nothing"
    );
}
