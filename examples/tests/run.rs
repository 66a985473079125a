//! The examples do what they say.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

use std::{
    net::TcpListener,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use konstruct_channels::testkit::{FakeGraph, FakeSlack, deliver, signed_slack, signed_whatsapp};
use konstruct_core::{Clock as _, Secret, SystemClock};
use konstruct_llm::testkit::{FakeProvider, Reply};
use tokio::process::Command;

/// Cargo builds the examples beside the test.
fn example(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let path = exe
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} is built with `cargo test`",
        path.display()
    );
    path
}

#[test]
fn those_that_end_by_themselves_succeed() {
    for name in [
        "many_tenants",
        "approval",
        "custom_tool",
        "own_backend",
        "fallback",
        "custom_channel",
        "custom_webhook",
        "custom_store",
        "voice_notes",
    ] {
        let output = std::process::Command::new(example(name)).output().unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A model that calls the tool and then says what it returned.
fn model_with_a_tool() -> FakeProvider {
    let model = FakeProvider::default();
    model.next(Reply::default().call("status", r#"{"number":"B-1042"}"#));
    model.next(Reply::text("Your order B-1042 was shipped."));
    model
}

#[tokio::test]
async fn an_app_without_a_channel_asks_and_is_answered() {
    let ollama = model_with_a_tool().spawn().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let asked = Command::new(example("ask"))
        .current_dir(dir.path())
        .env("OLLAMA_HOST", ollama.url())
        .output();
    let output = asked.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "Your order B-1042 was shipped.\n", "{failed}");
}

#[tokio::test]
async fn the_front_desk_answers_once_on_slack_and_on_whatsapp() {
    let (slack, graph) = (
        FakeSlack::start().await.unwrap(),
        FakeGraph::start().await.unwrap(),
    );
    let model = model_with_a_tool();
    model.next(Reply::text("We open at ten."));
    let ollama = model.clone().spawn().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let front_desk = Command::new(example("front_desk"))
        .current_dir(dir.path())
        .env("LISTEN", free.to_string())
        .env("SLACK_BOT_TOKEN", "xoxb-1")
        .env("SLACK_SIGNING_SECRET", "secret")
        .env("SLACK_API_URL", slack.url())
        .env("SLACK_TEAM_ID", "T1")
        .env("WHATSAPP_PHONE_NUMBER_ID", "106540352242922")
        .env("WHATSAPP_ACCESS_TOKEN", "EAAG1")
        .env("WHATSAPP_APP_SECRET", "secret")
        .env("WHATSAPP_VERIFY_TOKEN", "verify")
        .env("GRAPH_API_URL", graph.url())
        .env("OLLAMA_HOST", ollama.url())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let secret = Secret::new("secret");
    let question = slack.message("D1", "U1", "Where is B-1042?");
    let event = signed_slack(&secret, SystemClock.now(), question);
    let url = |path: &str| format!("http://{free}/webhooks/{path}");
    let begin = Instant::now();
    let in_time = || {
        assert!(
            begin.elapsed() < Duration::from_secs(40),
            "no answer in time"
        );
        tokio::task::yield_now()
    };
    while deliver(&url("slack/events"), &event).await.ok() != Some(200) {
        in_time().await;
    }
    let again = deliver(&url("slack/events"), &event).await.unwrap();
    assert_eq!(again, 200, "delivered again");
    while slack.posts().is_empty() {
        in_time().await;
    }
    let posts = slack.posts();
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0].text, "Your order B-1042 was shipped.");
    let shown = model.requests().last().unwrap().body.to_string();
    assert!(
        shown.contains("B-1042 was shipped"),
        "the model was shown the tool's result: {shown}"
    );

    let question = graph.message("106540352242922", "491711234567", "When do you open?");
    let event = signed_whatsapp(&secret, question);
    assert_eq!(deliver(&url("whatsapp"), &event).await.unwrap(), 200);
    while graph.posts().is_empty() || graph.reads().is_empty() {
        in_time().await;
    }
    assert_eq!(graph.posts().len(), 1);
    assert_eq!(graph.posts()[0].text, "We open at ten.");
    assert_eq!(graph.reads().len(), 1, "the message is marked as read");
    drop(front_desk);
}

/// The README promises how short these are: lines of code, formatted, without comments and blank lines.
#[test]
fn the_programs_are_as_short_as_promised() {
    let code = |source: &str| {
        let lines = source.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count()
    };
    assert!(code(include_str!("../ask.rs")) <= 25);
    assert!(code(include_str!("../front_desk.rs")) <= 45);
}

/// The `Cargo.toml` lines of the README are those that its programs are compiled with here.
#[test]
fn the_dependencies_of_the_readme_exist() {
    let readme = include_str!("../../README.md");
    let lines = readme.split("```toml").nth(1).unwrap();
    let lines = lines.split("```").next().unwrap();
    let workspace = include_str!("../../Cargo.toml");
    let here = include_str!("../Cargo.toml");
    let mut names = 0;
    for line in lines.lines().filter(|line| line.contains('=')) {
        let (name, value) = line.split_once(" = ").unwrap();
        let version = value
            .split('"')
            .find(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        let (version, declared) = (version.unwrap(), format!("\n{name} = "));
        let declaration = workspace
            .split(&declared)
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        assert!(
            declaration.contains(&format!("\"{version}")),
            "{name} {version}: {declaration}"
        );
        assert!(
            here.contains(&format!("\n{name}")),
            "{name} is not a dependency here"
        );
        names += 1;
    }
    assert_eq!(names, 6);
}
