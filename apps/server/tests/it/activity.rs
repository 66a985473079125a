//! The list of conversations with its filters, and the stream of what happens in them.

use konstruct_admin_api::{ActivityKind, ConversationActivity, ConversationSummary, Page};
use konstruct_core::{Secret, http::Response};
use konstruct_llm::testkit::Reply;
use konstruct_server::BUSINESS_TENANT;
use serde_json::json;

use crate::office::{CUSTOMER, NUMBER, Office, Server, TOKEN, eventually, http};

/// Reads the list with a query. Returns the page, or the status and the field of the problem.
async fn list(server: &Server, query: &str) -> Result<Page<ConversationSummary>, (u16, String)> {
    let (status, body) = server.read(&format!("/conversations?{query}")).await;
    if status == 200 {
        return Ok(serde_json::from_str(&body).unwrap());
    }
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    let field = problem["field"].as_str().unwrap_or_default();
    Err((status, field.to_owned()))
}

#[tokio::test]
async fn conversations_are_filtered() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    // Three customers on WhatsApp, of whom the second asks what the employee passes on.
    for n in 0..3 {
        if n == 1 {
            let asks = json!({"question": "Does it fit?"});
            office
                .model
                .next(Reply::default().call("pass_on", asks.to_string()));
        }
        let from = format!("{CUSTOMER}{n}");
        let message = office.graph.message(NUMBER, &from, "hello");
        assert_eq!(server.whatsapp(&message).await, 200);
        office.wait_for_accepted(n + 1).await;
        server.wait_until_processed(n + 1).await;
    }
    let all = list(&server, "").await.unwrap().items;
    let (third, second, first) = (&all[0], &all[1], &all[2]);
    let person = admin.conversation(BUSINESS_TENANT, first.id).await.unwrap();
    let person = person.persons[0].to_string();
    // A team member takes the third one.
    let reply = serde_json::from_value(json!({"text": "I am here."})).unwrap();
    admin
        .reply(BUSINESS_TENANT, third.id, &reply)
        .await
        .unwrap();
    office.wait_for_accepted(4).await;
    eventually(async || !list(&server, "held=true").await.unwrap().items.is_empty()).await;

    let every = [third.id, second.id, first.id];
    let connection = format!("connection={}", first.connection);
    let none = format!("person={}", person.replace(char::is_numeric, "0"));
    for (query, expected) in [
        ("asked=true", &every[1..2]),
        ("open=true", &every[1..2]),
        ("asked=false&limit=1", &every[..1]),
        ("held=true", &every[..1]),
        ("held=false", &every[1..]),
        ("waiting=true", &[]),
        ("waiting=false", &every),
        ("channel=whatsapp", &every),
        ("channel=slack", &[]),
        (&connection, &every),
        (&format!("channel=slack&{connection}"), &[]),
        (&format!("person={person}"), &every[2..]),
        (&format!("person={person}&open=true"), &[]),
        (&none, &[]),
        ("held=&asked=", &every),
    ] {
        let found = list(&server, query).await.unwrap().items;
        let found: Vec<_> = found.iter().map(|it| it.id).collect();
        assert_eq!(found, expected, "{query}");
    }
    // By pages.
    let mut found = Vec::new();
    let mut query = "waiting=false&limit=1".to_owned();
    loop {
        let page = list(&server, &query).await.unwrap();
        found.extend(page.items.into_iter().map(|it| it.id));
        let Some(next) = page.next else { break };
        query = format!("waiting=false&limit=1&after={next}");
    }
    assert_eq!(found, every);
    for (query, field) in [
        ("waiting=yes", "waiting"),
        ("asked=1", "asked"),
        ("open=TRUE", "open"),
        ("held=x", "held"),
        ("connection=x", "connection"),
        ("person=x", "person"),
        ("after=x", "after"),
        ("limit=201", "limit"),
    ] {
        let refused = list(&server, query).await.unwrap_err();
        assert_eq!(refused, (422, field.to_owned()), "{query}");
    }
}

/// An open event stream.
struct Stream {
    response: Response,
    unread: String,
}

impl Stream {
    async fn open(server: &Server, last: Option<&str>) -> Self {
        let url = format!("{}/api/v1/tenants/{BUSINESS_TENANT}/events", server.url);
        let mut request = http().get(url).unwrap().bearer(&Secret::new(TOKEN));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        Self {
            response,
            unread: String::new(),
        }
    }

    /// Returns the next event with its id; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, ConversationActivity)> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let (id, data) = (field("id: "), field("data: "));
                let event = id
                    .zip(data)
                    .map(|(id, data)| (id.to_owned(), serde_json::from_str(data).unwrap()));
                self.unread = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.unread += &String::from_utf8_lossy(&chunk);
        }
    }

    /// Reads until a turn has ended.
    async fn turn(&mut self) -> Vec<(String, ConversationActivity)> {
        let mut events = Vec::new();
        loop {
            let (id, event) = self.next().await.expect("the stream continues");
            let finished = event.kind == ActivityKind::Finished;
            events.push((id, event));
            if finished {
                return events;
            }
        }
    }
}

#[tokio::test]
async fn what_happens_is_streamed_and_resumed() {
    let office = Office::open().await;
    let server = office.start().await;
    let say = async |text: &str| {
        let message = office.graph.message(NUMBER, CUSTOMER, text);
        assert_eq!(server.whatsapp(&message).await, 200);
    };
    say("before").await;
    office.wait_for_accepted(1).await;
    server.wait_until_processed(1).await;
    // A new stream begins now.
    let mut stream = Stream::open(&server, None).await;
    assert_eq!(stream.response.status(), 200);
    say("a planted word").await;
    let events = stream.turn().await;
    let kinds: Vec<_> = events.iter().map(|(_, event)| event.kind).collect();
    assert_eq!(
        kinds,
        [
            ActivityKind::Received,
            ActivityKind::Written,
            ActivityKind::Sent,
            ActivityKind::Finished
        ]
    );
    let shown = format!("{events:?}{}", stream.unread);
    assert!(
        !shown.contains("planted") && !shown.contains(CUSTOMER),
        "{shown}"
    );
    // After the first event, the others come again, with the same ids.
    let mut resumed = Stream::open(&server, Some(&events[0].0)).await;
    assert_eq!(resumed.turn().await, events[1..]);
    let mut whole = Stream::open(&server, Some("0")).await;
    let first = whole.turn().await;
    assert_eq!(whole.turn().await, events);
    assert_ne!(first[0].1.turn, events[0].1.turn);

    let refused = Stream::open(&server, Some("x")).await;
    assert_eq!(refused.response.status(), 422);
    // Each stream costs reads, so a tenant has a limited number.
    let mut open = Vec::new();
    loop {
        let stream = Stream::open(&server, None).await;
        match stream.response.status() {
            200 => open.push(stream),
            status => {
                assert_eq!(status, 429);
                break;
            }
        }
    }
    assert_eq!(open.len(), 32 - 3);
    drop(open);
    eventually(async || Stream::open(&server, None).await.response.status() == 200).await;
    // The server does not wait for its streams when it stops.
    let ended = tokio::join!(server.terminate(), stream.next());
    assert!(ended.0.success() && ended.1.is_none());
}
