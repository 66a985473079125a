//! Errors are RFC 9457 problem details, and rejected requests store nothing.

use konstruct_core::Secret;
use konstruct_server::BUSINESS_TENANT;
use serde_json::{Value, json};

use crate::office::{Office, Server, TOKEN, get, http};

/// Sends a body to the admin API. Returns the status and the problem.
async fn problem(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}/api/v1{path}", server.url);
    let request = http().request(method.parse().unwrap(), url).unwrap();
    let request = request.bearer(&Secret::new(TOKEN)).body(body.to_owned());
    let answer = request.send().await.unwrap();
    let (status, media) = (answer.status(), answer.media_type());
    assert_eq!(media, "application/problem+json", "{method} {path}");
    let problem: Value = serde_json::from_slice(&answer.body(1 << 20).await.unwrap()).unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    (status, problem)
}

#[tokio::test]
async fn a_problem_names_the_field() {
    let office = Office::open().await;
    let server = office.start().await;
    let tenant = format!("/tenants/{BUSINESS_TENANT}");
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
        (
            "POST",
            at("documents"),
            json!({"title": "T", "format": "rtf", "text": "t"}),
            "format",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "hours": {"time_zone": "UTC", "open": [{"weekday": 999, "from": "9:00", "to": "18:00"}]}}),
            "hours.open[0].weekday",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "hours": {"time_zone": "UTC", "open": [{"weekday": 1, "from": "09:00", "to": "09:00"}]}}),
            "hours.open[0].to",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "hours": {"time_zone": "UTC", "open": [], "exceptions": [{"date": "24.12.2026"}]}}),
            "hours.exceptions[0].date",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "hours": {"time_zone": "UTC", "open": [], "exceptions": [
                {"date": "2026-12-24", "open": [{"from": "09:00", "to": "24:01"}]},
            ]}}),
            "hours.exceptions[0].open[0].to",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "unreadable": ""}),
            "unreadable",
        ),
        (
            "PUT",
            at("employee"),
            json!({"name": "A", "role": "r", "caps": [{"scope": "tenant", "period": "month", "nano_usd": "xoxb-1"}]}),
            "caps[0].nano_usd",
        ),
        ("POST", "/tenants".to_owned(), json!("xoxb-1"), "body"),
        (
            "POST",
            at("erasures"),
            json!({"what": {"type": "planet"}}),
            "what.type",
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
    assert_eq!(admin.employee(BUSINESS_TENANT).await.unwrap().version, 1);
    assert_eq!(
        admin.documents(BUSINESS_TENANT).await.unwrap().items.len(),
        3
    );
}

#[tokio::test]
async fn missing_resources_and_invalid_json_are_problems() {
    let office = Office::open().await;
    let server = office.start().await;
    let cases = [
        ("GET", "/nothing".to_owned(), "", 404),
        ("GET", "/tenants/ten_x".to_owned(), "", 404),
        (
            "GET",
            format!("/tenants/{BUSINESS_TENANT}/documents/doc_x"),
            "",
            404,
        ),
        ("PATCH", "/tenants".to_owned(), "", 405),
        ("POST", "/tenants".to_owned(), "{", 400),
        (
            "POST",
            format!("/tenants/{BUSINESS_TENANT}/employee"),
            r#"{"name":"B","role":"r"}"#,
            409,
        ),
    ];
    for (method, path, body, expected) in cases {
        let (status, problem) = problem(&server, method, &path, body).await;
        assert_eq!(status, expected, "{method} {path}: {problem}");
    }
    let large = json!({"title": "T", "format": "text", "text": "x".repeat(2 << 20)}).to_string();
    let path = format!("/tenants/{BUSINESS_TENANT}/documents");
    let (status, problem) = problem(&server, "POST", &path, &large).await;
    assert!(status == 413 || status == 422, "{problem}");
}

#[tokio::test]
async fn the_operators_token_is_required() {
    let office = Office::open().await;
    let server = office.start().await;
    let url = format!("{}/api/v1/tenants", server.url);
    assert_eq!(get(&url).await.0, 401);
    let authorized = async |value: &str| {
        let request = http().get(&url).unwrap();
        let request = request.header("authorization", value);
        request.send().await.unwrap().status()
    };
    for value in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic eDp5", TOKEN] {
        assert_eq!(authorized(value).await, 401, "{value:?}");
    }
    assert_eq!(authorized(&format!("bearer {TOKEN}")).await, 200);
    let new = http()
        .post(&url)
        .unwrap()
        .body(r#"{"name":"Thief"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(new.status(), 401);
    assert_eq!(server.admin().tenants(None).await.unwrap().items.len(), 1);
}

