//! Every surface refuses requests of other hosts, of pages of other origins, and with a forged X-Forwarded-For.

use konstruct_admin_api::OPERATIONS;
use konstruct_channels::testkit::signed_whatsapp;
use serde_json::Value;

use crate::{
    database::on_postgres,
    line::{Answer, Line},
    office::{CUSTOMER, NUMBER, Office, Server, TOKEN, Wire, launch, secret},
};

const HERE: &str = "host: 127.0.0.1\r\n";

/// The surfaces that are not in the table of operations.
const OTHERS: [(&str, &str); 33] = [
    ("GET", "/"),
    ("GET", "/demo"),
    ("GET", "/demo/page.js"),
    ("GET", "/demo/page.css"),
    ("GET", "/demo/feed"),
    ("POST", "/demo/say"),
    ("POST", "/demo/slack/api/chat.postMessage"),
    ("POST", "/demo/graph/v23.0/demo-number/messages"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/sign-in/page.css"),
    ("GET", "/sign-in/operator"),
    ("POST", "/sign-in/operator"),
    ("GET", "/sign-in/invitation"),
    ("POST", "/sign-in/invitation"),
    ("GET", "/sign-in/forgot"),
    ("POST", "/sign-in/forgot"),
    ("GET", "/sign-in/reset"),
    ("POST", "/sign-in/reset"),
    ("POST", "/sign-in/password"),
    ("POST", "/sign-in/sessions/end"),
    ("POST", "/sign-in/device/code"),
    ("POST", "/sign-in/device/token"),
    ("POST", "/sign-in/device"),
    ("POST", "/sign-out"),
    ("GET", "/api/openapi.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/webhooks/slack/events"),
    ("POST", "/webhooks/slack/interactions"),
    ("POST", "/webhooks/slack/commands"),
    ("GET", "/webhooks/whatsapp"),
    ("POST", "/webhooks/whatsapp"),
];

/// Returns the method and an example of the path of every surface of the public listener.
fn surfaces() -> Vec<(String, String)> {
    let operations = OPERATIONS.iter().map(|operation| {
        let parts = operation.path.split('/').map(|part| match part {
            "{tenant}" => "ten_00000000000000000000000000000001",
            part if part.starts_with('{') => "00000000-0000-0000-0000-000000000001",
            part => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        (operation.method.to_uppercase(), path)
    });
    let others = OTHERS.map(|(method, path)| (method.to_owned(), path.to_owned()));
    operations.chain(others).collect()
}

/// Sends a request with the operator's token and these headers.
async fn ask(url: &str, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{headers}authorization: Bearer {TOKEN}\r\ncontent-length: 0\r\n\r\n"
    );
    Line::open(url, request.as_bytes()).await.answer().await
}

/// The requests that every surface must refuse: the status, the headers, and a word of the reason.
const REFUSED: [(u16, &str, &str); 8] = [
    (421, "host: evil.example\r\n", "KONSTRUCT_PUBLIC_URL"),
    (
        421,
        "host: 127.0.0.1.evil.example\r\n",
        "KONSTRUCT_PUBLIC_URL",
    ),
    (
        421,
        "host: 127.0.0.1\r\nhost: evil.example\r\n",
        "KONSTRUCT_PUBLIC_URL",
    ),
    (421, "", "KONSTRUCT_PUBLIC_URL"),
    (
        403,
        "host: 127.0.0.1\r\norigin: http://evil.example\r\n",
        "origins",
    ),
    (403, "host: 127.0.0.1\r\norigin: null\r\n", "origins"),
    (
        403,
        "host: 127.0.0.1\r\nx-forwarded-for: 10.0.0.1\r\n",
        "KONSTRUCT_TRUSTED_PROXIES",
    ),
    (
        403,
        "host: 127.0.0.1\r\nx-forwarded-for: 192.0.2.1\r\n",
        "KONSTRUCT_TRUSTED_PROXIES",
    ),
];

async fn refuses_all(url: &str, method: &str, path: &str) {
    for (status, headers, reason) in REFUSED {
        let answer = ask(url, method, path, headers).await;
        assert_eq!(answer.status, status, "{method} {path} with {headers:?}");
        let problem: Value = match method {
            "HEAD" => continue,
            _ => serde_json::from_str(&answer.body).unwrap(),
        };
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(reason),
            "{method} {path} with {headers:?}: {detail}"
        );
        assert!(!detail.contains("evil") && !detail.contains("10.0.0.1"));
        assert!(answer.head.contains("x-request-id: "), "{}", answer.head);
    }
}

async fn start(trusted: &str) -> (Office, Server) {
    let office = Office::open().await;
    let mut command = office.command(Wire::OpenAi);
    command
        .env("KONSTRUCT_DEMO", "on")
        .env("KONSTRUCT_TRUSTED_PROXIES", trusted);
    let server = launch(command).await;
    server.vendors_have_confirmed().await;
    (office, server)
}

#[tokio::test]
async fn every_surface_refuses_what_is_not_meant_for_it() {
    let (office, server) = start("192.0.2.1, 10.0.0.0/8").await;
    let surfaces = surfaces();
    assert!(surfaces.len() > OPERATIONS.len());
    for (method, path) in &surfaces {
        refuses_all(&server.url, method, path).await;
    }
    for path in ["/metrics", "/nowhere"] {
        refuses_all(&server.metrics, "GET", path).await;
    }
    refuses_all(&server.url, "GET", "/nowhere").await;
    refuses_all(&server.url, "DELETE", "/healthz").await;
    let asked = (surfaces.len() + 4) as f64;
    for (reason, times) in [("host", 4.0), ("origin", 2.0), ("forwarded", 2.0)] {
        let name = format!("konstruct_requests_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&name).await, Some(asked * times), "{reason}");
    }
    // The refusals changed nothing, not even those of operations that remove.
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    // Without the claim, each of the surfaces is there.
    for (method, path) in surfaces.iter().filter(|(method, _)| method == "GET") {
        if ["/demo/feed", "/webhooks/whatsapp"].contains(&path.as_str())
            || path.ends_with("/events")
        {
            continue;
        }
        let answer = ask(&server.url, method, path, HERE).await;
        let guarded =
            answer.body.contains("no such page") || answer.body.contains("no such resource;");
        assert!(
            ![403, 405, 421].contains(&answer.status) && !guarded,
            "{method} {path}: {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn a_proxy_in_the_list_is_believed() {
    let (office, server) = start("127.0.0.1").await;
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    let signed = signed_whatsapp(&secret(), message.clone());
    let mut head = format!(
        "POST /webhooks/whatsapp HTTP/1.1\r\n{HERE}x-forwarded-for: 192.0.2.66, 203.0.113.9\r\nx-request-id: from-the-proxy\r\n"
    );
    for (name, value) in signed.headers() {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", message.len());
    let mut line = Line::open(&server.url, head.as_bytes()).await;
    line.send(&message).await;
    let answer = line.answer().await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("x-request-id: from-the-proxy\r\n"),
        "{}",
        answer.head
    );
    office.wait_for_accepted(1).await;
}

#[tokio::test]
async fn a_process_that_only_works_refuses_too() {
    if !on_postgres() {
        return;
    }
    let office = Office::shared().await;
    let mut command = office.command(Wire::OpenAi);
    command
        .args(["serve", "--role", "worker"])
        .env("KONSTRUCT_TRUSTED_PROXIES", "192.0.2.1");
    let server = launch(command).await;
    for path in ["/healthz", "/readyz", "/api/v1/tenants"] {
        refuses_all(&server.url, "GET", path).await;
    }
    refuses_all(&server.metrics, "GET", "/metrics").await;
}
