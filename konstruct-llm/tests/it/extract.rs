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
    let answer = answer(ask("Can I return unused goods?")).await;
    assert_eq!(
        answer.text(),
        "Unused goods can be returned within 30 days.\n\nSource: FAQ › Returns"
    );
    assert_eq!(answer.finish, Finish::Stop);
    assert_eq!(Extract::new().describe().price, Some(Price::default()));
}

#[tokio::test]
async fn the_speakers_name_is_ignored() {
    let text = answer(ask("Robin Doe: can unused goods be returned?"))
        .await
        .text();
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

/// Answers from a few passages.
async fn answer_from(passages: &[(&str, &str)], request: ModelRequest) -> ModelAnswer {
    let passages = passages.iter().map(|(title, text)| Passage {
        source: format!("FAQ › {title}"),
        title: (*title).into(),
        text: (*text).into(),
        confidence: 0.5,
    });
    let request = request.with(|it| it.passages = passages.collect());
    Extract::new().complete(request, &call()).await.unwrap()
}

const SHOP: &[(&str, &str)] = &[
    ("Opening hours", "We are open from 9 to 18."),
    (
        "Do you have parking spaces for customers?",
        "Behind the house.",
    ),
    ("Gift vouchers", "Vouchers are valid for three years."),
    ("Delivery", "We deliver on Fridays."),
];

#[tokio::test]
async fn headings_are_offered_where_it_is_not_sure_and_a_press_answers() {
    let unsure = answer_from(SHOP, ask("delivery of parking vouchers at christmas")).await;
    assert!(
        unsure.text().starts_with("I am not sure"),
        "{}",
        unsure.text()
    );
    let options = &unsure.choices().unwrap().options;
    assert!(options.len() > 1 && options.len() <= 3, "{options:?}");
    let long = options.iter().find(|it| it.description.is_some()).unwrap();
    assert_eq!(long.label, "Do you have…");
    assert_eq!(
        long.description.as_deref(),
        Some("Do you have parking spaces for customers?")
    );
    for pressed in ["Do you have…", "gift vouchers"] {
        let press = format!("[pressed the button \"x\"]\n{pressed}");
        let text = answer_from(SHOP, ask(&press)).await.text();
        assert!(text.contains("Source: FAQ › "), "{text}");
    }
}

#[tokio::test]
async fn each_question_of_a_message_is_answered() {
    let two = "what are your opening hours? are gift vouchers valid?";
    let text = answer_from(SHOP, ask(two)).await.text();
    assert!(
        text.contains("9 to 18") && text.contains("three years"),
        "{text}"
    );
    let one = "what are your opening hours? do you sell scooters and helmets?";
    let text = answer_from(SHOP, ask(one)).await.text();
    assert!(!text.contains("three years"), "{text}");
}

#[tokio::test]
async fn phrases_are_in_the_persons_language_and_quotes_in_their_own() {
    let shop = &[("Öffnungszeiten", "Wir haben von 9 bis 18 Uhr geöffnet.")];
    let text = answer_from(shop, ask("wie sind die öffnungszeiten"))
        .await
        .text();
    assert_eq!(
        text,
        "Wir haben von 9 bis 18 Uhr geöffnet.\n\nQuelle: FAQ › Öffnungszeiten"
    );
    let text = answer_from(SHOP, ask("¿venden ustedes bicicletas eléctricas?"))
        .await
        .text();
    assert!(text.starts_with("No lo sé"), "{text}");
}

#[tokio::test]
async fn a_wish_for_a_person_is_passed_on() {
    for wish in [
        "can i talk to a human please",
        "ich will mit jemandem sprechen",
    ] {
        let asked = said(&[(Role::User, wish)], &["pass_on"]);
        assert_eq!(answer(asked).await.tool_calls().count(), 1, "{wish}");
        let text = answer(ask(wish)).await.text();
        assert!(text.contains("team") || text.contains("Team"), "{text}");
    }
}
