//! Ownership of accounts: unassigned until the vendor has confirmed them.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{Json, Router, extract, http::StatusCode, routing::any};
use konstruct_admin_api::{Connection, ConnectionState, NewConnection, NewTenant};
use konstruct_core::{
    AccountId, ChannelKind, ConnectionId, Directory as _, ErrorKind, Secret, TenantId, Timestamp,
    directory::ConnectionState as State,
};
use konstruct_server::{App, BUSINESS_TENANT, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::office::{CUSTOMER, NUMBER, Office, Server, Wire, eventually, launch};

/// A vendor's response about a token.
#[derive(Clone, Copy, Debug)]
enum VendorResponse {
    Team(&'static str),
    Refused,
    Nothing,
}

/// A vendor with a configurable response.
#[derive(Clone)]
struct Vendor {
    response: Arc<Mutex<VendorResponse>>,
    url: String,
}

impl Vendor {
    async fn open(response: VendorResponse) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let vendor = Self {
            response: Arc::new(Mutex::new(response)),
            url: format!("http://{}", listener.local_addr().unwrap()),
        };
        let router = Router::new()
            .fallback(any(answer))
            .with_state(vendor.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        vendor
    }

    fn respond_with(&self, response: VendorResponse) {
        *self.response.lock().unwrap() = response;
    }
}

async fn answer(extract::State(vendor): extract::State<Vendor>) -> (StatusCode, Json<Value>) {
    match *vendor.response.lock().unwrap() {
        VendorResponse::Team(team) => {
            let both = json!({ "ok": true, "team_id": team, "user_id": "UBOT", "ts": "1.000001",
                "display_phone_number": "+1 555", "messages": [{ "id": "wamid.1" }] });
            (StatusCode::OK, Json(both))
        }
        VendorResponse::Refused => {
            let both = json!({ "ok": false, "error": "invalid_auth" });
            (StatusCode::UNAUTHORIZED, Json(both))
        }
        VendorResponse::Nothing => (StatusCode::SERVICE_UNAVAILABLE, Json(Value::Null)),
    }
}

async fn accepted(server: &Server) -> Option<f64> {
    let name = "konstruct_events_total{outcome=\"accepted\"}";
    server.metric(name).await
}

async fn unknown(server: &Server) -> Option<f64> {
    let name = "konstruct_events_total{outcome=\"unknown_account\"}";
    server.metric(name).await
}

/// A message in a workspace.
fn in_team(office: &Office, team: &str) -> Vec<u8> {
    let body = String::from_utf8(office.slack.message("D1", "U1", "hello")).unwrap();
    body.replace("\"T1\"", &format!("\"{team}\"")).into_bytes()
}

#[tokio::test]
async fn until_slack_confirms_its_webhooks_get_503() {
    let office = Office::open().await;
    let slack = Vendor::open(VendorResponse::Refused).await;
    let server = launch_with(&office, &slack).await;
    for response in [VendorResponse::Refused, VendorResponse::Nothing] {
        slack.respond_with(response);
        for team in ["T1", "T9"] {
            let message = in_team(&office, team);
            assert_eq!(server.slack(&message).await, 503, "{team} {response:?}");
        }
    }
    assert_eq!(accepted(&server).await, Some(0.0));
    // The other channel is not affected.
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);

    slack.respond_with(VendorResponse::Team("T1"));
    server.vendors_have_confirmed().await;
    let ours = in_team(&office, "T1");
    eventually(async || server.slack(&ours).await == 200).await;
    assert_eq!(accepted(&server).await, Some(2.0));
    assert_eq!(server.slack(&in_team(&office, "T9")).await, 200);
    assert_eq!(unknown(&server).await, Some(1.0));
    assert_eq!(accepted(&server).await, Some(2.0));
}

#[tokio::test]
async fn until_meta_confirms_a_number_its_webhooks_get_503() {
    let office = Office::open().await;
    let graph = Vendor::open(VendorResponse::Refused).await;
    let mut command = office.command(Wire::OpenAi);
    command.env("GRAPH_API_URL", &graph.url);
    let server = launch(command).await;
    let (ours, other) = (
        office.graph.message(NUMBER, CUSTOMER, "hello"),
        office.graph.message("999", CUSTOMER, "hello"),
    );
    assert_eq!(server.whatsapp(&ours).await, 503);
    assert_eq!(server.whatsapp(&other).await, 200);
    assert_eq!(unknown(&server).await, Some(1.0));
    graph.respond_with(VendorResponse::Team("T1"));
    server.vendors_have_confirmed().await;
    eventually(async || server.whatsapp(&ours).await == 200).await;
    assert_eq!(accepted(&server).await, Some(1.0));
}

fn new(account: &str) -> NewConnection {
    NewConnection {
        channel: "slack".into(),
        account: account.into(),
        name: String::new(),
        token: "xoxb-of-a-tenant".into(),
    }
}

async fn tenant(server: &Server) -> TenantId {
    let new = NewTenant {
        name: "Shop".into(),
    };
    server.admin().add_tenant(&new).await.unwrap().id
}

/// Starts a server whose Slack is this one.
async fn launch_with(office: &Office, slack: &Vendor) -> Server {
    let mut command = office.command(Wire::OpenAi);
    command.env("SLACK_API_URL", &slack.url);
    launch(command).await
}

async fn only(server: &Server, tenant: TenantId) -> Connection {
    let mut listed = server.admin().connections(tenant).await.unwrap().items;
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed.remove(0)
}

#[tokio::test]
async fn a_tenant_cannot_claim_an_account_without_its_token() {
    let office = Office::open().await;
    let slack = Vendor::open(VendorResponse::Team("T1")).await;
    let server = launch_with(&office, &slack).await;
    server.vendors_have_confirmed().await;
    let (admin, tenant) = (server.admin(), tenant(&server).await);

    // The token is of another workspace than the one that is claimed.
    slack.respond_with(VendorResponse::Team("T7"));
    let error = admin.connect(tenant, &new("T8")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().starts_with("account: "), "{error}");
    slack.respond_with(VendorResponse::Refused);
    let error = admin.connect(tenant, &new("T8")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().starts_with("token: "), "{error}");
    assert!(admin.connections(tenant).await.unwrap().items.is_empty());
    assert_eq!(server.slack(&in_team(&office, "T8")).await, 200);
    assert_eq!(unknown(&server).await, Some(1.0));

    slack.respond_with(VendorResponse::Team("T8"));
    let connection = admin.connect(tenant, &new("T8")).await.unwrap();
    assert_eq!(connection.state, ConnectionState::Active);
    assert_eq!(server.slack(&in_team(&office, "T8")).await, 200);
    assert_eq!(accepted(&server).await, Some(1.0));
}

#[tokio::test]
async fn an_unreachable_vendor_is_asked_again() {
    let office = Office::open().await;
    let slack = Vendor::open(VendorResponse::Team("T1")).await;
    let server = launch_with(&office, &slack).await;
    server.vendors_have_confirmed().await;
    let (admin, one, two, three) = (
        server.admin(),
        tenant(&server).await,
        tenant(&server).await,
        tenant(&server).await,
    );
    slack.respond_with(VendorResponse::Nothing);
    for tenant in [one, two] {
        let pending = admin.connect(tenant, &new("T8")).await.unwrap();
        assert_eq!(pending.state, ConnectionState::Pending);
    }
    admin.connect(three, &new("T9")).await.unwrap();
    // A claimed but unconfirmed account is an unknown account, and never causes a 503.
    assert_eq!(server.slack(&in_team(&office, "T8")).await, 200);
    assert_eq!(unknown(&server).await, Some(1.0));

    slack.respond_with(VendorResponse::Team("T8"));
    let state = async |tenant| only(&server, tenant).await.state;
    eventually(async || state(three).await == ConnectionState::Disconnected).await;
    // One of the two gets it.
    eventually(async || {
        let mut states = [state(one).await, state(two).await];
        states.sort_by_key(|state| *state == ConnectionState::Disconnected);
        states == [ConnectionState::Active, ConnectionState::Disconnected]
    })
    .await;
    assert_eq!(server.slack(&in_team(&office, "T8")).await, 200);
    assert_eq!(accepted(&server).await, Some(1.0));
    // With a valid token, the third is revived with its id.
    slack.respond_with(VendorResponse::Team("T9"));
    let before = only(&server, three).await.id;
    let revived = admin.connect(three, &new("T9")).await.unwrap();
    assert_eq!(
        (revived.id, revived.state),
        (before, ConnectionState::Active)
    );
    let twice = admin.connect(three, &new("T9")).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    slack.respond_with(VendorResponse::Team("T8"));
    // Removing the one that lost does not affect the one that won.
    for tenant in [one, two] {
        let connection = only(&server, tenant).await;
        if connection.state == ConnectionState::Disconnected {
            admin.disconnect(tenant, connection.id).await.unwrap();
        }
    }
    assert_eq!(server.slack(&in_team(&office, "T8")).await, 200);
    assert_eq!(accepted(&server).await, Some(2.0));
}

#[tokio::test]
async fn a_revoked_token_pauses_the_connection_until_it_works_again() {
    let office = Office::open().await;
    let slack = Vendor::open(VendorResponse::Team("T1")).await;
    let start = async || launch_with(&office, &slack).await;
    let server = start().await;
    server.vendors_have_confirmed().await;
    server.kill().await;

    slack.respond_with(VendorResponse::Refused);
    let server = start().await;
    let state = async || {
        let listed = server.admin().connections(BUSINESS_TENANT).await.unwrap();
        let slack = listed.items.into_iter().find(|one| one.channel == "slack");
        let slack = slack.unwrap();
        (slack.state, slack.reason)
    };
    let paused = (ConnectionState::Paused, Some("unauthorized".to_owned()));
    eventually(async || state().await == paused).await;
    // Incoming events are stored until it works again.
    assert_eq!(server.slack(&in_team(&office, "T1")).await, 200);
    assert_eq!(accepted(&server).await, Some(1.0));
    slack.respond_with(VendorResponse::Team("T1"));
    eventually(async || state().await == (ConnectionState::Active, None)).await;
}

#[tokio::test]
async fn a_state_survives_a_restart() {
    let data = TempDir::new().unwrap();
    let open = async || {
        let variable = |name: &str| match name {
            "KONSTRUCT_DATA_DIR" => Some(data.path().display().to_string()),
            "KONSTRUCT_MODEL" => Some("extract".into()),
            "KONSTRUCT_DEMO" => Some("off".into()),
            _ => None,
        };
        let config = Config::load(None, variable).unwrap();
        let address = "127.0.0.1:9".parse().unwrap();
        App::open(config, address, Instant::now()).await.unwrap()
    };
    let (tenant, id) = (TenantId::new(), ConnectionId::new());
    let paused = State::Paused {
        reason: ErrorKind::QuotaExhausted,
        since: Timestamp::from_secs(1_800_000_000),
    };
    {
        let app = open().await;
        let connection = konstruct_server::NewConnection {
            channel: ChannelKind::SLACK,
            account: AccountId("T1".into()),
            name: String::new(),
            token: Secret::new("xoxb-1"),
            api_url: None,
        };
        app.directory.connect(tenant, id, connection).await.unwrap();
        let state = app.directory.connection_state(tenant, id).await.unwrap();
        assert_eq!(state, State::Active);
        let set = app.directory.set_connection_state(tenant, id, paused);
        set.await.unwrap();
        let foreign = TenantId::new();
        let set = app.directory.set_connection_state(foreign, id, paused);
        assert_eq!(set.await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let app = open().await;
    let state = app.directory.connection_state(tenant, id).await.unwrap();
    assert_eq!(state, paused);
}
