//! The model that the programs call, and their answers.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, OnceLock},
    time::Duration,
};

use konstruct_llm::testkit::{FakeProvider, Reply};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::{sleep, timeout},
};

use crate::{Failed, process};

/// The questions that the programs ask.
pub const QUESTIONS: [&str; 2] = ["Where is order B-1042?", "Which order did I ask about?"];

const NUMBER: &str = "B-1042";
/// The result of the tool, which the model does not know.
const STATUS: &str = "B-1042 was shipped";

/// The time that a program may need for both answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this time a program counts as idle.
const SETTLED: Duration = Duration::from_secs(2);

/// The answers of a program, and its memory afterwards.
#[derive(Debug)]
pub struct Dialogue {
    /// The lines that it printed.
    pub answers: Vec<String>,
    /// Its resident memory in KiB while it waits.
    pub idle_kib: u64,
}

impl Dialogue {
    /// Runs a program in an empty folder.
    ///
    /// # Errors
    /// It cannot be started, fails, or does not print a line for each question.
    pub async fn hold(program: &Path) -> Result<Self, Failed> {
        let model = model();
        let server = model.spawn().await?;
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(program)
            .current_dir(folder.path())
            .env("OPENAI_API_KEY", "key")
            .env("OPENAI_BASE_URL", format!("{}/v1", server.url()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut printed = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut answers = Vec::new();
        for _ in QUESTIONS {
            let line = timeout(PATIENCE, printed.next_line()).await??;
            answers.push(line.ok_or("the program ended without two answers")?);
        }
        sleep(SETTLED).await;
        let idle_kib = process::resident_kib(child.id().ok_or("the program did not wait")?)?;
        drop(child.stdin.take());
        let status = timeout(PATIENCE, child.wait()).await??;
        if !status.success() {
            return Err(format!("{} ended with {status}", program.display()).into());
        }
        Ok(Self { answers, idle_kib })
    }

    /// Returns the number of right answers.
    pub fn right(&self) -> usize {
        let expected = [STATUS, NUMBER];
        let pairs = self.answers.iter().zip(expected);
        pairs
            .filter(|(answer, expected)| answer.contains(expected))
            .count()
    }
}

/// Creates a model that answers only from the tool and from the messages that it is sent.
fn model() -> FakeProvider {
    let provider: Arc<OnceLock<FakeProvider>> = Arc::default();
    let known = Arc::clone(&provider);
    let model = FakeProvider::new(move |question| {
        let requests = known.get().map(FakeProvider::requests);
        let last = requests.unwrap_or_default().pop();
        last.map_or_else(Reply::default, |last| reply(question, &last.body))
    });
    provider.get_or_init(|| model.clone());
    model
}

fn reply(question: &str, body: &Value) -> Reply {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(result) = messages.last().filter(|last| last["role"] == "tool") {
        return Reply::text(format!("Order {}.", text(&result["content"])));
    }
    let remembered = messages
        .iter()
        .any(|message| text(&message["content"]).contains(NUMBER));
    match question {
        question if question == QUESTIONS[0] && has_tool(body) => {
            Reply::default().call("status", json!({ "number": NUMBER }).to_string())
        }
        question if question == QUESTIONS[1] && remembered => {
            Reply::text(format!("You asked about {NUMBER}."))
        }
        _ => Reply::text("I do not know."),
    }
}

/// Returns whether the request has the tool, with the type of its argument.
fn has_tool(body: &Value) -> bool {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    tools.iter().any(|tool| {
        let function = &tool["function"];
        function["name"] == "status"
            && function["parameters"]["properties"]["number"]["type"] == "string"
    })
}

/// Returns the text of a message's content, which is a string or a list of parts.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}
