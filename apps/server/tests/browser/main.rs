//! The demo and the pages to sign in, in a real browser: Chromium, driven over WebDriver. `.ci/test` installs both.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

mod driver;

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use konstruct_admin_api::{Client, NewInvitation, NewTenant, Role};
use konstruct_core::Secret;

use self::driver::Browser;

/// A server on ports of its own, without configuration.
struct Server {
    child: Child,
    /// Where to talk to the employee.
    url: String,
    /// What signs the operator in.
    link: String,
    /// The operator's token.
    token: String,
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
        // In the order in which they are printed.
        let [url, link, token] = [
            "Talk to the employee: ",
            "Sign in as the operator, once and within 15 minutes: ",
            "Operator token, shown this once: ",
        ]
        .map(|what| {
            let found = lines.find_map(|line| line.unwrap().strip_prefix(what).map(str::to_owned));
            found.unwrap_or_else(|| panic!("the server prints `{what}`"))
        });
        Self {
            child,
            url,
            link,
            token,
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

#[tokio::test]
async fn people_sign_in_without_scripts() {
    let server = Server::start();
    let browser = Browser::start().await;
    let shows = async |text: &str| {
        let script = format!("return document.body.textContent.includes({text:?}) ? 'yes' : null");
        browser.wait_for(&script).await;
    };
    browser.open(&server.link).await;
    browser.click("main button").await;
    shows("signed in as the operator").await;
    // The style sheet is allowed, and nothing else is loaded.
    let width = "return getComputedStyle(document.querySelector('main')).maxWidth";
    assert_eq!(browser.wait_for(width).await, "544px");
    let loaded = "return performance.getEntriesByType('resource').map(it => new URL(it.name).pathname).join(' ')";
    let loaded = browser.wait_for(loaded).await;
    let others: Vec<&str> = loaded
        .split_whitespace()
        .filter(|it| *it != "/sign-in/page.css")
        .collect();
    assert!(others.is_empty() || others == ["/favicon.ico"], "{loaded}");

    let base = server.url.strip_suffix("/demo").unwrap();
    let admin = Client::new(base, Secret::new(server.token.as_str())).unwrap();
    let shop = NewTenant {
        name: "Shop & Son".into(),
    };
    let shop = admin.add_tenant(&shop).await.unwrap().id;
    let ana = NewInvitation {
        email: "ana@example.com".into(),
        role: Role::Owner,
    };
    let link = admin.invite(shop, &ana).await.unwrap().link.unwrap();
    browser.open(&link).await;
    shows("You are invited to Shop & Son as owner").await;
    // The name is suggested from the address.
    browser.fill("#password", "a long password").await;
    browser.click("main button").await;
    shows("signed in as ana (ana@example.com)").await;
    browser.fill("#current", "a long password").await;
    browser.fill("#password", "another password").await;
    browser
        .click("form[action='/sign-in/password'] button")
        .await;
    shows("The password was changed").await;
    browser.click("form[action='/sign-out'] button").await;
    shows("E-mail address").await;
    browser.fill("#email", "ana@example.com").await;
    browser.fill("#password", "another password").await;
    browser.click("main button").await;
    shows("Shop & Son: owner").await;
    browser.close().await;
}
