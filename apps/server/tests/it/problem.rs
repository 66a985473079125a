//! What is wrong is said as RFC 9457 has it, and nothing is kept then.

use konstruct_server::DEMO_TENANT;
use serde_json::{Value, json};

use crate::office::{Office, Server, TOKEN, get, http};

/// Sends a body to the admin API. Returns the status and the problem.
async fn problem(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}/api/v1{path}", server.url);
    let request = http().request(method.parse().unwrap(), url);
    let request = request.bearer_auth(TOKEN).body(body.to_owned());
    let answer = request.send().await.unwrap();
    let (status, media) = (
        answer.status().as_u16(),
        answer.headers()["content-type"].clone(),
    );
    assert_eq!(media, "application/problem+json", "{method} {path}");
    let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    (status, problem)
}

#[tokio::test]
async fn a_problem_names_the_field() {
    let office = Office::open().await;
    let server = office.start().await;
    let tenant = format!("/tenants/{DEMO_TENANT}");
    let at = |path: &str| format!("{tenant}/{path}");
    let long = "x".repeat(81);
    let cases = [
        ("POST", "/tenants".to_owned(), json!({}), "name"),
        ("POST", "/tenants".to_owned(), json!({"name": " "}), "name"),
        (
            "POST",
            "/tenants".to_owned(),
            json!({"name": "A", "nmae": 1}),
            "nmae",
        ),
        ("GET", "/tenants?limit=0".to_owned(), json!(null), "limit"),
        (
            "GET",
            "/tenants?limit=many".to_owned(),
            json!(null),
            "limit",
        ),
        ("GET", at("conversations?after=here"), json!(null), "after"),
        (
            "PUT",
            at("employee"),
            json!({"name": long, "role": "r"}),
            "name",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": ""}),
            "role",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "tools": ["steal"]}),
            "tools[0]",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "hours": {"time_zone": "Mars/Base", "open": []}}),
            "hours.time_zone",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "hours": {"time_zone": "UTC", "open": [{"weekday": 1, "from": "9", "to": "18:00"}]}}),
            "hours.open[0].from",
        ),
        (
            "POST",
            at("connections"),
            json!({"channel": "whatsapp", "account": "*", "token": "t"}),
            "account",
        ),
        (
            "POST",
            at("connections"),
            json!({"channel": "whatsapp", "account": "", "token": "t"}),
            "account",
        ),
        (
            "POST",
            at("connections"),
            json!({"channel": "whatsapp", "account": "7", "token": ""}),
            "token",
        ),
        (
            "POST",
            at("connections"),
            json!({"channel": "fax", "account": "7", "token": "t"}),
            "channel",
        ),
        (
            "POST",
            at("documents"),
            json!({"title": "", "format": "text", "text": "t"}),
            "title",
        ),
        (
            "POST",
            at("documents"),
            json!({"title": "T", "format": "text", "text": ""}),
            "text",
        ),
    ];
    for (method, path, body, field) in cases {
        let (status, problem) = problem(&server, method, &path, &body.to_string()).await;
        assert_eq!(status, 422, "{method} {path} {body}: {problem}");
        assert_eq!(problem["field"], field, "{method} {path} {body}: {problem}");
    }
    let admin = server.admin();
    assert_eq!(admin.tenants(None).await.unwrap().items.len(), 1);
    assert_eq!(admin.employee(DEMO_TENANT).await.unwrap().version, 1);
    assert_eq!(admin.documents(DEMO_TENANT).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_json_are_problems() {
    let office = Office::open().await;
    let server = office.start().await;
    let cases = [
        ("GET", "/nothing".to_owned(), "", 404),
        ("GET", "/tenants/ten_x".to_owned(), "", 404),
        (
            "GET",
            format!("/tenants/{DEMO_TENANT}/documents/doc_x"),
            "",
            404,
        ),
        ("PATCH", "/tenants".to_owned(), "", 405),
        ("POST", "/tenants".to_owned(), "{", 400),
        (
            "POST",
            format!("/tenants/{DEMO_TENANT}/employee"),
            r#"{"name":"B","role":"r"}"#,
            409,
        ),
    ];
    for (method, path, body, expected) in cases {
        let (status, problem) = problem(&server, method, &path, body).await;
        assert_eq!(status, expected, "{method} {path}: {problem}");
    }
    let large = json!({"title": "T", "format": "text", "text": "x".repeat(2 << 20)}).to_string();
    let path = format!("/tenants/{DEMO_TENANT}/documents");
    let (status, problem) = problem(&server, "POST", &path, &large).await;
    assert!(status == 413 || status == 422, "{problem}");
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let office = Office::open().await;
    let server = office.start().await;
    let url = format!("{}/api/v1/tenants", server.url);
    assert_eq!(get(&url).await.0, 401);
    let authorized = async |value: &str| {
        let request = http().get(&url).header("authorization", value);
        request.send().await.unwrap().status().as_u16()
    };
    for value in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic eDp5", TOKEN] {
        assert_eq!(authorized(value).await, 401, "{value:?}");
    }
    assert_eq!(authorized(&format!("bearer {TOKEN}")).await, 200);
    let new = http()
        .post(&url)
        .body(r#"{"name":"Thief"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(new.status(), 401);
    assert_eq!(server.admin().tenants(None).await.unwrap().items.len(), 1);
}
