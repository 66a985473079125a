//! The backend that answers with a passage, as judged by [`assess`].

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    Embedder, LlmBackend, Result,
    embed::{EmbedContext, EmbedKind},
    llm::{
        BlockKind, CallContext, Finish, ModelEvent, ModelInfo, ModelMessage, ModelRequest,
        ModelStream, Part, Passage, Role,
    },
    memory::Language,
    money::{Price, Usage},
    outgoing::{Choice, Choices},
    text::{Matcher, language_of, question_language},
};
use serde_json::json;

use super::{
    assess::Assessment,
    phrases::{everywhere, phrase, source},
    quote::quote,
    talk::{self, Talk},
};

/// The tool that forwards a question to a person.
const PASS_ON: &str = "pass_on";
/// The number of passages to choose from: they cost nothing.
const PASSAGES: usize = 16;
/// The number of headings that are offered.
const OFFERED: usize = 3;
/// The longest label that every channel shows in a list, in UTF-16 units; a longer heading follows as the description.
const LABEL: usize = 20;
const DESCRIPTION: usize = 72;
/// The most questions of a message that are answered one by one.
const QUESTIONS: usize = 3;

/// Answers from the passages of the request by quoting the best one and naming its source, offers the headings that may be meant,
/// or replies that it does not know.
///
/// It needs no account and no network and costs nothing. Use it to try Konstruct out, and as a fallback when no model is
/// available. It never adds to the documents: it quotes a passage in the passage's language, and everything else that it says is
/// a fixed phrase in the person's language (English, German, Spanish, French, Italian, Portuguese or Dutch). Each part of a
/// message with several questions is answered. Where it is not sure, it offers up to three headings; a press on one is answered
/// with its passage. If a tool called `pass_on` is granted (arguments `{"question": string}`), it offers to forward an unanswered
/// question to the team, and calls the tool after a yes, or if the person asks for a person.
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
/// let request = ModelRequest::new("", [ModelMessage::text(Role::User, "What are your opening hours?")])
///     .with(|request| request.passages.push(passage));
/// let call = CallContext::new(TenantId::new(), "call-1", Duration::from_secs(5));
/// let answer = Extract::new().complete(request, &call).await?;
/// assert!(answer.text().contains("10 to 18"));
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Extract {
    info: ModelInfo,
    embedder: Option<Arc<dyn Embedder>>,
}

impl Extract {
    /// Creates the backend with its only model, `extract-1`. It compares words; with [`with_embedder`](Self::with_embedder) it also
    /// compares meanings.
    pub fn new() -> Self {
        Self {
            info: ModelInfo::new("extract", "extract-1")
                .with_price(Price::default())
                .with_passages(PASSAGES),
            embedder: None,
        }
    }

    /// Sets an embedder, with which a question need not use the words of the document. It embeds single words too, so it should
    /// be one on this machine. The decisions are calibrated for `StaticEmbedder` of konstruct-memory.
    #[must_use]
    pub fn with_embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Judges passages as answers to a question, as the backend does before it answers.
    ///
    /// # Errors
    /// Those of the embedder.
    pub async fn assess(
        &self,
        question: &str,
        passages: &[Passage],
        call: &CallContext,
    ) -> Result<Assessment> {
        let language = language_of_passages(passages);
        self.judge(passages, language, call).assess(question).await
    }

