//! Tests of the client against real local servers.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{Error, ErrorKind, Result, Secret};

/// Serves the same bytes on every connection. Returns the address, and a receiver of the requests.
async fn serve(answer: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 8192];
            let count = stream.read(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            // The test may have ended.
            let _unread = seen.send(text);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

async fn get(url: &str) -> Result<Response> {
    Client::builder().direct().build().get(url)?.send().await
}

#[tokio::test]
async fn an_answer_is_read_within_its_bound() {
    const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-type: Text/Plain; charset=utf-8\r\ncontent-length: 5\r\nretry-after: 3\r\n\r\nhello";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhello";
    for (answer, most, expected) in [
        (WHOLE, 5, Ok("hello")),
        (WHOLE, 4, Err(ErrorKind::TooLarge)),
        (CHUNKED, 5, Ok("hello")),
        (CHUNKED, 4, Err(ErrorKind::TooLarge)),
        (CUT, 9, Err(ErrorKind::Truncated)),
    ] {
        let (url, _asked) = serve(answer).await;
        let body = get(&url).await.unwrap().body(most).await;
        let body = body.map_err(|error| error.kind());
        let expected = expected.map(str::as_bytes);
        assert_eq!(body.as_deref().map_err(|kind| *kind), expected, "{answer}");
        let mut beginning = Vec::new();
        get(&url).await.unwrap().beginning(3, &mut beginning).await;
        assert_eq!(beginning, b"hel", "{answer}");
    }
    let (url, _asked) = serve(WHOLE).await;
    let answer = get(&url).await.unwrap();
    assert_eq!((answer.status(), answer.is_success()), (200, true));
    assert_eq!(answer.media_type(), "text/plain");
    assert_eq!(answer.retry_after().unwrap().as_secs(), 3);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (url, mut asked) =
        serve("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n").await;
    let client = Client::builder().direct().build();
    let request = client.post(format!("{url}/here")).unwrap();
    let request = request
        .bearer(&Secret::new("key-1"))
        .json(&serde_json::json!({"a": 1}));
    let answer = request.send().await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("location")),
        (302, Some("/elsewhere"))
    );
    let text = asked.recv().await.unwrap();
    assert!(text.starts_with("POST /here HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("authorization: Bearer key-1\r\n"), "{text}");
    assert!(
        text.contains("content-type: application/json\r\n"),
        "{text}"
    );
    assert!(asked.try_recv().is_err(), "the request is sent once");
}

#[tokio::test]
async fn errors_say_what_was_done_and_hide_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://me:hunter2@{}/token", listener.local_addr().unwrap());
    let check = |error: Error, kind| {
        assert_eq!(error.kind(), kind, "{error}");
        let told = format!("{error:?}");
        assert!(
            !told.contains("hunter2") && !told.contains("token"),
            "{told}"
        );
    };
    let (hangs_up, answer) =
        tokio::join!(async { drop(listener.accept().await.unwrap()) }, get(&url));
    let () = hangs_up;
    check(answer.unwrap_err(), ErrorKind::Ambiguous);
    drop(listener);
    check(get(&url).await.unwrap_err(), ErrorKind::Unavailable);
    check(get("no url").await.unwrap_err(), ErrorKind::InvalidInput);
    let client = Client::builder().build();
    let request = client.get(&url).unwrap().header("x", "a\nb");
    check(request.send().await.unwrap_err(), ErrorKind::InvalidInput);
    let mut headers = Headers::default();
    assert!(headers.set("x", "a\nb").is_err());
    headers.set("authorization", "hunter2").unwrap();
    assert!(!format!("{headers:?}").contains("hunter2"));
    client.prepare().unwrap();
}
