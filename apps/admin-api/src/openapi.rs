//! The OpenAPI document, derived from the table of operations and the types.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    operations::{OPERATIONS, Operation, schema},
    types::ProblemDetails,
};

/// Returns the OpenAPI 3.1 document of the admin API.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = schema::<ProblemDetails>(&mut generator);
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(operation, &problem, &mut generator);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Konstruct admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The bearer token is the operator's, an API token, or that of the desktop program; browsers send the cookie of /sign-in instead, and writes with it must state this server as their origin. The caller's role in the tenant must be at least the operation's `x-role`. Writes take `Idempotency-Key`. Lists take `limit` (1 to 200, default 50) and `after`. Every error is RFC 9457 problem details.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": generator.take_definitions(true),
        },
    })
}

fn describe(operation: &Operation, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let content = |kind: &str, schema: Value| json!({ kind: { "schema": schema } });
    let mut parameters: Vec<Value> = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if operation.paged {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 });
        parameters.push(json!({ "name": "limit", "in": "query", "schema": limit }));
        parameters.push(json!({ "name": "after", "in": "query", "schema": { "type": "string" } }));
    }
    for (name, description) in operation.query {
        parameters.push(json!({
            "name": name, "in": "query", "description": description, "schema": { "type": "string" },
        }));
    }
    if operation.method != "get" {
        parameters.push(header(
            "Idempotency-Key",
            "Carries the request out once, however often it is sent",
        ));
    }
    if operation.versioned {
        parameters.push(header(
            "If-Match",
            "The ETag of the version to replace, or `*`; absent if there is none yet",
        ));
    }
    let mut answer = json!({ "description": operation.summary });
    if let Some(schema) = operation.answer {
        answer["content"] = content(operation.media_type, schema(generator));
    }
    let mut responses = json!({ operation.status: answer });
    for (status, description) in problems(operation) {
        responses[status] = json!({
            "description": description,
            "content": { "application/problem+json": { "schema": problem } },
        });
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "x-role": operation.role,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(schema) = operation.body {
        described["requestBody"] =
            json!({ "required": true, "content": content("application/json", schema(generator)) });
    }
    described
}

fn header(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } })
}

/// Returns the statuses of an operation's problems, each with what it means.
fn problems(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let writes = operation.method != "get";
    let replaces = operation.versioned;
    let selects = operation.paged || !operation.query.is_empty();
    let problems = [
        (
            writes,
            "400",
            "The body is not JSON, or a header is not valid",
        ),
        (
            true,
            "401",
            "The token is missing, wrong, revoked or expired",
        ),
        (
            true,
            "403",
            "The caller's role does not suffice, or a page of another origin called",
        ),
        (
            operation.path.contains('{'),
            "404",
            "It does not exist, or belongs to another tenant",
        ),
        (
            writes,
            "409",
            "It conflicts with something that exists, or the same request is still running",
        ),
        (
            replaces,
            "412",
            "`If-Match` names another version than the current one",
        ),
        (writes, "413", "The body is too large"),
        (
            writes || selects,
            "422",
            "A field or a parameter is not valid",
        ),
        (
            replaces,
            "428",
            "It exists already, and `If-Match` is missing",
        ),
        (
            true,
            "429",
            "Too many requests; `Retry-After` says when to call again",
        ),
        (
            operation.id == "backUp",
            "501",
            "The server is on PostgreSQL, which has tools of its own",
        ),
        (
            true,
            "503",
            "The store or a provider does not respond; call again later",
        ),
    ];
    let applies = problems.into_iter().filter(|(applies, ..)| *applies);
    applies
        .map(|(_, status, description)| (status, description))
        .collect()
}
