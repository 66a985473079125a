//! The public demo: a separate tenant, in which the session identifies a visitor.

use konstruct_core::{ConversationId, Secret, TenantId, http::Response};
use konstruct_server::{BUSINESS_TENANT, DEMO_TENANT};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::office::{CUSTOMER, NUMBER, Office, Server, Wire, command, get, http, launch};

async fn text(answer: Response) -> String {
    let body = answer.body(1 << 20).await.unwrap();
    String::from_utf8_lossy(&body).into_owned()
}

/// Starts the server without any configuration.
async fn first_command() -> (TempDir, Server) {
    let data = TempDir::new().unwrap();
    let mut command = command(data.path().join("data"));
    command.env("KONSTRUCT_MODEL", "extract");
    (data, launch(command).await)
}

/// A visitor, identified by the session cookie.
struct Visitor<'a> {
    server: &'a Server,
    cookie: String,
}

impl<'a> Visitor<'a> {
    async fn come(server: &'a Server) -> Self {
        let page = http().get(format!("{}/demo", server.url)).unwrap();
        let page = page.send().await;
        let page = page.unwrap();
        assert_eq!(page.status(), 200);
        let cookie = page.header("set-cookie").unwrap();
        for attribute in ["HttpOnly", "SameSite=Lax"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { server, cookie }
    }

    /// Sends a message with additional fields in the request. Returns the status.
    async fn say(&self, channel: &str, text: &str, more: Value) -> u16 {
        let mut body = json!({ "channel": channel, "text": text });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let request = http()
            .post(format!("{}/demo/say", self.server.url))
            .unwrap()
            .header("cookie", &self.cookie)
            .json(&body);
        request.send().await.unwrap().status()
    }

    /// Reads the feed until a note of this kind arrives, and returns all notes so far.
    async fn notes_until(&self, kind: &str) -> String {
        let feed = http()
            .get(format!("{}/demo/feed", self.server.url))
            .unwrap()
            .header("cookie", &self.cookie);
        let mut feed = feed.send().await.unwrap();
        assert_eq!(feed.status(), 200);
        let (mut notes, wanted) = (String::new(), format!("\"type\":\"{kind}\""));
        while !notes.contains(&wanted) {
            let chunk = feed.chunk().await.unwrap().expect("the feed continues");
            notes += &String::from_utf8_lossy(&chunk);
        }
        notes
    }
}

async fn places(server: &Server, tenant: TenantId) -> Vec<(ConversationId, String)> {
    let listed = server.admin().conversations(tenant, None).await.unwrap();
    let places = listed
        .items
        .into_iter()
        .map(|one| (one.id, one.place.unwrap()));
    places.collect()
}

#[tokio::test]
async fn the_first_command_prints_the_demos_address() {
    let (_data, server) = first_command().await;
    let line = format!("Talk to the employee: {}/demo\n", server.url);
    assert!(server.printed.contains(&line), "{}", server.printed);
    let start = http().get(&server.url).unwrap().send().await.unwrap();
    assert_eq!(start.header("location"), Some("/demo"));
    let (status, page) = get(&format!("{}/demo", server.url)).await;
    assert!(status == 200 && page.contains("Konstruct demo"), "{page}");
    for asset in ["page.js", "page.css"] {
        assert_eq!(get(&format!("{}/demo/{asset}", server.url)).await.0, 200);
    }
    assert_eq!(get(&format!("{}/sandbox", server.url)).await.0, 404);
}

#[tokio::test]
async fn the_demo_is_off_with_real_credentials_unless_enabled() {
    let office = Office::open().await;
    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_DEMO", "auto");
    let server = launch(command).await;
    for path in ["demo", "demo/feed", "demo/page.js"] {
        assert_eq!(get(&format!("{}/{path}", server.url)).await.0, 404);
    }
    let why = "Demo: off, because SLACK_SIGNING_SECRET is set";
    assert!(server.printed.contains(why), "{}", server.printed);
    assert!(get(&server.url).await.1.contains("/api/v1"));
    let tenants = server.admin().tenants(None).await.unwrap().items;
    assert!(tenants.iter().all(|tenant| tenant.id != DEMO_TENANT));
    server.kill().await;

    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_DEMO", "on");
    let server = launch(command).await;
    assert_eq!(get(&format!("{}/demo", server.url)).await.0, 200);
    server.kill().await;

    // The demo's connections are removed when it is off again.
    let server = office.start().await;
    let left = server.admin().connections(DEMO_TENANT).await.unwrap();
    assert!(left.items.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_visitor_neither_reads_nor_writes_anothers_conversation() {
    let (_data, server) = first_command().await;
    let (one, two) = (Visitor::come(&server).await, Visitor::come(&server).await);
    assert_ne!(one.cookie, two.cookie);
    for channel in ["whatsapp", "slack"] {
        let said = one.say(channel, "When are you open on Saturday?", json!({}));
        assert_eq!(said.await, 202);
        let notes = one.notes_until("answer").await;
        assert!(notes.contains("When are you open on Saturday?"), "{notes}");
    }
    // The second one claims to be the first, in every field of earlier versions.
    let id = one.cookie.split(['=', '.']).nth(1).unwrap();
    let claims = json!({ "person": id, "visitor": id, "from": format!("demo-{id}") });
    assert_eq!(two.say("whatsapp", "Who am I?", claims).await, 202);
    let notes = two.notes_until("answer").await;
    assert!(notes.contains("Who am I?"), "{notes}");
    assert!(!notes.contains("Saturday"), "{notes}");
    let feed = format!("{}/demo/feed?person={id}", server.url);
    assert_eq!(get(&feed).await.0, 401);
    let notes = one.notes_until("answer").await;
    assert!(!notes.contains("Who am I?"), "{notes}");
    assert_eq!(places(&server, DEMO_TENANT).await.len(), 3);

    // Invalid fields are named without repeating their value.
    let url = format!("{}/demo/say", server.url);
    let body = json!({ "channel": "xoxb-planted", "text": "hello" });
    let answer = http().post(url).unwrap().json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 422);
    let problem = text(answer).await;
    assert!(problem.contains(r#""field":"channel""#), "{problem}");
    assert!(!problem.contains("planted"), "{problem}");

    // A session cannot be forged.
    let mac = two.cookie.split('.').nth(1).unwrap();
    for cookie in [
        "",
        "konstruct_demo=",
        id,
        &format!("konstruct_demo={id}.{mac}"),
    ] {
        let forger = Visitor {
            server: &server,
            cookie: cookie.into(),
        };
        assert_eq!(
            forger.say("slack", "hello", json!({})).await,
            401,
            "{cookie}"
        );
    }
}

#[tokio::test]
async fn a_visitor_is_never_a_customer() {
    let office = Office::open().await;
    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_DEMO", "on");
    let server = launch(command).await;
    let message = office.graph.message(NUMBER, CUSTOMER, "a private matter");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    let visitor = Visitor::come(&server).await;
    let claims = json!({ "person": CUSTOMER, "from": CUSTOMER });
    assert_eq!(
        visitor.say("whatsapp", "what did I say?", claims).await,
        202
    );
    let notes = visitor.notes_until("answer").await;
    assert!(!notes.contains("private"), "{notes}");

    let (demo, business) = (
        places(&server, DEMO_TENANT).await,
        places(&server, BUSINESS_TENANT).await,
    );
    let [(_, place)] = demo.as_slice() else {
        panic!("one conversation: {demo:?}")
    };
    assert!(
        place.contains("demo-") && !place.contains(CUSTOMER),
        "{place}"
    );
    assert_eq!(business.len(), 1);
    assert_eq!(office.graph.posts().len(), 1);
    let asked = office.model.requests().last().unwrap().body.to_string();
    assert!(!asked.contains("private"), "{asked}");
}

#[tokio::test]
async fn nobody_can_send_as_the_employee() {
    let (_data, server) = first_command().await;
    let said = json!({ "to": "demo-1", "text": { "body": "x" }, "channel": "Ddemo-1" });
    let post = async |path: &str| {
        let request = http()
            .post(format!("{}{path}", server.url))
            .unwrap()
            .json(&said);
        let answer = request
            .bearer(&Secret::new("demo-guess"))
            .send()
            .await
            .unwrap();
        (answer.status(), text(answer).await)
    };
    let (status, _) = post("/demo/graph/v23.0/demo-number/messages").await;
    assert_eq!(status, 401);
    let (_, answer) = post("/demo/slack/api/chat.postMessage").await;
    assert!(answer.contains("invalid_auth"), "{answer}");
}