/// Values that no response may repeat: a text, and a number.
const PLANTED: &str = "xoxb-9f8e7d6c-Planted";
const NUMBER: i64 = 987_654_321;

/// Creates a value that a schema allows.
fn example(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return example(document, document.pointer(pointer).unwrap());
    }
    let choices = ["anyOf", "oneOf"].map(|name| schema[name].as_array());
    if let Some(choices) = choices.into_iter().flatten().next() {
        return example(document, &choices[0]);
    }
    if !schema["const"].is_null() {
        return schema["const"].clone();
    }
    if let Some(names) = schema["enum"].as_array() {
        return names[0].clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(name, schema)| (name.clone(), example(document, schema)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([example(document, &schema["items"])]),
        Some("integer") => json!(1),
        Some("boolean") => json!(false),
        _ => json!("text"),
    }
}

/// Returns the variants of a value with one of its parts replaced by an invalid one.
fn spoilt(value: &Value) -> Vec<Value> {
    let misfits = [
        json!(PLANTED),
        json!(NUMBER),
        json!(-NUMBER),
        json!({ PLANTED: PLANTED }),
        json!({ "type": PLANTED }),
        json!([PLANTED, NUMBER]),
        json!(true),
        json!(null),
    ];
    let mut all = misfits.to_vec();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                all.extend(spoilt(field).into_iter().map(|spoilt| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), spoilt);
                    Value::Object(fields)
                }));
            }
            let mut more = fields.clone();
            more.insert(PLANTED.into(), json!(PLANTED));
            all.push(Value::Object(more));
        }
        Value::Array(items) => all.extend(spoilt(&items[0]).into_iter().map(|one| json!([one]))),
        _ => {}
    }
    all
}

#[tokio::test]
async fn no_response_repeats_the_request() {
    let office = Office::open().await;
    let server = office.start().await;
    let client = http();
    let (mut problems, mut fields) = (0, 0);
    let mut check = async |method: &str, path: &str, body: String| {
        let url = format!("{}{path}", server.url);
        let request = client.request(method.parse().unwrap(), url).unwrap();
        let answer = request
            .bearer(&Secret::new(TOKEN))
            .body(body.clone())
            .send()
            .await;
        let answer = answer.unwrap();
        let status = answer.status();
        if status < 400 {
            // It may have no end.
            return;
        }
        let text = answer.body(1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(
            status < 500 || status == 501,
            "{method} {path} {body}: {text}"
        );
        problems += 1;
        let number = NUMBER.to_string();
        for planted in [PLANTED, &number] {
            assert!(!text.contains(planted), "{method} {path} {body}: {text}");
        }
        let problem: Value = serde_json::from_str(&text).unwrap();
        fields += usize::from(problem["field"].is_string());
    };
    let document: Value = {
        let url = format!("{}/api/openapi.json", server.url);
        serde_json::from_str(&get(&url).await.1).unwrap()
    };
    let paths = document["paths"].as_object().unwrap();
    for (path, operations) in paths {
        let spoilt_path = path.replace("{tenant}", &BUSINESS_TENANT.to_string());
        let spoilt_path = spoilt_path
            .split('/')
            .map(|part| if part.starts_with('{') { PLANTED } else { part });
        let spoilt_path = spoilt_path.collect::<Vec<_>>().join("/");
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            // These would remove or cancel the tenant that the others ask for.
            let ends = [
                "/api/v1/tenants/{tenant}",
                "/api/v1/tenants/{tenant}/cancellation",
            ];
            if method == "DELETE" && !path.ends_with('}') || ends.contains(&path.as_str()) {
                continue;
            }
            let query = format!("{spoilt_path}?limit={PLANTED}&after={PLANTED}&{PLANTED}=1");
            check(&method, &query, String::new()).await;
            check(&method, &spoilt_path, format!("{{\"{PLANTED}\": {PLANTED}")).await;
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if !schema.is_null() {
                for body in spoilt(&example(&document, schema)) {
                    check(&method, &spoilt_path, body.to_string()).await;
                }
            }
        }
    }
    for path in [PLANTED, "%ff", "%0a"] {
        let tenant = format!("/api/v1/tenants/{path}/documents/{path}");
        check("GET", &tenant, String::new()).await;
        check("PATCH", &format!("/api/v1/{path}"), String::new()).await;
    }
    assert!(problems > 200 && fields > 150, "{problems} {fields}");
}
