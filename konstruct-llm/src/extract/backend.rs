//! The backend that answers with the passage chosen by [`choose`].

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    LlmBackend, Result,
    llm::{
        BlockKind, CallContext, Finish, ModelEvent, ModelInfo, ModelMessage, ModelRequest,
        ModelStream, Part, Role,
    },
    money::{Price, Usage},
};
use serde_json::json;

use super::{
    choose::choose,
    small_talk::{self, SmallTalk},
};

/// The tool that forwards a question to a person.
const PASS_ON: &str = "pass_on";
/// The end of the offer; a yes to it calls the tool.
const OFFER: &str = "Shall I pass your question on to the team?";
const UNKNOWN: &str = "I don't know: I only answer from the business's own documents, and I did not find this in them.";

/// Answers from the passages of the request by quoting the best one and naming its source, or replies that it does not know.
///
/// It needs no account and no network and costs nothing. Use it to try Konstruct out, and as a fallback when no model is
/// available. It never adds to the documents, and every answer ends with its source. If a tool called `pass_on` is granted
/// (arguments `{"question": string}`), it offers to forward an unanswered question to the team, and calls the tool after a yes.
///
/// ```
/// use std::time::Duration;
/// use konstruct_core::{TenantId, llm::{CallContext, LlmBackendExt as _, ModelMessage, ModelRequest, Passage, Role}};
/// use konstruct_llm::Extract;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let passage = Passage {
///     source: "FAQ › Opening hours".into(),
///     title: "Opening hours".into(),
///     text: "We are open from 10 to 18.".into(),
///     confidence: 0.9,
/// };
/// let request = ModelRequest::new("", [ModelMessage::text(Role::User, "When are you open?")])
///     .with(|request| request.passages.push(passage));
/// let call = CallContext::new(TenantId::new(), "call-1", Duration::from_secs(5));
/// let answer = Extract::new().complete(request, &call).await?;
/// assert!(answer.text().contains("10 to 18"));
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Extract {
    info: ModelInfo,
}

impl Extract {
    /// Creates the backend with its only model, `extract-1`.
    pub fn new() -> Self {
        Self {
            info: ModelInfo::new("extract", "extract-1").with_price(Price::default()),
        }
    }
}

impl Default for Extract {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LlmBackend for Extract {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        request.check(&self.info)?;
        let mut events = vec![ModelEvent::Start {
            id: call.idempotency_key.clone(),
            model: self.info.model.clone(),
        }];
        let finish = match answer(&request) {
            Answer::Say(text) => {
                events.push(start(BlockKind::Text));
                // Word by word, as a model would, so that what shows a stream is tried too.
                events.extend(text.split_inclusive(' ').map(|word| ModelEvent::Text {
                    index: 0,
                    delta: word.to_owned(),
                }));
                Finish::Stop
            }
            Answer::PassOn(question) => {
                events.push(start(BlockKind::ToolCall {
                    id: format!("call_{}", call.idempotency_key),
                    name: PASS_ON.into(),
                }));
                events.push(ModelEvent::ToolArguments {
                    index: 0,
                    delta: json!({ "question": question }).to_string(),
                });
                Finish::ToolCalls
            }
        };
        events.push(ModelEvent::BlockEnd { index: 0 });
        events.push(ModelEvent::Usage(Usage::default()));
        events.push(ModelEvent::Finish(finish));
        Ok(stream::iter(events.into_iter().map(Ok)).boxed())
    }
}

fn start(kind: BlockKind) -> ModelEvent {
    ModelEvent::BlockStart { index: 0, kind }
}

/// The reply to a message.
enum Answer {
    Say(String),
    PassOn(String),
}

fn answer(request: &ModelRequest) -> Answer {
    if let Some(text) = request.messages.last().and_then(tool_reply) {
        return Answer::Say(text.into());
    }
    let can_pass_on = request.tools.iter().any(|tool| tool.name == PASS_ON);
    let (asked, before) = last_words(&request.messages);
    let offered = before
        .last()
        .is_some_and(|message| text_of(message).contains(OFFER));
    match small_talk::read(&asked) {
        Some(SmallTalk::Yes) if offered && can_pass_on => {
            return Answer::PassOn(last_words(&before[..before.len() - 1]).0);
        }
        Some(SmallTalk::Yes) if offered => {
            return Answer::Say(
                "I cannot pass it on from here. Please contact the team directly.".into(),
            );
        }
        Some(SmallTalk::No) => {
            return Answer::Say("All right. Ask me anything else about the business.".into());
        }
        Some(SmallTalk::Greeting) => {
            return Answer::Say(
                "Hello! Ask me about the business. I am an AI and answer from its documents."
                    .into(),
            );
        }
        Some(SmallTalk::Thanks | SmallTalk::Yes) => {
            return Answer::Say("You're welcome! Ask me if there is anything else.".into());
        }
        None => {}
    }
    // The last line of a burst is usually the question; the lines before it may only complete it.
    let last = asked.lines().last().unwrap_or_default();
    let choice = choose(last, &request.passages).or_else(|| choose(&asked, &request.passages));
    let Some(choice) = choice else {
        let rest = if can_pass_on {
            OFFER
        } else {
            "Please contact the team directly."
        };
        return Answer::Say(format!("{UNKNOWN} {rest}"));
    };
    let source = &request.passages[choice.passage].source;
    Answer::Say(format!("{}\n\nSource: {source}", choice.quote))
}

/// Returns the reply after the tool call, if the message is its result.
fn tool_reply(message: &ModelMessage) -> Option<&'static str> {
    message.parts.iter().rev().find_map(|part| match part {
        Part::ToolResult { name, error, .. } if name == PASS_ON => Some(if *error {
            "I am sorry, I could not pass your question on. Please contact the team directly."
        } else {
            "I have passed your question on to the team. They will get back to you."
        }),
        _ => None,
    })
}

/// Returns the person's latest messages, joined, and the messages before them.
fn last_words(messages: &[ModelMessage]) -> (String, &[ModelMessage]) {
    let burst = messages
        .iter()
        .rev()
        .take_while(|message| message.role == Role::User)
        .count();
    let (before, burst) = messages.split_at(messages.len() - burst);
    let texts: Vec<String> = burst
        .iter()
        .map(|message| unnamed(&text_of(message)).to_owned())
        .collect();
    (texts.join("\n"), before)
}

/// Removes the `Name: ` prefix that messages carry in group conversations.
fn unnamed(text: &str) -> &str {
    match text.split_once(": ") {
        Some((name, said))
            if name.split_whitespace().count() <= 3 && name.chars().count() <= 40 =>
        {
            said
        }
        _ => text,
    }
}

fn text_of(message: &ModelMessage) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}
