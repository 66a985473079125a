//! Who may do what: roles, API tokens, the audit log, versions and idempotency keys.

use std::collections::BTreeMap;

use konstruct_admin_api::{
    ApiToken, Client, EmployeeSettings, IssuedApiToken, NewApiToken, NewOwnModel, NewTenant,
    OPERATIONS, Role, Who,
};
use konstruct_core::{ErrorKind, Secret, TenantId};
use konstruct_memory::RowStore as _;
use konstruct_server::BUSINESS_TENANT;
use serde_json::{Value, json};

use crate::{
    device::device_token,
    member::joined,
    office::{Office, Server, TOKEN, http},
};

/// A response: its status, its ETag and its body.
struct Answer {
    status: u16,
    etag: Option<String>,
    retry_after: Option<String>,
    replayed: bool,
    body: Value,
}

/// Sends a request below `/api/v1` with a token.
async fn ask(
    server: &Server,
    token: Option<&str>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let url = format!("{}/api/v1{path}", server.url);
    let method = method.to_uppercase().parse().unwrap();
    let mut request = http().request(method, url).unwrap().body(body.to_string());
    if let Some(token) = token {
        request = request.bearer(&Secret::new(token));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let (etag, retry_after) = (header("etag"), header("retry-after"));
    let replayed = header("idempotent-replayed").is_some();
    let status = answer.status();
    // A stream of events has no end.
    let body = match answer.media_type().as_str() {
        "text/event-stream" => Vec::new(),
        _ => answer.body(1 << 24).await.unwrap().to_vec(),
    };
    Answer {
        status,
        etag,
        retry_after,
        replayed,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

async fn issue(admin: &Client, tenant: TenantId, role: Role) -> IssuedApiToken {
    let new = NewApiToken {
        name: format!("the {role}"),
        role,
        expires_in_days: Some(30),
    };
    admin.add_token(tenant, &new).await.unwrap()
}

async fn another(admin: &Client) -> TenantId {
    let new = NewTenant {
        name: "Another".into(),
    };
    admin.add_tenant(&new).await.unwrap().id
}

#[tokio::test]
async fn every_operation_needs_its_role() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let tenant = another(&admin).await;
    let mut tokens: Vec<(Role, String)> = Vec::new();
    for role in Role::ALL {
        tokens.push(match role {
            Role::Operator => (role, TOKEN.into()),
            role => (role, issue(&admin, tenant, role).await.token),
        });
        // And people who are signed in.
        if role != Role::Operator {
            let mut visitor = joined(&server, tenant, role.name(), role).await;
            tokens.push((role, device_token(&mut visitor).await));
        }
    }
    let nothing = json!({});
    let mut checked = 0;
    // Reads first, and the removal of the tenant last.
    let mut operations: Vec<_> = OPERATIONS.iter().collect();
    operations.sort_by_key(|it| (it.method != "get", it.id == "removeTenant"));
    for operation in operations {
        let path = operation.path.strip_prefix("/api/v1").unwrap();
        let path = path.replace("{tenant}", &tenant.to_string());
        let path = path.split('/').map(|part| match part.starts_with('{') {
            true => "00000000-0000-0000-0000-000000000001",
            false => part,
        });
        let path = path.collect::<Vec<_>>().join("/");
        let (id, method) = (operation.id, operation.method);
        for token in [None, Some("wrong"), Some("")] {
            let answer = ask(&server, token, method, &path, &[], &nothing).await;
            assert_eq!(answer.status, 401, "{id} with {token:?}");
        }
        for (role, token) in &tokens {
            let answer = ask(&server, Some(token), method, &path, &[], &nothing).await;
            let detail = answer.body["detail"].as_str().unwrap_or_default();
            if *role < operation.role {
                assert_eq!(answer.status, 403, "{id} as {role}");
                let needed = format!("`{}`", operation.role);
                assert!(detail.contains(&needed), "{id} as {role}: {detail}");
            } else {
                let status = answer.status;
                assert!(
                    ![401, 403, 405].contains(&status) && (status < 500 || status == 501),
                    "{id} as {role}: {status} {detail}"
                );
                assert!(!detail.starts_with("no such resource"), "{id}");
            }
            checked += 1;
        }
    }
    assert_eq!(checked, OPERATIONS.len() * tokens.len());
    // What the table does not name does not exist.
    for (method, path, status) in [
        ("get", "/nowhere", 404),
        ("patch", "/tenants", 405),
        ("options", "/tenants", 405),
        ("head", "/tenants", 200),
    ] {
        let answer = ask(&server, Some(TOKEN), method, path, &[], &nothing).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let answer = ask(&server, None, method, path, &[], &nothing).await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_opens_its_own_tenant_until_it_is_revoked() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let (own, foreign) = (another(&admin).await, another(&admin).await);
    let issued = issue(&admin, own, Role::Owner).await;
    let client = Client::new(&server.url, Secret::new(issued.token.clone())).unwrap();
    let listed = client.tokens(own).await.unwrap().items;
    let shown = serde_json::to_string(&listed).unwrap();
    assert!(!shown.contains(&issued.token[36..]), "{shown}");
    let used = |token: &ApiToken| token.last_used_at.is_some();
    assert_eq!(listed.len(), 1);
    assert!(used(&listed[0]) && !used(&issued.details), "{listed:?}");
    assert_eq!(client.tenant(own).await.unwrap().id, own);

    let token = issued.token.as_str();
    let nothing = json!({});
    let get = async |tenant: TenantId, token: &str| {
        let path = format!("/tenants/{tenant}/employee");
        let answer = ask(&server, Some(token), "get", &path, &[], &nothing).await;
        (answer.status, answer.body)
    };
    assert_eq!(get(foreign, token).await, get(TenantId::new(), token).await);
    assert_eq!(get(foreign, token).await.0, 404);
    // The id is known; the rest is the secret.
    let mut wrong = token.to_owned();
    let last = if wrong.ends_with('A') { "B" } else { "A" };
    wrong.replace_range(wrong.len() - 2..wrong.len() - 1, last);
    assert_eq!(get(own, &wrong).await.0, 401);

    client.revoke_token(own, &issued.details.id).await.unwrap();
    assert_eq!(get(own, token).await.0, 401);
    let again = admin.revoke_token(own, &issued.details.id).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_bad_token_is_not_created() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let well = NewApiToken {
        name: "CI".into(),
        role: Role::Viewer,
        expires_in_days: None,
    };
    let check = async |field: &str, change: fn(&mut NewApiToken)| {
        let mut new = well.clone();
        change(&mut new);
        let error = admin.add_token(BUSINESS_TENANT, &new).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().starts_with(field), "{field}: {error}");
    };
    check("name", |new| new.name = "  ".into()).await;
    check("name", |new| new.name = "a\u{7}".into()).await;
    check("name", |new| new.name = "n".repeat(101)).await;
    check("role", |new| new.role = Role::Operator).await;
    check("expires_in_days", |new| new.expires_in_days = Some(0)).await;
    check("expires_in_days", |new| new.expires_in_days = Some(3_651)).await;
    assert!(
        admin
            .tokens(BUSINESS_TENANT)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

fn employee(name: &str) -> EmployeeSettings {
    serde_json::from_value(json!({"name": name, "role": "the front desk"})).unwrap()
}

#[tokio::test]
async fn the_audit_log_names_who_asked_for_what() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let tenant = another(&admin).await;
    let issued = issue(&admin, tenant, Role::Admin).await;
    let client = Client::new(&server.url, Secret::new(issued.token)).unwrap();
    client.hire(tenant, &employee("Ava")).await.unwrap();
    client.hire(tenant, &employee("Ben")).await.unwrap_err();
    client.employee(tenant).await.unwrap();
    client.remove_model(tenant, "gpt").await.unwrap_err();
    // What nobody was admitted to changes nothing.
    client.tokens(tenant).await.unwrap_err();

    let log = client.audit(tenant).await.unwrap().items;
    let said: Vec<_> = log
        .iter()
        .rev()
        .map(|entry| (entry.operation.as_str(), entry.refusal_of, entry.status))
        .collect();
    assert_eq!(
        said,
        [
            ("addToken", None, None),
            ("hireEmployee", None, None),
            ("hireEmployee", None, None),
            ("hireEmployee", Some(3), Some(409)),
            ("removeModel", None, None),
            ("removeModel", Some(5), Some(404)),
        ]
    );
    let numbers: Vec<u64> = log.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [6, 5, 4, 3, 2, 1]);
    let by_token = Who::ApiToken {
        id: issued.details.id,
        name: "the admin".into(),
    };
    assert_eq!((&log[0].who, log[0].role), (&by_token, Role::Admin));
    let target = BTreeMap::from([("name".to_owned(), "gpt".to_owned())]);
    assert_eq!(log[0].target, target);
    assert_eq!((&log[5].who, log[5].role), (&Who::Operator, Role::Operator));
    let checked = client.verify_audit(tenant).await.unwrap();
    assert!(checked.intact && checked.entries == 6, "{checked:?}");
    assert_eq!(checked.head, log[0].hash);

    // The operator's own log keeps the removal.
    admin.remove_tenant(tenant).await.unwrap();
    let log = admin.operator_audit().await.unwrap().items;
    let said: Vec<_> = log.iter().map(|entry| entry.operation.as_str()).collect();
    assert_eq!(said, ["removeTenant", "addTenant"]);
    assert_eq!(log[0].target["tenant"], tenant.to_string());
    assert!(admin.verify_operator_audit().await.unwrap().intact);
}

/// Many writers of one log.
#[tokio::test]
async fn entries_that_are_written_at_once_form_one_chain() {
    let office = Office::open().await;
    let server = office.start().await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let admin = server.admin();
        writers.spawn(async move { admin.remove_model(BUSINESS_TENANT, "none").await });
    }
    writers.join_all().await;
    let checked = server.admin().verify_audit(BUSINESS_TENANT).await.unwrap();
    assert!(checked.intact && checked.entries == 40, "{checked:?}");
}

#[tokio::test]
async fn a_changed_audit_log_is_recognised() {
    let office = Office::embedded().await;
    let server = office.start().await;
    let admin = server.admin();
    for _ in 0..3 {
        admin.remove_model(BUSINESS_TENANT, "n").await.unwrap_err();
    }
    let key = |number: u64| format!("{:020}", u64::MAX - number);
    server.terminate().await;
    let verify = async || {
        let mut command = office.command(crate::office::Wire::OpenAi);
        let output = command.arg("verify-audit").output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = verify().await;
    assert!(code == Some(0) && text.contains("up to entry 6,"), "{text}");

    let tenant = Some(BUSINESS_TENANT);
    let original = {
        let store = office.store();
        store
            .get_row(tenant, "audit", &key(4))
            .await
            .unwrap()
            .unwrap()
    };
    let changed = String::from_utf8(original.clone()).unwrap();
    let changed = changed.replace("404", "204").into_bytes();
    assert_ne!(original, changed);
    for (row, broken_at) in [(Some(changed), 4), (None, 4), (Some(original), 0)] {
        let store = office.store();
        match row {
            Some(row) => store.put_row(tenant, "audit", &key(4), &row).await.unwrap(),
            None => assert!(store.delete_row(tenant, "audit", &key(4)).await.unwrap()),
        }
        drop(store);
        let (code, text) = verify().await;
        let expected = match broken_at {
            0 => Some(0),
            _ => Some(1),
        };
        assert_eq!(code, expected, "{text}");
        let said = text.contains(&format!("entry {broken_at} was"));
        assert_eq!(said, broken_at != 0, "{text}");
    }
    // While the server runs, the command asks it.
    let server = office.start().await;
    let mut command = office.command(crate::office::Wire::OpenAi);
    command.env("KONSTRUCT_LISTEN", server.url.replace("http://", ""));
    let output = command.arg("verify-audit").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("up to entry 6,"),
        "{text}"
    );
}

#[tokio::test]
async fn one_of_two_writers_with_the_same_version_wins() {
    let office = Office::open().await;
    let server = office.start().await;
    let path = format!("/tenants/{BUSINESS_TENANT}/employee");
    let put = async |headers: &[(&str, &str)], name: &str| {
        let body = json!({"name": name, "role": "the desk"});
        ask(&server, Some(TOKEN), "put", &path, headers, &body).await
    };
    let read = ask(&server, Some(TOKEN), "get", &path, &[], &json!({})).await;
    let first = read.etag.unwrap();
    let headers = [("if-match", first.as_str())];
    let (one, two) = tokio::join!(put(&headers, "One"), put(&headers, "Two"));
    let (won, lost) = if one.status == 200 {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!((won.status, lost.status), (200, 412));
    let name = |settings: &Value| settings["name"].as_str().unwrap().to_owned();
    let (current, given) = (&lost.body["current"], &lost.body["given"]);
    assert_eq!(name(&current["settings"]), name(&won.body["settings"]));
    assert_ne!(name(given), name(&won.body["settings"]));
    let second = won.etag.unwrap();
    assert_ne!(first, second);

    for (headers, status) in [
        (vec![], 428),
        (vec![("if-match", "W/\"2\"")], 400),
        (vec![("if-match", "2")], 400),
        (vec![("if-match", first.as_str())], 412),
        (vec![("if-match", "*")], 200),
    ] {
        let answer = put(&headers, "Three").await;
        assert_eq!(answer.status, status, "{headers:?} {}", answer.body);
    }
}

#[tokio::test]
async fn a_model_is_replaced_by_version_and_its_key_is_not_repeated() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let model: NewOwnModel = serde_json::from_value(
        json!({"provider": "openai", "model": "gpt-5-mini", "api_key": "sk-planted"}),
    )
    .unwrap();
    let put = async |version| admin.put_model(BUSINESS_TENANT, "m", version, &model).await;
    let conflict = async |version| {
        let error = put(version).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{version:?}: {error}");
    };
    conflict(Some(1)).await;
    assert_eq!(put(None).await.unwrap().version, 1);
    conflict(None).await;
    conflict(Some(2)).await;
    assert_eq!(put(Some(1)).await.unwrap().version, 2);
    let path = format!("/tenants/{BUSINESS_TENANT}/models/m");
    let body = serde_json::to_value(&model).unwrap();
    let stale = [("if-match", "\"1\"")];
    let answer = ask(&server, Some(TOKEN), "put", &path, &stale, &body).await;
    assert_eq!(
        (answer.status, &answer.body["current"]["version"]),
        (412, &json!(2))
    );
    assert!(
        !answer.body.to_string().contains("planted"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_repeated_request_is_carried_out_once() {
    let office = Office::open().await;
    let server = office.start().await;
    let post = async |path: &str, key: &str, body: &Value| {
        let key = [("idempotency-key", key)];
        ask(&server, Some(TOKEN), "post", path, &key, body).await
    };
    let shop = json!({"name": "Shop"});
    let tenants = async || server.admin().tenants(None).await.unwrap().items.len();
    let before = tenants().await;
    // At once: one is carried out, and the others wait or get its answer.
    let many = futures_util::future::join_all((0..10).map(|_| post("/tenants", "k1", &shop))).await;
    for answer in &many {
        match answer.status {
            201 => {}
            409 => assert!(answer.retry_after.is_some()),
            other => panic!("{other} {}", answer.body),
        }
    }
    let fresh: Vec<_> = many
        .iter()
        .filter(|answer| answer.status == 201 && !answer.replayed)
        .collect();
    assert_eq!((fresh.len(), tenants().await), (1, before + 1));
    let again = post("/tenants", "k1", &shop).await;
    assert!(again.replayed && again.status == 201);
    assert_eq!(again.body, fresh[0].body);

    // Another content or path under the same key is refused; a refusal is repeated too.
    let other = post("/tenants", "k1", &json!({"name": "Other"})).await;
    assert_eq!(other.status, 422, "{}", other.body);
    let id = again.body["id"].as_str().unwrap();
    let hire = format!("/tenants/{id}/employee");
    let bad = json!({"name": "", "role": "the desk"});
    for replayed in [false, true] {
        let answer = post(&hire, "k2", &bad).await;
        assert_eq!((answer.status, answer.replayed), (422, replayed));
    }
    // The answer with a token is not kept.
    let tokens = format!("/tenants/{id}/tokens");
    let token = json!({"name": "CI", "role": "viewer"});
    let statuses = [
        post(&tokens, "k3", &token).await.status,
        post(&tokens, "k3", &token).await.status,
    ];
    assert_eq!(statuses, [201, 409]);
    let tenant: TenantId = id.parse().unwrap();
    assert_eq!(server.admin().tokens(tenant).await.unwrap().items.len(), 1);
    let long = "k".repeat(201);
    for key in ["", &long] {
        assert_eq!(post("/tenants", key, &shop).await.status, 400, "{key}");
    }
    // A key belongs to its caller.
    let viewer = issue(&server.admin(), tenant, Role::Admin).await.token;
    let key = [("idempotency-key", "k2")];
    let good = json!({"name": "Ava", "role": "the desk"});
    let answer = ask(&server, Some(&viewer), "post", &hire, &key, &good).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[tokio::test]
async fn a_reply_names_who_wrote_it() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let conversation = server.greeted(&office).await;
    let issued = issue(&admin, BUSINESS_TENANT, Role::Agent).await;
    let client = Client::new(&server.url, Secret::new(issued.token)).unwrap();
    let reply = serde_json::from_value(json!({"text": "I am a person."})).unwrap();
    client
        .reply(BUSINESS_TENANT, conversation.id, &reply)
        .await
        .unwrap();
    office.wait_for_accepted(2).await;
    let shown = client.conversation(BUSINESS_TENANT, conversation.id).await;
    let shown = serde_json::to_string(&shown.unwrap()).unwrap();
    assert!(shown.contains("the agent"), "{shown}");
}
