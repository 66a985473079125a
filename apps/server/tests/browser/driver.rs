//! The part of WebDriver that the test needs.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The timeout of every step: a cold browser on a busy machine is slow.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// A headless Chromium with its driver.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is installed: `.ci/test` does it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                let line = line.unwrap();
                line.split_once("started successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .expect("chromedriver prints its port");
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities =
            json!({ "browserName": "chrome", "goog:chromeOptions": { "args": arguments } });
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let opened = browser.call(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": capabilities } }),
        );
        browser.session = opened["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    pub(crate) async fn open(&self, url: &str) {
        self.call(
            "POST",
            &format!("/session/{}/url", self.session),
            &json!({ "url": url }),
        );
    }

    /// Types a question into a window and returns the next answer.
    pub(crate) async fn ask(&self, window: &str, question: &str) -> String {
        let count =
            format!("return String(document.querySelectorAll('#{window} li.answer').length)");
        let before: usize = self.wait_for(&count).await.parse().unwrap();
        let input = format!("#{window} input");
        self.fill(&input, &format!("{question}\u{E007}")).await;
        let answer = format!(
            "return document.querySelectorAll('#{window} li.answer')[{before}]?.textContent"
        );
        self.wait_for(&answer).await
    }

    /// Types a text into the first element that matches a selector, once there is one.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.call(
            "POST",
            &format!("{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// Clicks on the first element that matches a selector, once there is one.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.call("POST", &format!("{element}/click"), &json!({}));
    }

    /// Returns the path of the first element that matches a selector, once there is one.
    async fn element(&self, selector: &str) -> String {
        let exists = format!("return document.querySelector({selector:?}) && 'yes'");
        self.wait_for(&exists).await;
        let find = json!({ "using": "css selector", "value": selector });
        let found = self.call("POST", &format!("/session/{}/element", self.session), &find);
        let id = found
            .as_object()
            .and_then(|found| found.values().next())
            .and_then(Value::as_str);
        format!("/session/{}/element/{}", self.session, id.unwrap())
    }

    /// Runs a script repeatedly until it returns a text.
    pub(crate) async fn wait_for(&self, script: &str) -> String {
        let begin = Instant::now();
        let mut poll = tokio::time::interval(Duration::from_millis(50));
        loop {
            let body = json!({ "script": script, "args": [] });
            let value = self.call(
                "POST",
                &format!("/session/{}/execute/sync", self.session),
                &body,
            );
            if let Some(text) = value.as_str() {
                return text.to_owned();
            }
            assert!(
                begin.elapsed() < STEP_TIMEOUT,
                "timed out waiting for `{script}`"
            );
            poll.tick().await;
        }
    }

    pub(crate) async fn close(&self) {
        self.call("DELETE", &format!("/session/{}", self.session), &json!({}));
    }

    /// Sends one command, with a minimal HTTP client.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
