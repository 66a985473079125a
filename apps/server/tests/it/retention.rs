//! The setting of how long words are kept. What is erased when is tested with the code.

use konstruct_core::Secret;
use konstruct_server::BUSINESS_TENANT;
use serde_json::{Value, json};

use crate::office::{Office, TOKEN, http};

#[tokio::test]
async fn the_setting_has_a_version_and_a_range() {
    let office = Office::open().await;
    let server = office.start().await;
    let url = format!("{}/api/v1/tenants/{BUSINESS_TENANT}/retention", server.url);
    let ask = async |method: &str, tag: Option<&str>, body: Value| {
        let request = http().request(method.parse().unwrap(), &url).unwrap();
        let mut request = request.bearer(&Secret::new(TOKEN));
        if method == "PUT" {
            request = request.json(&body);
        }
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        let answer = request.send().await.unwrap();
        let (status, tag) = (answer.status(), answer.header("etag").map(str::to_owned));
        let body = answer.body(1 << 16).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, tag.unwrap_or_default(), body)
    };
    let get = async || ask("GET", None, Value::Null).await;
    assert_eq!(get().await, (200, "\"0\"".into(), json!({})));
    for days in [json!(0), json!(3_651), json!(-1), json!("30")] {
        let (status, _, body) = ask("PUT", Some("\"0\""), json!({ "days": days })).await;
        assert_eq!(status, 422, "{days}: {body}");
        assert_eq!(body["field"], "days", "{body}");
    }
    let month = json!({ "days": 30 });
    let first = ask("PUT", Some("\"0\""), month.clone()).await;
    assert_eq!(first, (200, "\"1\"".into(), month.clone()));
    assert_eq!(get().await, first);
    // Two writers with one version.
    let (status, _, body) = ask("PUT", Some("\"0\""), json!({ "days": 7 })).await;
    assert_eq!(status, 412, "{body}");
    let (status, _, body) = ask("PUT", None, json!({ "days": 7 })).await;
    assert_eq!(status, 428, "{body}");
    let second = ask("PUT", Some("\"1\""), json!({})).await;
    assert_eq!(second, (200, "\"2\"".into(), json!({})));
}
