//! Another tenant's ids answer exactly like ids that do not exist, on every route.

use konstruct_server::BUSINESS_TENANT;
use serde_json::Value;

use crate::{
    matrix::Target,
    office::{Office, TOKEN},
};

#[tokio::test]
async fn foreign_ids_answer_like_missing_ones() {
    let office = Office::open().await;
    let server = office.start().await;
    let admin = server.admin();
    let conversation = server.greeted(&office).await;
    let documents = admin.documents(BUSINESS_TENANT).await.unwrap().items.len();
    let connections = admin.connections(BUSINESS_TENANT).await.unwrap().items;
    let target = Target {
        url: &server.url,
        token: TOKEN,
    };
    let (other, routes) = target.matrix(BUSINESS_TENANT, &conversation).await.unwrap();
    for route in &routes {
        assert_eq!(route.foreign, route.missing, "{}", route.name);
        let status = route.foreign.0;
        // It is not the body that is refused.
        let refused = (400..500).contains(&status) && status != 400;
        assert!(refused, "{}: {:?}", route.name, route.foreign);
    }
    assert!(routes.len() >= 12, "{}", routes.len());
    // Nothing of the owner was changed, and everything is still there.
    let left = admin.documents(BUSINESS_TENANT).await.unwrap().items;
    assert_eq!(left.len(), documents);
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
        "members",
        "invitations",
    ] {
        let path = format!("/api/v1/tenants/{other}/{list}");
        let (status, body) = target.answer("get", &path, &Value::Null).await.unwrap();
        assert_eq!(status, 200, "{list}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let items = body.get("items").unwrap_or(&body);
        assert_eq!(items.as_array().map(Vec::len), Some(0), "{list}: {body}");
    }
}
