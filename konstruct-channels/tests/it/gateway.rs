//! The gateway acknowledges only durable events.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use async_trait::async_trait;
use axum::extract::State;
use konstruct_channels::{
    Gateway, GatewayCounts, HttpReply, Received, SlackWebhook, Webhook, WebhookRequest,
    WhatsAppWebhook,
    testkit::{FakeGraph, FakeSlack, deliver, redelivered, signed_slack, signed_whatsapp},
};
use konstruct_core::{
    AccountId, Channel, ChannelKind, Clock as _, ConnectionId, Directory, Error, Result, Secret,
    TenantId, Timestamp,
    directory::{ConnectionState, Route, Staff},
    http::{Client, Method},
    store::History as _,
    testkit::{ReferenceStore, VirtualClock},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SLACK: ChannelKind = ChannelKind::SLACK;
const WHATSAPP: ChannelKind = ChannelKind::WHATSAPP;

/// Contains the team `T1` and the number `P1`, of two tenants.
#[derive(Debug)]
struct Accounts {
    slack: Route,
    whatsapp: Route,
    broken: AtomicBool,
}

#[async_trait]
impl Directory for Accounts {
    async fn route(&self, _: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        if self.broken.load(SeqCst) {
            return Err(Error::internal("broken"));
        }
        Ok(match account.0.as_str() {
            "T1" => Some(self.slack),
            "P1" => Some(self.whatsapp),
            _ => None,
        })
    }

    async fn staff(&self, _: TenantId, _: Option<u32>) -> Result<Staff> {
        Err(Error::not_found("employee"))
    }

    async fn channel(&self, _: TenantId, _: ConnectionId) -> Result<Arc<dyn Channel>> {
        Err(Error::not_found("connection"))
    }

    async fn connection_state(&self, _: TenantId, _: ConnectionId) -> Result<ConnectionState> {
        Err(Error::not_found("connection"))
    }

    async fn set_connection_state(
        &self,
        _: TenantId,
        _: ConnectionId,
        _: ConnectionState,
    ) -> Result<()> {
        Err(Error::not_found("connection"))
    }
}

struct World {
    accounts: Arc<Accounts>,
    journal: Arc<ReferenceStore>,
    clock: VirtualClock,
    gateway: Gateway,
    secret: Secret,
}

impl World {
    fn new() -> Self {
        let route = || Route {
            tenant: TenantId::new(),
            connection: ConnectionId::new(),
        };
        let accounts = Arc::new(Accounts {
            slack: route(),
            whatsapp: route(),
            broken: AtomicBool::new(false),
        });
        let clock = VirtualClock::new(Timestamp::from_secs(1_800_000_000));
        let journal = Arc::new(ReferenceStore::new(Arc::new(clock.clone())));
        let secret = Secret::new("s");
        let slack = SlackWebhook::new(secret.clone()).expect("a fixture");
        let whatsapp =
            WhatsAppWebhook::new(secret.clone(), Secret::new("token")).expect("a fixture");
        let gateway = Gateway::new(accounts.clone(), journal.clone(), Arc::new(clock.clone()))
            .with(SLACK, slack)
            .with(WHATSAPP, whatsapp);
        Self {
            accounts,
            journal,
            clock,
            gateway,
            secret,
        }
    }

    fn slack(&self, body: impl Into<Vec<u8>>) -> WebhookRequest {
        signed_slack(&self.secret, self.clock.now(), body)
    }

    fn whatsapp(&self, body: impl Into<Vec<u8>>) -> WebhookRequest {
        signed_whatsapp(&self.secret, body)
    }

    async fn status(&self, kind: &ChannelKind, request: &WebhookRequest) -> u16 {
        self.gateway.handle(kind, request).await.status
    }

    fn counts(&self) -> GatewayCounts {
        self.gateway.counts()
    }

    async fn unconsumed(&self, tenant: TenantId) -> u64 {
        let conversations = self
            .journal
            .list(tenant, None, 100)
            .await
            .expect("a fixture");
        conversations
            .iter()
            .map(|conversation| conversation.unconsumed)
            .sum()
    }
}

#[tokio::test]
async fn redeliveries_duplicates_and_disorder_leave_one_event_each() {
    let world = World::new();
    let (slack, graph) = (FakeSlack::default(), FakeGraph::default());
    let [message, mention] = slack.mention("C1", "U1", "where is my bike?");
    let direct = slack.message("D1", "U1", "hello");
    let requests = [message, mention, direct].map(|body| world.slack(body));
    for request in redelivered(&requests, 50, 7) {
        assert_eq!(world.status(&SLACK, &request).await, 200);
    }
    let text = world.whatsapp(graph.message("P1", "16505551234", "hi"));
    for request in redelivered(&[text], 50, 7) {
        assert_eq!(world.status(&WHATSAPP, &request).await, 200);
    }
    let tenants = [world.accounts.slack.tenant, world.accounts.whatsapp.tenant];
    assert_eq!(
        [
            world.unconsumed(tenants[0]).await,
            world.unconsumed(tenants[1]).await
        ],
        [2, 1]
    );
    let counts = world.counts();
    assert_eq!(counts.accepted, 3);
    assert_eq!(counts.duplicate + counts.upgraded, 197);
}

#[tokio::test]
async fn undurable_events_are_not_acknowledged() {
    let world = World::new();
    let request = world.slack(FakeSlack::default().message("D1", "U1", "hello"));
    world.accounts.broken.store(true, SeqCst);
    assert_eq!(world.status(&SLACK, &request).await, 503);
    assert_eq!((world.counts().failed, world.counts().accepted), (1, 0));
    world.accounts.broken.store(false, SeqCst);
    assert_eq!(world.status(&SLACK, &request).await, 200);
    assert_eq!(world.counts().accepted, 1);
}

#[tokio::test]
async fn forged_requests_are_rejected() {
    let world = World::new();
    let body = FakeSlack::default().message("D1", "U1", "hello");
    let forged = signed_slack(&Secret::new("other"), world.clock.now(), body.clone());
    let old = signed_slack(
        &world.secret,
        Timestamp::from_secs(1_799_999_699),
        body.clone(),
    );
    for request in [forged, old, WebhookRequest::post(body.clone())] {
        assert_eq!(world.status(&SLACK, &request).await, 401);
    }
    assert_eq!(
        world.status(&WHATSAPP, &WebhookRequest::post(body)).await,
        401
    );
    assert_eq!(world.counts().rejected_signature, 4);
    let huge = world.whatsapp(vec![b' '; 3 * 1024 * 1024 + 1]);
    assert_eq!(world.status(&WHATSAPP, &huge).await, 413);
    assert_eq!(world.status(&ChannelKind::new("fax"), &huge).await, 404);
}

#[tokio::test]
async fn unknown_accounts_and_nonsense_are_acknowledged_and_counted() {
    let world = World::new();
    let graph = FakeGraph::default();
    assert_eq!(
        world
            .status(&WHATSAPP, &world.whatsapp(graph.message("P9", "1", "hi")))
            .await,
        200
    );
    assert_eq!(world.counts().unknown_account, 1);
    assert_eq!(world.status(&WHATSAPP, &world.whatsapp("{")).await, 200);
    assert_eq!(world.status(&SLACK, &world.slack("{")).await, 200);
    assert_eq!(world.counts().undecodable, 2);
    let unknown = r#"{"team_id":"T1","event":{"type":"brand_new"}}"#;
    assert_eq!(world.status(&SLACK, &world.slack(unknown)).await, 200);
    assert_eq!(
        (world.counts().unsupported, world.counts().accepted),
        (1, 1)
    );
}

#[tokio::test]
async fn handshakes_are_answered() {
    let world = World::new();
    let challenge = r#"{"type":"url_verification","challenge":"3eZb"}"#;
    let reply = world.gateway.handle(&SLACK, &world.slack(challenge)).await;
    assert_eq!(
        (reply.status, &reply.body[..]),
        (200, &br#"{"challenge":"3eZb"}"#[..])
    );
    assert_eq!(
        world.status(&SLACK, &WebhookRequest::post(challenge)).await,
        401
    );
    assert_eq!(
        world
            .status(&SLACK, &WebhookRequest::post("ssl_check=1&token=x"))
            .await,
        200
    );
    let get = |query: &str| WebhookRequest::get(query);
    let reply = world
        .gateway
        .handle(
            &WHATSAPP,
            &get("hub.mode=subscribe&hub.verify_token=token&hub.challenge=1158"),
        )
        .await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"1158"[..]));
    for query in [
        "hub.mode=subscribe&hub.verify_token=other&hub.challenge=1",
        "hub.mode=x&hub.verify_token=token&hub.challenge=1",
        "hub.challenge=1",
        "",
    ] {
        assert_eq!(world.status(&WHATSAPP, &get(query)).await, 403, "{query}");
    }
    assert_eq!(world.status(&SLACK, &get("")).await, 401);
}

