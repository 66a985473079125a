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
            "description": "The bearer token is the operator's or an API token, whose role must be at least the operation's `x-role`. Writes take `Idempotency-Key`. Lists take `limit` (1 to 200, default 50) and `after`. Every error is RFC 9457 problem details.",
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
    if operation.id.starts_with("list") {
        parameters.push(json!({ "name": "limit", "in": "query", "schema": { "type": "integer" } }));
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
    if operation.method == "put" {
        parameters.push(header(
            "If-Match",
            "The ETag of the version to replace, or `*`; absent if there is none yet",
        ));
    }
    let mut answer = json!({ "description": operation.summary });
    if let Some(schema) = operation.answer {
        answer["content"] = content(operation.media_type, schema(generator));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "x-role": operation.role,
        "parameters": parameters,
        "responses": {
            operation.status: answer,
            "default": {
                "description": "The problem",
                "content": { "application/problem+json": { "schema": problem } },
            },
        },
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
