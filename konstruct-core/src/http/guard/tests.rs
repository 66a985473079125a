use std::{io, net::SocketAddr, sync::Mutex};

use async_trait::async_trait;
use tokio::net::TcpListener;

use super::*;
use crate::http::Client;

/// Returns one answer for each lookup; the last answer is repeated.
#[derive(Debug)]
struct Names(Mutex<Vec<Vec<&'static str>>>);

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<SocketAddr>> {
        let mut answers = self.0.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        };
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        Ok(answer.into_iter().map(address).collect())
    }
}

fn guard(answers: &[&[&'static str]]) -> Guard {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    Guard {
        lookup: Arc::new(Names(Mutex::new(answers))),
        ..Guard::new()
    }
}

/// Returns the error kind of a request, and whether it connected to the listener.
async fn ask(client: &Client, url: &str, listener: &TcpListener) -> (ErrorKind, bool) {
    let mut connected = false;
    let answer = async { Ok::<_, Error>(client.get(url)?.send().await?.status()) };
    tokio::pin!(answer);
    let answer = loop {
        tokio::select! {
            biased;
            accepted = listener.accept(), if !connected => {
                // Dropped immediately, so that the client sees a failing connection.
                drop(accepted);
                connected = true;
            }
            answer = &mut answer => break answer,
        }
    };
    (answer.unwrap_err().kind(), connected)
}

fn guarded(guard: Guard) -> Client {
    Client::builder().guard(guard).build()
}

#[tokio::test]
async fn urls_that_pass_and_do_not() {
    let guard = guard(&[&["1.1.1.1"]])
        .allow("127.0.0.1:11434")
        .allow("Ollama.internal")
        .allow("[::1]:8080");
    let check = async |url: &str, expected: Result<(), ErrorKind>| {
        let got = guard.check(url).await.map_err(|error| error.kind());
        assert_eq!(got, expected, "{url}");
    };
    check("https://llm.example/v1", Ok(())).await;
    check("https://1.1.1.1", Ok(())).await;
    check("http://127.0.0.1:11434", Ok(())).await;
    check("http://ollama.internal:9999", Ok(())).await;
    check("http://[::1]:8080", Ok(())).await;
    check("no url", Err(ErrorKind::InvalidInput)).await;
    for url in [
        "http://llm.example",
        "ftp://llm.example",
        "http://127.0.0.1:11435",
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://127.0.0.1.",
        "https://①②⑦.⓪.⓪.①",
        "https://[::1]",
        "https://[::ffff:10.0.0.1]",
        "https://169.254.169.254/latest/meta-data",
    ] {
        check(url, Err(ErrorKind::Forbidden)).await;
    }
}

#[tokio::test]
async fn one_private_address_among_public_ones_is_enough() {
    let guard = guard(&[&["1.1.1.1", "10.0.0.1"]]);
    let error = guard.check("https://llm.example").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(!format!("{error:?}").contains("10.0.0.1"), "{error:?}");
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("https://rebound.example:{port}");
    let guard = guard(&[&["1.1.1.1"], &["127.0.0.1"]]);
    guard.check(&url).await.unwrap();
    let asked = ask(&guarded(guard), &url, &listener).await;
    assert_eq!(asked, (ErrorKind::Forbidden, false));
}

#[tokio::test]
async fn what_was_looked_up_is_what_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // No other resolver knows this name, so the connection can only use the guard's resolver.
    let url = format!("http://ollama.invalid:{port}");
    let guard = guard(&[&["127.0.0.1"]]).allow(format!("ollama.invalid:{port}"));
    let asked = ask(&guarded(guard), &url, &listener).await;
    assert_eq!(asked, (ErrorKind::Ambiguous, true));
}

#[tokio::test]
async fn a_literal_address_is_checked_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{address}");
        let asked = ask(&guarded(Guard::new()), &url, &listener).await;
        assert_eq!(asked, (ErrorKind::Forbidden, false), "{scheme}");
        let again = guarded(Guard::new()).to_builder().build();
        let asked = ask(&again, &url, &listener).await;
        assert_eq!(
            asked,
            (ErrorKind::Forbidden, false),
            "{scheme}: the guard stays"
        );
    }
}