#[tokio::test]
async fn slack_receives_the_expected_response() {
    let world = World::new();
    let suggestion = "payload=%7B%22type%22%3A%22block_suggestion%22%2C%22team%22%3A%7B%22id%22%3A%22T1%22%7D%7D";
    let reply = world.gateway.handle(&SLACK, &world.slack(suggestion)).await;
    assert_eq!(
        (reply.status, &reply.body[..]),
        (200, &br#"{"options":[]}"#[..])
    );
    let command = "command=%2Fask&team_id=T1&channel_id=C1&user_id=U1&text=hi&trigger_id=1";
    let reply = world.gateway.handle(&SLACK, &world.slack(command)).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(world.counts().accepted, 2);
}

/// An app's router limits bodies to 2 MB by default; Meta sends up to 3 MB.
#[tokio::test]
async fn the_routes_accept_the_gateways_largest_body() {
    let world = World::new();
    let secret = world.secret.clone();
    let counts = Arc::new(world.gateway);
    let router: axum::Router = konstruct_channels::routes(counts.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/webhooks/whatsapp",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    for (size, expected) in [
        (2_500_000, 200),
        (3 * 1024 * 1024, 200),
        (3 * 1024 * 1024 + 1, 413),
    ] {
        let body = FakeGraph::default().message("P1", "16505551234", "hi");
        let padding = vec![b' '; size - body.len()];
        let request = signed_whatsapp(&secret, [body, padding].concat());
        assert_eq!(deliver(&url, &request).await.unwrap(), expected, "{size}");
    }
    assert_eq!(counts.counts().accepted, 2);
}

/// Sends the headers of a request, and no body. Returns the status of the answer; `None` if the body is waited for.
async fn answer_to_head(addr: std::net::SocketAddr, path: &str, headers: &str) -> Option<u16> {
    let mut stream = tokio::net::TcpStream::connect(addr)
        .await
        .expect("a connection");
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.expect("a fixture");
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    let read = tokio::time::timeout(std::time::Duration::from_millis(300), read).await;
    read.ok()?.expect("a fixture");
    let status = std::str::from_utf8(&answer)
        .expect("a fixture")
        .rsplit(' ')
        .next();
    Some(status.expect("a fixture").parse().expect("a fixture"))
}

#[tokio::test]
async fn a_request_without_a_signature_is_refused_before_its_body_is_read() {
    let world = World::new();
    let now = world.clock.now().as_secs();
    let gateway = Arc::new(world.gateway);
    let counts = Arc::clone(&gateway);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a fixture");
    let addr = listener.local_addr().expect("a fixture");
    let router: axum::Router = konstruct_channels::routes(gateway);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let slack = |signature: &str, time: &str| {
        format!("x-slack-signature: {signature}\r\nx-slack-request-timestamp: {time}\r\n")
    };
    let meta = |signature: &str| format!("x-hub-signature-256: {signature}\r\n");
    let (v0, sha256) = (
        format!("v0={}", "a".repeat(64)),
        format!("sha256={}", "a".repeat(64)),
    );
    let events = "/webhooks/slack/events";
    let hook = "/webhooks/whatsapp";
    let mut rejected = 0;
    for (path, headers, expected) in [
        (events, String::new(), Some(401)),
        (events, format!("x-slack-signature: {v0}\r\n"), Some(401)),
        (events, slack(&v0, ""), Some(401)),
        (events, slack(&v0, "today"), Some(401)),
        (events, slack(&v0, &(now - 600).to_string()), Some(401)),
        (events, slack(&v0, &(now + 600).to_string()), Some(401)),
        (events, slack(&v0[..40], &now.to_string()), Some(401)),
        (events, slack(&"a".repeat(67), &now.to_string()), Some(401)),
        ("/webhooks/slack/interactions", String::new(), Some(401)),
        ("/webhooks/slack/commands", String::new(), Some(401)),
        (hook, String::new(), Some(401)),
        (hook, meta(""), Some(401)),
        (hook, meta(&sha256[7..]), Some(401)),
        (hook, meta(&sha256[..70]), Some(401)),
        ("/webhooks/fax", String::new(), Some(404)),
        // What may be signed is read.
        (events, slack(&v0, &now.to_string()), None),
        (hook, meta(&sha256), None),
    ] {
        let headers = format!("{headers}content-length: 3000000\r\n");
        let status = answer_to_head(addr, path, &headers).await;
        assert_eq!(status, expected, "{path} {headers}");
        rejected += u64::from(expected == Some(401));
        assert_eq!(counts.counts().rejected_signature, rejected);
    }
    for length in ["transfer-encoding: chunked\r\n", "content-length: 257\r\n"] {
        assert_eq!(answer_to_head(addr, events, length).await, Some(401));
    }
    // Slack does not sign its certificate check, which is short.
    let short = "content-length: 256\r\n";
    assert_eq!(answer_to_head(addr, events, short).await, None);
    let large = format!("{}content-length: 3145729\r\n", meta(&sha256));
    assert_eq!(answer_to_head(addr, hook, &large).await, Some(413));
}

/// A webhook of another provider: it echoes what it is sent.
#[derive(Debug)]
struct Echo;

impl Webhook for Echo {
    fn receive(&self, request: &WebhookRequest, _: Timestamp) -> Received {
        let method = if request.is_get() { "GET" } else { "POST" };
        let token = request.parameter("token").unwrap_or_default();
        let mark = request.header("X-Mark").unwrap_or_default();
        let body = String::from_utf8_lossy(request.body());
        Received::Reply(HttpReply::text(format!("{method} {token} {mark} {body}")))
    }
}

async fn own_path(State(gateway): State<Arc<Gateway>>, request: WebhookRequest) -> HttpReply {
    gateway.handle(&ChannelKind::new("echo"), &request).await
}

#[tokio::test]
async fn every_webhook_of_the_gateway_has_a_route() {
    let gateway = World::new().gateway.with(ChannelKind::new("echo"), Echo);
    let gateway = Arc::new(gateway);
    let router = axum::Router::new()
        .route("/hooks/echo", axum::routing::any(own_path))
        .with_state(gateway.clone())
        .merge(konstruct_channels::routes(gateway));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::builder().direct().build();
    for (method, path, status, text) in [
        (Method::GET, "/webhooks/echo?token=t", 200, "GET t m "),
        (Method::POST, "/webhooks/echo?token=t", 200, "POST t m b"),
        (Method::POST, "/hooks/echo", 200, "POST  m b"),
        (Method::PUT, "/webhooks/echo", 405, ""),
        (Method::POST, "/webhooks/fax", 404, ""),
        (Method::GET, "/webhooks/fax", 404, ""),
        (Method::POST, "/webhooks/slack/events", 401, ""),
        (Method::POST, "/webhooks/slack/commands", 401, ""),
        (Method::GET, "/webhooks/slack/events", 405, ""),
        (Method::POST, "/webhooks/whatsapp", 401, ""),
        (
            Method::GET,
            "/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=token&hub.challenge=7",
            200,
            "7",
        ),
    ] {
        let name = format!("{method} {path}");
        let request = client.request(method, format!("{origin}{path}")).unwrap();
        let response = request.header("x-mark", "m").body("b").send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), status, "{name}");
        let body = response.body(1_000).await.unwrap();
        assert_eq!(body, text, "{name}");
    }
}

