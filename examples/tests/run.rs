//! The examples do what they say.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use konstruct_channels::testkit::{FakeSlack, deliver, signed_slack};
use konstruct_core::{Clock as _, Secret, SystemClock};
use konstruct_llm::testkit::{FakeProvider, Reply};

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
        "custom_tool",
        "own_backend",
        "fallback",
        "custom_channel",
        "custom_webhook",
        "custom_store",
    ] {
        let output = Command::new(example(name)).output().unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Ends the example with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_front_desk_uses_its_tool_and_answers_once() {
    let slack = FakeSlack::start().await.unwrap();
    let model = FakeProvider::default();
    model.next(Reply::default().call("status", r#"{"number":"B-1042"}"#));
    model.next(Reply::text("Your order B-1042 was shipped."));
    let ollama = model.spawn().await.unwrap();
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
        .env("OLLAMA_HOST", ollama.url())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let _running = Running(front_desk);
    let event = signed_slack(
        &Secret::new("secret"),
        SystemClock.now(),
        slack.message("D1", "U1", "Where is B-1042?"),
    );
    let url = format!("http://{free}/webhooks/slack/events");
    let begin = Instant::now();
    while deliver(&url, &event).await.ok() != Some(200) {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "the example does not listen"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(deliver(&url, &event).await.unwrap(), 200, "delivered again");
    while slack.posts().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(40), "no answer");
        tokio::task::yield_now().await;
    }
    let posts = slack.posts();
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0].text, "Your order B-1042 was shipped.");
    let told = model.requests().last().unwrap().body.to_string();
    assert!(
        told.contains("B-1042 was shipped"),
        "the model was told what the tool returned: {told}"
    );
}
