//! Runs recorded field cases through the product: documents through extraction and recall, provider answers through the codecs and
//! the engine, webhook bodies and answers through the channels.
//!
//! The folder has one folder for each case, which begins with its number. The expected values are the table in `expected`. Prints a
//! row for each case, and ends with `cases=N right=N`.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, http::header};
use clap::Parser;
use konstruct_benches::Failed;
use konstruct_channels::{
    Slack, WhatsApp, slack,
    testkit::{FakeGraph, FakeSlack},
    whatsapp,
};
use konstruct_core::{
    Channel, Clock as _, DocumentFormat, Employee, Inbound, NewDocument, Secret, SystemClock,
    Timestamp, Workforce,
    employee::WorkingHours,
    llm::ToolSpec,
    memory::Language,
    testkit::VirtualClock,
    text::terms,
    tool::{Effect, Tool, ToolContext, ToolError},
    workforce::Answer,
};
use konstruct_llm::{Anthropic, Extract, Ollama, OpenAi};
use konstruct_memory::{Redb, chunks, extract};
use serde_json::{Value, json};

/// Runs recorded field cases through the product.
#[derive(Parser)]
struct Arguments {
    /// The folder of the cases.
    dir: PathBuf,
    /// The folder of the PDF files that a case names but does not contain.
    #[arg(long, env = "KONSTRUCT_FIELD_FILES", default_value = ".")]
    files: PathBuf,
}

