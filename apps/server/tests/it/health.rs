//! Health, metrics, and the description of the API.

use serde_json::Value;

use crate::office::{CUSTOMER, NUMBER, Office, get};

#[tokio::test]
async fn the_process_is_alive_and_ready() {
    let office = Office::open().await;
    let server = office.start().await;
    assert_eq!(get(&format!("{}/healthz", server.url)).await.0, 200);
    let (status, body) = get(&format!("{}/readyz", server.url)).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(body["checks"]["store"], "ok");
}

#[tokio::test]
async fn metrics_have_a_separate_listener() {
    let office = Office::open().await;
    let server = office.start().await;
    assert_eq!(get(&format!("{}/metrics", server.url)).await.0, 404);
    for path in ["healthz", "api/v1/tenants", "webhooks/whatsapp"] {
        assert_eq!(
            get(&format!("{}/{path}", server.metrics)).await.0,
            404,
            "{path}"
        );
    }
    assert_eq!(server.metric("konstruct_first_claim_seconds").await, None);
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    server.wait_until_processed(1).await;
    assert!(server.metric("konstruct_first_claim_seconds").await > Some(0.0));
    for (name, value) in [
        ("konstruct_events_total{outcome=\"accepted\"}", 1.0),
        ("konstruct_turns_total{outcome=\"replied\"}", 1.0),
        ("konstruct_model_calls_total", 1.0),
        ("konstruct_sends_total", 1.0),
        ("konstruct_failures_total", 0.0),
    ] {
        assert_eq!(server.metric(name).await, Some(value), "{name}");
    }
    let text = get(&format!("{}/metrics", server.metrics)).await.1;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(
            ["konstruct_", "gen_ai_"]
                .iter()
                .any(|ours| name.starts_with(ours))
                && value.parse::<f64>().is_ok(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_openapi_document_is_complete() {
    let office = Office::open().await;
    let server = office.start().await;
    let (status, text) = get(&format!("{}/api/openapi.json", server.url)).await;
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 8);
    let mut ids = Vec::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(!ids.contains(&id), "duplicate id {id}");
            ids.push(id);
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{method} {path}"
            );
            let named = |name: &str| {
                let parameters = operation["parameters"].as_array().unwrap();
                parameters
                    .iter()
                    .any(|one| one["name"] == name && one["in"] == "path")
            };
            let in_path = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert!(in_path.into_iter().all(named), "{method} {path}");
        }
    }
    references(&document, &mut |reference| {
        let pointer = reference.strip_prefix('#').expect("a reference within");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    });
}

/// Visits every reference of a document.
fn references(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                visit(reference);
            }
            fields.values().for_each(|value| references(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, visit)),
        _ => {}
    }
}