    fn judge<'a>(
        &'a self,
        passages: &'a [Passage],
        language: Language,
        call: &CallContext,
    ) -> Judge<'a> {
        let context = || EmbedContext::new(call.tenant, EmbedKind::Query, &*call.idempotency_key);
        let embedder = self.embedder.as_deref().map(|it| (it, context()));
        let passages = passages.iter().map(|it| (&*it.title, &*it.text));
        Judge {
            embedded: embedder.is_some(),
            matcher: Matcher::new(language, passages, embedder),
        }
    }

    async fn answer(&self, request: &ModelRequest, call: &CallContext) -> Result<Answer> {
        let (asked, before) = last_words(&request.messages);
        let documents = language_of_passages(&request.passages);
        let language = language_of_person(request, &asked, documents);
        if let Some(id) = request.messages.last().and_then(tool_reply) {
            return Ok(Answer::say(phrase(language, id)));
        }
        let can_pass_on = request.tools.iter().any(|tool| tool.name == PASS_ON);
        if let Some((talk, spoken)) = talk::read(&asked) {
            return Ok(answer_talk(talk, spoken, &asked, before, can_pass_on));
        }
        if let Some(passage) = chosen(&asked, &request.passages) {
            return Ok(Answer::say(quoted(passage, &asked, language)));
        }
        let mut judge = self.judge(&request.passages, documents, call);
        if let Some(parts) = answer_parts(&mut judge, &asked).await? {
            let parts = parts
                .iter()
                .map(|(question, passage)| quoted(&request.passages[*passage], question, language));
            return Ok(Answer::say(parts.collect::<Vec<_>>().join("\n\n")));
        }
        let whole = judge.assess(&asked).await?;
        if whole.answered >= 0.0
            && let Some(best) = whole.best()
        {
            let passage = &request.passages[best.passage];
            return Ok(Answer::say(quoted(passage, &asked, language)));
        }
        if whole.inside >= 0.0 {
            return Ok(offer(&whole, &request.passages, language, can_pass_on));
        }
        let rest = if can_pass_on { "offer" } else { "contact-team" };
        Ok(Answer::say(format!(
            "{} {}",
            phrase(language, "unknown"),
            phrase(language, rest)
        )))
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
        let finish = match self.answer(&request, call).await? {
            Answer::Say(text, choices) => {
                events.push(start(0, BlockKind::Text));
                // Word by word, as a model would, so that what shows a stream is tried too.
                events.extend(text.split_inclusive(' ').map(|word| ModelEvent::Text {
                    index: 0,
                    delta: word.to_owned(),
                }));
                events.push(ModelEvent::BlockEnd { index: 0 });
                if let Some(choices) = choices {
                    events.push(start(1, BlockKind::Choices(choices)));
                    events.push(ModelEvent::BlockEnd { index: 1 });
                }
                Finish::Stop
            }
            Answer::PassOn(question) => {
                events.push(start(
                    0,
                    BlockKind::ToolCall {
                        id: format!("call_{}", call.idempotency_key),
                        name: PASS_ON.into(),
                    },
                ));
                events.push(ModelEvent::ToolArguments {
                    index: 0,
                    delta: json!({ "question": question }).to_string(),
                });
                events.push(ModelEvent::BlockEnd { index: 0 });
                Finish::ToolCalls
            }
        };
        events.push(ModelEvent::Usage(Usage::default()));
        events.push(ModelEvent::Finish(finish));
        Ok(stream::iter(events.into_iter().map(Ok)).boxed())
    }
}

fn start(index: u32, kind: BlockKind) -> ModelEvent {
    ModelEvent::BlockStart { index, kind }
}

/// The reply to a message.
enum Answer {
    Say(String, Option<Choices>),
    PassOn(String),
}

impl Answer {
    fn say(text: String) -> Self {
        Self::Say(text, None)
    }
}

/// Judges questions about the same passages.
struct Judge<'a> {
    matcher: Matcher<'a>,
    embedded: bool,
}

impl Judge<'_> {
    async fn assess(&mut self, question: &str) -> Result<Assessment> {
        let matches = self.matcher.compare(question).await?;
        Ok(Assessment::of(matches, self.embedded))
    }
}

/// Answers a message of several questions if each has an answer. Returns each question with its passage.
async fn answer_parts(judge: &mut Judge<'_>, asked: &str) -> Result<Option<Vec<(String, usize)>>> {
    let parts = parts(asked);
    let mut answers: Vec<(String, usize)> = Vec::new();
    if parts.len() < 2 {
        return Ok(None);
    }
    for part in parts {
        let assessment = judge.assess(part).await?;
        match assessment.best() {
            Some(best) if assessment.answered >= 0.0 => {
                if answers.iter().all(|(_, known)| *known != best.passage) {
                    answers.push((part.to_owned(), best.passage));
                }
            }
            // A part such as "hello" or "I am new here" asks nothing.
            _ if assessment.matches.words < 2 => {}
            _ => return Ok(None),
        }
    }
    Ok((answers.len() > 1).then_some(answers))
}

fn answer_talk(
    talk: Talk,
    language: Language,
    asked: &str,
    before: &[ModelMessage],
    can_pass_on: bool,
) -> Answer {
    let last = before.last().map(text_of).unwrap_or_default();
    let offered = everywhere("offer").any(|(_, offer)| last.contains(&offer));
    match talk {
        Talk::Yes if offered && can_pass_on => {
            Answer::PassOn(last_words(&before[..before.len() - 1]).0)
        }
        Talk::Person if can_pass_on => Answer::PassOn(asked.to_owned()),
        Talk::Yes if offered => Answer::say(phrase(language, "cannot-pass-on")),
        Talk::Person => Answer::say(phrase(language, "contact-team")),
        Talk::No => Answer::say(phrase(language, "all-right")),
        Talk::Greeting => Answer::say(phrase(language, "hello")),
        Talk::Thanks | Talk::Yes => Answer::say(phrase(language, "welcome")),
    }
}

/// Returns the language in which a person writes. In a short message it is the one of their messages before, else that of the
/// documents.
fn language_of_person(request: &ModelRequest, asked: &str, documents: Language) -> Language {
    let person = request.messages.iter();
    let person = person.filter(|message| message.role == Role::User);
    let all: Vec<String> = person.rev().take(3).map(text_of).collect();
    question_language(asked, question_language(&all.join("\n"), documents))
}

fn language_of_passages(passages: &[Passage]) -> Language {
    let texts: Vec<&str> = passages.iter().map(|passage| &*passage.text).collect();
    language_of(&texts.join("\n"), Language::English)
}

