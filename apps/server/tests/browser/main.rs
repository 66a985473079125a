//! The demo in a real browser: Chromium, driven over WebDriver. `.ci/test` installs both.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

mod driver;

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use self::driver::Browser;

/// A server on ports of its own, without configuration.
struct Server {
    child: Child,
    url: String,
    /// Kept open, because the server may still print.
    _lines: Lines<BufReader<ChildStdout>>,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_konstruct-server"))
            .env_clear()
            .env("KONSTRUCT_LISTEN", "127.0.0.1:0")
            .env("KONSTRUCT_METRICS_LISTEN", "127.0.0.1:0")
            .env("KONSTRUCT_DATA_DIR", dir.path())
            .env("KONSTRUCT_MODEL", "extract")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("Talk to the employee: ")
                    .map(str::to_owned)
            })
            .expect("the server prints where to talk to the employee");
        Self {
            child,
            url,
            _lines: lines,
            _dir: dir,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_person_talks_to_the_employee_in_both_windows() {
    let server = Server::start();
    let browser = Browser::start().await;
    browser.open(&server.url).await;

    let answer = browser
        .ask("whatsapp", "At what time do you open on a Saturday?")
        .await;
    assert!(answer.contains("Saturday from 9:00 to 16:00"), "{answer}");
    assert!(
        answer.contains("Source: Acme Bikes FAQ › Opening hours"),
        "the answer must name its source: {answer}"
    );

    let answer = browser
        .ask("slack", "What does a puncture repair cost?")
        .await;
    assert!(
        answer.contains("15 euros") && answer.contains("Source: Acme Bikes FAQ"),
        "{answer}"
    );

    let answer = browser
        .ask("whatsapp", "wann habt ihr samstags offen")
        .await;
    assert!(
        answer.contains("Samstag von 9:00 bis 16:00")
            && answer.contains("Quelle: Acme Bikes FAQ (Deutsch) › Öffnungszeiten"),
        "{answer}"
    );
    let answer = browser
        .ask("slack", "¿cuánto cuesta reparar un pinchazo?")
        .await;
    assert!(
        answer.contains("15 euros") && answer.contains("Fuente: Acme Bikes FAQ (español)"),
        "{answer}"
    );

    let answer = browser
        .ask("whatsapp", "Who won the football game last night?")
        .await;
    assert!(
        answer.contains("pass your question on") && !answer.contains("Source:"),
        "{answer}"
    );

    let answer = browser.ask("whatsapp", "yes please").await;
    assert!(answer.contains("passed your question on"), "{answer}");

    let tick = browser
        .wait_for("return document.querySelector('#whatsapp li.answer small.read')?.textContent")
        .await;
    assert_eq!(tick, "✓✓", "the delivery state must reach read");
    browser.close().await;
}