/// Meta reports a person with a phone number and a user id, and later with one of them.
#[tokio::test]
async fn a_person_with_two_ids_has_one_conversation() {
    for order in [[0, 1, 2], [1, 0, 2], [2, 0, 1]] {
        let world = World::new();
        for n in order {
            let mut said = serde_json::json!({"id": format!("wamid.{n}"), "timestamp": "1700000000", "type": "text",
                "text": {"body": "hi"}});
            if n != 1 {
                said["from"] = "1650".into();
            }
            if n != 2 {
                said["from_user_id"] = "US.13".into();
            }
            let contacts = serde_json::json!([{"profile": {"name": "Pat"}}]);
            let value = serde_json::json!({"contacts": contacts, "messages": [said]});
            let body = crate::whatsapp_inbound::envelope("messages", value);
            let request = world.whatsapp(body);
            assert_eq!(world.status(&WHATSAPP, &request).await, 200);
        }
        let tenant = world.accounts.whatsapp.tenant;
        let all = world.journal.list(tenant, None, 10).await.expect("a list");
        assert_eq!(all.len(), 1, "{order:?}");
        let find = async |address: &str| {
            let found = world.journal.person(tenant, &WHATSAPP, address).await;
            found.expect("a lookup").expect("a person")
        };
        assert_eq!(find("1650").await, find("US.13").await, "{order:?}");
    }
}
