//! Another tenant's ids answer exactly like ids that do not exist, on every route.

use std::collections::BTreeMap;

use konstruct_admin_api::{EmployeeSettings, NewApiToken, NewTenant, NewWebsite, Role};
use konstruct_core::{
    ConnectionId, ConversationId, DocumentId, PersonId, Secret, TenantId, TurnId, id::WebsiteId,
};
use konstruct_server::BUSINESS_TENANT;
use serde_json::{Value, json};

use crate::office::{CUSTOMER, NUMBER, Office, Server, TOKEN, http};

/// Sends a request. Returns the status and the body.
async fn answer(server: &Server, method: &str, path: &str, body: &Value) -> (u16, String) {
    let url = format!("{}{path}", server.url);
    let method = method.to_uppercase().parse().unwrap();
    let request = http().request(method, url).unwrap();
    let request = request.bearer(&Secret::new(TOKEN)).body(body.to_string());
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body = answer.body(1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A body with which each method of a path gets as far as the lookup.
fn body(path: &str) -> Value {
    match path {
        path if path.ends_with("/reply") => json!({"text": "hello"}),
        path if path.ends_with("/questions/{question}") => json!({"decision": "drop"}),
        path if path.ends_with("/models/{name}") => {
            json!({"provider": "openai", "model": "gpt", "api_key": "sk-1"})
        }
        _ => json!({}),
    }
}

#[tokio::test]
async fn foreign_ids_answer_like_missing_ones() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    // The owner's things: a conversation with a turn, documents, connections, a website, a model, a question.
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    let [conversation] = server.wait_until_processed(1).await.try_into().unwrap();
    let site = NewWebsite {
        url: "http://127.0.0.1:9".into(),
        every_hours: None,
    };
    let website = admin.add_website(BUSINESS_TENANT, &site).await.unwrap();
    let documents = admin.documents(BUSINESS_TENANT).await.unwrap().items;
    let connections = admin.connections(BUSINESS_TENANT).await.unwrap().items;
    let own = format!("/api/v1/tenants/{BUSINESS_TENANT}");
    let put = answer(
        &server,
        "put",
        &format!("{own}/models/m"),
        &body("/models/{name}"),
    )
    .await;
    assert!([200, 201].contains(&put.0), "{put:?}");

    let token = NewApiToken {
        name: "CI".into(),
        role: Role::Viewer,
        expires_in_days: None,
    };
    let token = admin.add_token(BUSINESS_TENANT, &token).await.unwrap();

    // The other tenant has an employee, and nothing else.
    let other = NewTenant {
        name: "Other".into(),
    };
    let other = admin.add_tenant(&other).await.unwrap().id;
    let settings: EmployeeSettings =
        serde_json::from_value(json!({"name": "Bob", "role": "the desk"})).unwrap();
    admin.hire(other, &settings).await.unwrap();
    let foreign = BTreeMap::from([
        ("conversation", conversation.id.to_string()),
        ("turn", conversation.turns[0].id.to_string()),
        ("document", documents[0].id.to_string()),
        ("connection", connections[0].id.to_string()),
        ("website", website.id.to_string()),
        ("question", format!("{}/{}", conversation.id, "1")),
        ("name", "m".to_owned()),
        ("token", token.details.id),
        ("person", conversation.persons[0].to_string()),
    ]);
    let missing = BTreeMap::from([
        ("conversation", ConversationId::new().to_string()),
        ("turn", TurnId::new().to_string()),
        ("document", DocumentId::new().to_string()),
        ("connection", ConnectionId::new().to_string()),
        ("website", WebsiteId::new().to_string()),
        ("question", format!("{}/{}", ConversationId::new(), "1")),
        ("name", "n".to_owned()),
        ("token", "0123456789abcdef".to_owned()),
        ("person", PersonId::from_bytes([9; 16]).to_string()),
    ]);

    let mut routes = 0;
    let document = konstruct_admin_api::openapi();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters: Vec<&str> = path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .filter(|name| *name != "tenant")
            .collect();
        if parameters.is_empty() {
            continue;
        }
        let with = |ids: &BTreeMap<&str, String>, tenant: TenantId| {
            let mut path = path.replace("{tenant}", &tenant.to_string());
            for name in &parameters {
                let id = ids.get(name);
                let id = id.unwrap_or_else(|| panic!("an id for {name} of {path}"));
                path = path.replace(&format!("{{{name}}}"), &id.replace('/', "%2F"));
            }
            path
        };
        for method in methods.as_object().unwrap().keys() {
            // A tenant may give its model any name.
            if method == "parameters" || (method == "put" && path.ends_with("/models/{name}")) {
                continue;
            }
            routes += 1;
            let body = body(path);
            let theirs = answer(&server, method, &with(&foreign, other), &body).await;
            let nobodys = answer(&server, method, &with(&missing, other), &body).await;
            assert_eq!(theirs, nobodys, "{method} {path}");
            assert!(
                (400..500).contains(&theirs.0),
                "{method} {path}: {theirs:?}"
            );
            // It is not the body that is refused.
            assert_ne!(theirs.0, 400, "{method} {path}: {theirs:?}");
        }
    }
    assert!(routes >= 12, "{routes}");
    // Nothing of the owner was changed, and everything is still there.
    let left = admin.documents(BUSINESS_TENANT).await.unwrap().items;
    assert_eq!(left.len(), documents.len());
    assert_eq!(
        admin
            .connections(BUSINESS_TENANT)
            .await
            .unwrap()
            .items
            .len(),
        connections.len()
    );
    assert_eq!(admin.models(BUSINESS_TENANT).await.unwrap().items.len(), 1);
    let found = admin
        .conversation(BUSINESS_TENANT, conversation.id)
        .await
        .unwrap();
    assert_eq!(found.turns, conversation.turns);
    for list in [
        "conversations",
        "documents",
        "connections",
        "questions",
        "models",
        "websites",
        "unanswered",
    ] {
        let path = format!("/api/v1/tenants/{other}/{list}");
        let (status, body) = answer(&server, "get", &path, &Value::Null).await;
        assert_eq!(status, 200, "{list}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let items = body.get("items").unwrap_or(&body);
        assert_eq!(items.as_array().map(Vec::len), Some(0), "{list}: {body}");
    }
}