/// Quotes the answer of a passage, with its source.
fn quoted(passage: &Passage, question: &str, language: Language) -> String {
    let spoken = language_of_passages(std::slice::from_ref(passage));
    let quote = quote(spoken, question, &passage.text);
    format!("{quote}\n\n{}", source(language, &passage.source))
}

/// Offers the best headings.
fn offer(
    assessment: &Assessment,
    passages: &[Passage],
    language: Language,
    can_pass_on: bool,
) -> Answer {
    let mut options: Vec<Choice> = Vec::new();
    for found in &assessment.matches.passages {
        let title = passages[found.passage].title.trim();
        let (label, described) = label(title);
        if title.is_empty() || options.iter().any(|known| known.label == label) {
            continue;
        }
        let choice = Choice::new(format!("passage-{}", options.len() + 1), label);
        options.push(match described {
            Some(description) => choice.describing(description),
            None => choice,
        });
        if options.len() == OFFERED {
            break;
        }
    }
    let choices = Choices::new(options).with_prompt(phrase(language, "choose"));
    let mut text = phrase(language, "did-you-mean");
    if can_pass_on {
        text = format!(
            "{text} {} {}",
            phrase(language, "otherwise"),
            phrase(language, "offer")
        );
    }
    Answer::Say(text, Some(choices))
}

/// Returns a heading as a label, and as a description if the label shortens it.
fn label(title: &str) -> (String, Option<String>) {
    match shortened(title, LABEL) {
        None => (title.to_owned(), None),
        Some(label) => {
            let whole = shortened(title, DESCRIPTION).unwrap_or_else(|| title.to_owned());
            (label, Some(whole))
        }
    }
}

/// Shortens a text to a length in UTF-16 units, at the end of a word if possible; `None` if it is short enough.
fn shortened(text: &str, length: usize) -> Option<String> {
    if text.encode_utf16().count() <= length {
        return None;
    }
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units < length
    };
    let begin: String = text.chars().take_while(fits).collect();
    let words = begin.rsplit_once(' ').map_or(&*begin, |(words, _)| words);
    let kept = if words.len() * 2 > begin.len() {
        words
    } else {
        &begin
    };
    Some(format!("{}…", kept.trim_end()))
}

/// Returns the passage whose heading the person chose or typed.
fn chosen<'a>(asked: &str, passages: &'a [Passage]) -> Option<&'a Passage> {
    let asked = asked.trim();
    passages.iter().find(|passage| {
        let title = passage.title.trim();
        !title.is_empty()
            && (title.to_lowercase() == asked.to_lowercase() || label(title).0 == asked)
    })
}

/// Splits a message into its questions: at line ends, after question marks, and at the word "and" in front of several words.
fn parts(asked: &str) -> Vec<&str> {
    const AND: [&str; 8] = [" and ", " und ", " y ", " et ", " e ", " en ", " & ", " + "];
    let ends = |c: char| matches!(c, '?' | '!' | '\n' | '？');
    let mut parts: Vec<&str> = Vec::new();
    for sentence in asked.split(ends).flat_map(|part| part.split(". ")) {
        let mut rest = sentence;
        while let Some((at, and)) = AND
            .iter()
            .filter_map(|and| Some((rest.find(and)?, and)))
            .filter(|(at, and)| several(&rest[..*at]) && several(&rest[at + and.len()..]))
            .min_by_key(|(at, _)| *at)
        {
            parts.push(rest[..at].trim());
            rest = &rest[at + and.len()..];
        }
        parts.push(rest.trim());
    }
    parts.retain(|part| !part.is_empty());
    parts.truncate(QUESTIONS);
    parts
}

fn several(text: &str) -> bool {
    text.split_whitespace().nth(2).is_some()
}

/// Returns the phrase after the tool call, if the message is its result.
fn tool_reply(message: &ModelMessage) -> Option<&'static str> {
    message.parts.iter().rev().find_map(|part| match part {
        Part::ToolResult { name, error, .. } if name == PASS_ON => {
            Some(if *error { "not-passed-on" } else { "passed-on" })
        }
        _ => None,
    })
}

/// Returns the person's latest messages, joined, and the messages before them.
fn last_words(messages: &[ModelMessage]) -> (String, &[ModelMessage]) {
    let end = messages
        .iter()
        .rposition(|message| message.role == Role::User)
        .map_or(0, |at| at + 1);
    let messages = &messages[..end];
    let burst = messages
        .iter()
        .rev()
        .take_while(|message| message.role == Role::User)
        .count();
    let (before, burst) = messages.split_at(messages.len() - burst);
    let texts = burst.iter().map(|message| {
        let text = text_of(message);
        unnamed(text.trim()).to_owned()
    });
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
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

/// Returns the text of a message without the reports of the channel, which are lines in brackets.
fn text_of(message: &ModelMessage) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let text: String = texts.collect();
    let report = |line: &&str| line.starts_with('[') && line.ends_with(']');
    let lines: Vec<&str> = text.lines().filter(|line| !report(line)).collect();
    lines.join("\n")
}