/// What a case must give.
enum Expected {
    /// Each file, with texts that one passage must contain together, and texts that no passage may contain.
    Passages(
        &'static [(
            &'static str,
            &'static [&'static str],
            &'static [&'static str],
        )],
    ),
    /// A file, and the questions that `extract` must answer with these texts.
    Answers(&'static str, &'static [(&'static str, &'static str)]),
    /// A file, and texts that the model must be shown together for the question in `question.txt`.
    Prompt(&'static str, &'static [&'static str]),
    /// The texts that the model must be shown, given working hours and the time.
    Clock(&'static str, &'static [&'static str]),
    /// Working hours in a list, each with the times at which the business must be open.
    Open(&'static [&'static str]),
    /// Pairs of words that must be the same term.
    Terms(&'static [(&'static str, &'static str)]),
    /// The reply to every recorded answer of a provider; empty for the fixed phrase.
    Reply(&'static str),
    /// The arguments with which the tool `pass_on` must be called by every recorded answer.
    Call(&'static str),
    /// Texts that both channels must send together for `answer.txt`, and texts that they must not send.
    Sent(&'static [&'static str], &'static [&'static str]),
    /// Every message that is sent for `answer.txt` opens and closes its fences.
    Fences,
    /// The number of turns and conversations that follow from the webhooks.
    Turns(usize, usize),
}
use Expected::{Answers, Call, Clock, Fences, Open, Passages, Prompt, Reply, Sent, Terms, Turns};

fn expected(case: u32) -> Option<Expected> {
    Some(match case {
        1 => Passages(&[("omit_head.html", &["Dogs are welcome on the terrace."], &[])]),
        3 => Passages(&[
            (
                "accordion_bs.html",
                &["Do you repair tubeless tyres?", "12 euros per wheel"],
                &[],
            ),
            (
                "accordion_bs.html",
                &["Can I bring my dog?", "Dogs are welcome on a lead."],
                &[],
            ),
        ]),
        5 => Passages(&[(
            "rowspan.html",
            &["Tuesday", "Shop: 10-18", "Workshop: 13-17"],
            &[],
        )]),
        7 => Passages(&[("sup_price.html", &["9", "99 €"], &["999"])]),
        9 => Passages(&[
            ("ol.html", &["1. ", "2. ", "3. "], &["- "]),
            ("ol_start.html", &["4. "], &["1. "]),
        ]),
        10 => Passages(&[
            (
                "latin1.html",
                &["Öffnungszeiten", "Samstags für Sie geöffnet"],
                &[],
            ),
            (
                "sjis.html",
                &["営業時間", "土曜日は10時から17時まで"],
                &["\u{fffd}"],
            ),
        ]),
        11 => Passages(&[("latin1.csv", &["Größe: Groß", "59,90 €"], &[])]),
        13 => Passages(&[(
            "semi_comma_header.csv",
            &["Kette 11-fach", ": 34,50", ": 5 Tage"],
            &[],
        )]),
        15 => Passages(&[
            (
                "dash.txt",
                &["Do you ship to Norway? | Yes, for 12 euros."],
                &[],
            ),
            ("es.txt", &["¿Envían a Noruega? | Sí, por 12 euros."], &[]),
            (
                "full.txt",
                &["ノルウェーに発送できますか？ | はい、12ユーロです。"],
                &[],
            ),
            (
                "lower.txt",
                &["do you ship to norway? | yes, for 12 euros."],
                &[],
            ),
            (
                "nbsp.txt",
                &["Livrez-vous en Norvège ? | Oui, pour 12 euros."],
                &[],
            ),
            (
                "numbered.txt",
                &["Can I return an item? | Within 30 days."],
                &[],
            ),
            (
                "qparen.txt",
                &["Can I return an item? | Within 30 days."],
                &[],
            ),
            (
                "word_num.txt",
                &["Can I return an item? | Within 30 days."],
                &[],
            ),
        ]),
        17 => Passages(&[
            ("comment.md", &["A tube is 9 euros."], &["margin"]),
            (
                "html_in_md.md",
                &["Yes, for two hours."],
                &["margin", "<", "&nbsp;", "&amp;"],
            ),
        ]),
        19 => Passages(&[
            (
                "gdocs.md",
                &[
                    "How much is a #1 service? |",
                    "It costs ~49 EUR (incl. VAT).",
                ],
                &["data:", "{#", "\\"],
            ),
            ("gdocs.md", &["Call +1 555-0100"], &[]),
        ]),
        20 => Passages(&[("xobj.pdf", &["15 euros a day"], &[])]),
        22 => Passages(&[(
            "cm.pdf",
            &["A lost key costs 40 euros."],
            &["termsA", "day.The"],
        )]),
        24 => Passages(&[
            (
                "glyphs.pdf",
                &["Master of Science late key fee is paid on site"],
                &[],
            ),
            (
                "letters.pdf",
                &["William will fill in the illicit bill"],
                &[],
            ),
        ]),
        26 => Answers(
            "ligatures.txt",
            &[
                ("Who are the misfits?", "misfits"),
                ("Who sees things differently?", "misfits"),
            ],
        ),
        28 => Terms(&[
            ("KAPALI", "kapali"),
            ("kapalı", "kapali"),
            ("açık", "acik"),
            ("đặt", "dat"),
        ]),
        29 => Passages(&[("multilang.pdf", &["مرحبا بالعالم"], &[])]),
        30 => Passages(&[(
            "twocol.pdf",
            &["The deposit for a city bike is 50 euros and is paid back in cash."],
            &[],
        )]),
        31 => Passages(&[("form.pdf", &["Saturday", "9 to 14 o clock"], &[])]),
        32 => Prompt("faq.json", &["เวลาทำการวันเสาร์"]),
        33 => Prompt(
            "faq.json",
            &["<passage source=\"FAQ › शनिवार को दुकान कब खुलती है?\">"],
        ),
        34 => Clock(
            "2026-11-30T01:10:54Z",
            &["Sunday", "20:10", "America/New_York"],
        ),
        // The first hours end after midnight, the second at midnight, the third before it.
        35 => Open(&["2026-12-05T00:30:00Z", "2026-12-04T22:59:30Z", ""]),
        36 | 41 => Reply("We open at 9."),
        38 => Call("hours?"),
        39 => Reply(""),
        40 => Call("string args?"),
        43 => Sent(&["*_today only_*"], &["**"]),
        45 => Sent(&["Item: Tube", "Price: 9 EUR"], &["|"]),
        47 => Fences,
        48 => Turns(0, 0),
        49 => Turns(2, 1),
        _ => return None,
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let mut folders: Vec<PathBuf> = fs::read_dir(&arguments.dir)
        .map_err(|error| format!("{}: {error}", arguments.dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    folders.retain(|path| path.join("case.json").exists());
    folders.sort();
    let mut right = 0;
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let number = name.split('-').next().unwrap_or_default().parse();
        let case = Case {
            folder,
            files: &arguments.files,
        };
        let result = match number.ok().and_then(expected) {
            Some(expected) => case.run(&expected).await,
            None => Err("the table has no such case".into()),
        };
        right += usize::from(result.is_ok());
        match result {
            Ok(()) => println!("{name}: right"),
            Err(error) => println!("{name}: wrong: {error}"),
        }
    }
    println!("cases={} right={right}", folders.len());
    Ok(ExitCode::SUCCESS)
}

struct Case<'a> {
    folder: &'a Path,
    files: &'a Path,
}

/// What the model server received, and the arguments of the calls of the tool.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, text: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }

    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Case<'_> {
    async fn run(&self, expected: &Expected) -> Result<(), Failed> {
        match expected {
            Passages(files) => files.iter().try_for_each(|(file, together, never)| {
                let lines = self.passages(file)?;
                contains(&lines, together, never).map_err(|error| format!("{file}: {error}").into())
            }),
            Answers(file, questions) => {
                let workforce = self.extractive(file).await?;
                for (question, answer) in *questions {
                    let given = workforce.ask("p", *question).await?.text;
                    contains(&[given], &[answer], &[])?;
                }
                Ok(())
            }
            Prompt(file, together) => {
                let question = self.text("question.txt")?;
                let prompt = self
                    .prompt(Some(file), question.trim(), None, SystemClock.now())
                    .await?;
                contains(&[prompt], together, &[])
            }
            Clock(now, together) => {
                let hours = serde_json::from_str(&self.text("employee-hours.json")?)?;
                let question = self.text("question.txt")?;
                let prompt = self
                    .prompt(None, question.trim(), Some(hours), now.parse()?)
                    .await?;
                contains(&[prompt], together, &[])
            }
            Open(times) => {
                let all: Vec<Value> = serde_json::from_str(&self.text("employee-hours.json")?)?;
                for (hours, time) in all.into_iter().zip(*times) {
                    let hours: WorkingHours = serde_json::from_value(hours)?;
                    if !time.is_empty() && !hours.is_open(time.parse()?)? {
                        return Err(format!("closed at {time}").into());
                    }
                }
                Ok(())
            }
            Terms(pairs) => pairs.iter().try_for_each(|(one, other)| {
                let term = |word: &str| terms(Language::English, word);
                check(term(one) == term(other), || format!("{one} is not {other}"))
            }),
            Reply(text) => {
                for file in self.answers()? {
                    let (answer, calls) = self.answered(&file).await?;
                    let fixed = answer.fallback_reason().is_some();
                    check(
                        calls.is_empty() && fixed == text.is_empty() && !answer.text.is_empty(),
                        || format!("{}: {:?} {calls:?}", file.display(), answer.outcome),
                    )?;
                    check(fixed || answer.text == *text, || answer.text.clone())?;
                }
                Ok(())
            }
            Call(question) => {
                for file in self.answers()? {
                    let (answer, calls) = self.answered(&file).await?;
                    let expected = json!({ "question": question }).to_string();
                    check(calls == [expected] && answer.text == "Passed on.", || {
                        format!("{}: {} {calls:?}", file.display(), answer.text)
                    })?;
                }
                Ok(())
            }
            Sent(together, never) => {
                for parts in self.sent().await? {
                    contains(&[parts.join("\n")], together, never)?;
                }
                Ok(())
            }
            Fences => self
                .sent()
                .await?
                .into_iter()
                .flatten()
                .try_for_each(|part| {
                    let fences = part.matches("```").count();
                    check(fences % 2 == 0, || format!("{fences} fences in a part"))
                }),
            Turns(turns, conversations) => self.turns(*turns, *conversations).await,
        }
    }

    fn text(&self, file: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.folder.join(file))?)
    }

    fn document(&self, file: &str) -> Result<(DocumentFormat, String), Failed> {
        let format = match file.rsplit('.').next() {
            Some("html") => DocumentFormat::Html,
            Some("csv") => DocumentFormat::Csv,
            Some("md") => DocumentFormat::Markdown,
            Some("pdf") => DocumentFormat::Pdf,
            // Marks of questions are looked for in every text that is uploaded as an FAQ.
            Some("json") => DocumentFormat::Faq,
            _ if self.folder.to_string_lossy().contains("faq") => DocumentFormat::Faq,
            _ => DocumentFormat::Text,
        };
        let mut path = self.folder.join(file);
        if !path.exists() {
            path = self.files.join(file);
        }
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((format, extract(format, &bytes)?.text))
    }

    /// Returns a line for each passage of a file: `heading › heading | text`.
    fn passages(&self, file: &str) -> Result<Vec<String>, Failed> {
        let (format, text) = self.document(file)?;
        let found = chunks(format, &text).into_iter();
        Ok(found
            .map(|chunk| format!("{} | {}", chunk.path.join(" › "), chunk.text))
            .collect())
    }

    async fn extractive(&self, file: &str) -> Result<Workforce, Failed> {
        let workforce = Workforce::builder(Redb::in_memory()?)
            .model(Extract::new())
            .hire(Employee::builder("Ava").build()?)
            .build()?;
        let (format, text) = self.document(file)?;
        workforce
            .teach(NewDocument::new("Document", format, text))
            .await?;
        Ok(workforce)
    }

    /// Returns the text that a model is shown for a question.
    async fn prompt(
        &self,
        file: Option<&str>,
        question: &str,
        hours: Option<WorkingHours>,
        now: Timestamp,
    ) -> Result<String, Failed> {
        let seen = Seen::default();
        let url = serve(
            seen.clone(),
            says(Kind::Chat, "Yes."),
            says(Kind::Chat, "Yes."),
        )
        .await?;
        let mut employee = Employee::builder("Ava");
        if let Some(hours) = hours {
            employee = employee.hours(hours);
        }
        let workforce = Workforce::builder(Redb::in_memory()?)
            .model(OpenAi::new(Secret::new("key"), "m").base_url(url))
            .clock(VirtualClock::new(now))
            .hire(employee.build()?)
            .build()?;
        if let Some(file) = file {
            let (format, text) = self.document(file)?;
            workforce
                .teach(NewDocument::new("FAQ", format, text))
                .await?;
        }
        workforce.ask("p", question).await?;
        let request: Value = serde_json::from_str(seen.all().first().ok_or("no request")?)?;
        let messages = request["messages"].as_array().cloned().unwrap_or_default();
        let texts: Vec<&str> = messages
            .iter()
            .filter_map(|it| it["content"].as_str())
            .collect();
        Ok(texts.join("\n"))
    }

    /// Returns the recorded answers of providers.
    fn answers(&self) -> Result<Vec<PathBuf>, Failed> {
        let paths = fs::read_dir(self.folder)?.map(|entry| entry.map(|entry| entry.path()));
        let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
        paths.retain(|path| {
            path.extension()
                .is_some_and(|kind| kind == "sse" || kind == "ndjson")
        });
        paths.sort();
        check(!paths.is_empty(), || "no recorded answer".to_owned())?;
        Ok(paths)
    }

    /// Asks an employee whose provider gives a recorded answer. Returns the reply and the arguments of the calls of its tool.
    async fn answered(&self, file: &Path) -> Result<(Answer, Vec<String>), Failed> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let kind = Kind::of(&name);
        let url = serve(
            Seen::default(),
            fs::read_to_string(file)?,
            says(kind, "Passed on."),
        )
        .await?;
        let calls = Seen::default();
        let workforce = Workforce::builder(Redb::in_memory()?)
            .tool(PassOn::new(calls.clone()))
            .hire(Employee::builder("Ava").tool("pass_on").build()?);
        let key = Secret::new("key");
        let workforce = match kind {
            Kind::Chat => workforce.model(OpenAi::new(key, "m").base_url(url)),
            Kind::Responses => workforce.model(OpenAi::new(key, "m").base_url(url).responses()),
            Kind::Messages => workforce.model(Anthropic::new(key, "m").base_url(url)),
            Kind::Ollama => workforce.model(Ollama::new("m").base_url(url)),
        };
        let asking = workforce.build()?;
        let asking = asking.ask("p", "When do you open?");
        let answer = tokio::time::timeout(Duration::from_secs(20), asking).await;
        Ok((
            answer.map_err(|_| "no reply within 20 seconds")??,
            calls.all(),
        ))
    }

    /// Returns the messages that each channel sends for `answer.txt`.
    async fn sent(&self) -> Result<[Vec<String>; 2], Failed> {
        let text = self.text("answer.txt")?;
        let url = serve(
            Seen::default(),
            says(Kind::Chat, &text),
            says(Kind::Chat, &text),
        )
        .await?;
        let now = SystemClock.now();
        let (fake_slack, fake_graph) = (FakeSlack::start().await?, FakeGraph::start().await?);
        let asked = slack::decode(&fake_slack.message("D1", "U1", "hi"), now).events;
        talk(Some(&url), slack_of(&fake_slack)?, asked).await?;
        let asked = whatsapp::decode(&fake_graph.message(NUMBER, "15550009007", "hi"), now).events;
        talk(Some(&url), whatsapp_of(&fake_graph)?, asked).await?;
        let posts = fake_slack
            .posts()
            .into_iter()
            .map(|post| post.text)
            .collect();
        let sent = fake_graph
            .posts()
            .into_iter()
            .map(|post| post.text)
            .collect();
        Ok([posts, sent])
    }

    /// Delivers the webhooks, and counts the replies and the conversations.
    async fn turns(&self, turns: usize, conversations: usize) -> Result<(), Failed> {
        let (fake_slack, fake_graph) = (FakeSlack::start().await?, FakeGraph::start().await?);
        let (mut from_slack, mut from_whatsapp) = (Vec::new(), Vec::new());
        let mut paths: Vec<PathBuf> = fs::read_dir(self.folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.retain(|path| {
            path.extension().is_some_and(|kind| kind == "json") && !path.ends_with("case.json")
        });
        paths.sort();
        for path in paths {
            let mut body: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
            if body.get("type").is_some() {
                from_slack
                    .extend(slack::decode(body.to_string().as_bytes(), SystemClock.now()).events);
                continue;
            }
            if body.get("entry").is_none() {
                body["messaging_product"] = "whatsapp".into();
                body["metadata"] = json!({"phone_number_id": NUMBER});
                body = json!({"object": "whatsapp_business_account",
                    "entry": [{"id": "1", "changes": [{"field": "messages", "value": body}]}]});
            }
            from_whatsapp
                .extend(whatsapp::decode(body.to_string().as_bytes(), SystemClock.now()).events);
        }
        let found = talk(None, slack_of(&fake_slack)?, from_slack).await?;
        let other = talk(None, whatsapp_of(&fake_graph)?, from_whatsapp).await?;
        let found = (
            fake_slack.posts().len() + fake_graph.posts().len(),
            found + other,
        );
        // A conversation without a turn is only a record of the event.
        let expected = (turns, if turns == 0 { found.1 } else { conversations });
        check(found == expected, || {
            format!("replies and conversations: {found:?}")
        })
    }
}

const NUMBER: &str = "106540352242922";

fn slack_of(fake: &FakeSlack) -> Result<Slack, Failed> {
    Ok(Slack::builder(Secret::new("xoxb-1"))
        .api_url(fake.url())
        .build()?)
}

fn whatsapp_of(fake: &FakeGraph) -> Result<WhatsApp, Failed> {
    Ok(WhatsApp::builder(NUMBER, Secret::new("token"))
        .api_url(fake.url())
        .build()?)
}

/// Delivers events to an employee on a channel, one after the other. Returns the number of conversations.
async fn talk(
    url: Option<&str>,
    channel: impl Channel,
    events: Vec<Inbound>,
) -> Result<usize, Failed> {
    let Some(first) = events.first() else {
        return Ok(0);
    };
    let builder = Workforce::builder(Redb::in_memory()?)
        .channel(first.account.0.clone(), channel)
        .hire(Employee::builder("Ava").build()?);
    let workforce = match url {
        Some(url) => builder.model(OpenAi::new(Secret::new("key"), "m").base_url(url)),
        None => builder.model(Extract::new()),
    };
    let workforce = workforce.build()?;
    for event in events {
        workforce.accept(event).await?;
        workforce.run_until_idle().await?;
    }
    Ok(workforce.conversations(None, 100).await?.len())
}

#[derive(Clone, Copy)]
enum Kind {
    Chat,
    Responses,
    Messages,
    Ollama,
}

impl Kind {
    /// Returns the wire format of a recorded answer by its file name.
    fn of(name: &str) -> Self {
        match name {
            _ if name.starts_with("responses") => Self::Responses,
            _ if name.starts_with("anthropic") => Self::Messages,
            _ if name.starts_with("ollama") => Self::Ollama,
            _ => Self::Chat,
        }
    }
}

/// Returns the body of an answer that is only this text.
fn says(kind: Kind, text: &str) -> String {
    let frames = match kind {
        Kind::Ollama => {
            return json!({"model": "m", "message": {"content": text}, "done": true, "done_reason": "stop"}).to_string() + "\n";
        }
        Kind::Chat => vec![
            json!({"id": "c", "model": "m", "choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}),
        ],
        Kind::Responses => vec![
            json!({"type": "response.completed", "response": {"id": "r", "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}]}}),
        ],
        Kind::Messages => vec![
            json!({"type": "message_start", "message": {"id": "m", "model": "m", "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn"}}),
            json!({"type": "message_stop"}),
        ],
    };
    frames
        .into_iter()
        .map(|frame| format!("data: {frame}\n\n"))
        .collect()
}

/// Serves an answer, and another one after the result of a tool. Returns the address.
async fn serve(seen: Seen, answer: String, after_tool: String) -> Result<String, Failed> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let answer = move |request: String| async move {
        let called = ["\"role\":\"tool\"", "tool_result", "function_call_output"];
        let called = called.iter().any(|mark| request.contains(mark));
        seen.add(request);
        let body = if called { after_tool } else { answer };
        let media = if body.starts_with('{') {
            "application/x-ndjson"
        } else {
            "text/event-stream"
        };
        ([(header::CONTENT_TYPE, media)], body)
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// The tool `pass_on`, which records its arguments.
#[derive(Debug)]
struct PassOn {
    spec: ToolSpec,
    calls: Seen,
}

impl PassOn {
    fn new(calls: Seen) -> Self {
        let spec = ToolSpec {
            name: "pass_on".into(),
            description: "Passes a question on.".into(),
            parameters: json!({"type": "object", "properties": {"question": {"type": "string"}}}),
        };
        Self { spec, calls }
    }
}

#[async_trait]
impl Tool for PassOn {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> Effect {
        Effect::Idempotent
    }

    async fn call(&self, _: &ToolContext, arguments: Value) -> Result<Value, ToolError> {
        self.calls.add(arguments.to_string());
        Ok("Passed on.".into())
    }
}

/// Checks that one of the texts contains all of these, and that none contains any of those. White space is
/// compared as one space.
fn contains(texts: &[String], together: &[&str], never: &[&str]) -> Result<(), Failed> {
    // A quotation may keep the ligatures of its source.
    let plain = |text: &str| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.replace('ﬁ', "fi").replace('ﬀ', "ff")
    };
    let texts: Vec<String> = texts.iter().map(|text| plain(text)).collect();
    let all = |text: &String| {
        together
            .iter()
            .all(|part| text.contains(plain(part).as_str()))
    };
    check(texts.iter().any(all), || {
        format!("no text has {together:?}: {texts:?}")
    })?;
    match never
        .iter()
        .find(|part| texts.iter().any(|text| text.contains(**part)))
    {
        Some(part) => Err(format!("a text has {part:?}: {texts:?}").into()),
        None => Ok(()),
    }
}

fn check(holds: bool, problem: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(problem().into()) }
}
