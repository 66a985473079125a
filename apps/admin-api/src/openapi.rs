//! The OpenAPI document: the operations in one table, and schemas generated from the types.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::types::{
    Connection, Conversation, ConversationSummary, Decided, Decision, DecisionForAll, Document,
    DocumentText, Employee, EmployeeSettings, Erasure, Fact, MemoryStatus, NewConnection,
    NewDocument, NewErasure, NewOwnModel, NewReply, NewTenant, NewWebsite, OwnModel, Page,
    ProblemDetails, Question, Replay, Tenant, Unanswered, Website, WebsiteSettings,
};

/// One operation of the API.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: Option<fn(&mut SchemaGenerator) -> Value>,
    status: &'static str,
    answer: Option<fn(&mut SchemaGenerator) -> Value>,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

const fn operation(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        id,
        summary,
        body: None,
        status: "200",
        answer: None,
    }
}

impl Operation {
    const fn takes(mut self, body: fn(&mut SchemaGenerator) -> Value) -> Self {
        self.body = Some(body);
        self
    }

    const fn gives(
        mut self,
        status: &'static str,
        answer: fn(&mut SchemaGenerator) -> Value,
    ) -> Self {
        self.status = status;
        self.answer = Some(answer);
        self
    }

    const fn gives_nothing(mut self) -> Self {
        self.status = "204";
        self
    }
}

const TENANT: &str = "/api/v1/tenants/{tenant}";

const OPERATIONS: &[Operation] = &[
    operation("get", "/api/v1/tenants", "listTenants", "Lists the tenants")
        .gives("200", schema::<Page<Tenant>>),
    operation("post", "/api/v1/tenants", "addTenant", "Adds a tenant")
        .takes(schema::<NewTenant>)
        .gives("201", schema::<Tenant>),
    operation("get", TENANT, "getTenant", "Returns a tenant").gives("200", schema::<Tenant>),
    operation(
        "delete",
        TENANT,
        "removeTenant",
        "Removes a tenant with all its data",
    )
    .gives_nothing(),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/employee",
        "getEmployee",
        "Returns the employee",
    )
    .gives("200", schema::<Employee>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/employee",
        "hireEmployee",
        "Hires the employee; a tenant has at most one",
    )
    .takes(schema::<EmployeeSettings>)
    .gives("201", schema::<Employee>),
    operation(
        "put",
        "/api/v1/tenants/{tenant}/employee",
        "changeEmployee",
        "Changes the employee by adding a new version",
    )
    .takes(schema::<EmployeeSettings>)
    .gives("200", schema::<Employee>),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/connections",
        "listConnections",
        "Lists the channel connections",
    )
    .gives("200", schema::<Page<Connection>>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/connections",
        "addConnection",
        "Connects a workspace or a number",
    )
    .takes(schema::<NewConnection>)
    .gives("201", schema::<Connection>),
    operation(
        "delete",
        "/api/v1/tenants/{tenant}/connections/{connection}",
        "removeConnection",
        "Removes a connection",
    )
    .gives_nothing(),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/models",
        "listModels",
        "Lists the tenant's own models",
    )
    .gives("200", schema::<Page<OwnModel>>),
    operation(
        "put",
        "/api/v1/tenants/{tenant}/models/{name}",
        "putModel",
        "Adds or replaces a tenant's own model",
    )
    .takes(schema::<NewOwnModel>)
    .gives("200", schema::<OwnModel>),
    operation(
        "delete",
        "/api/v1/tenants/{tenant}/models/{name}",
        "removeModel",
        "Removes a tenant's own model",
    )
    .gives_nothing(),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/documents",
        "listDocuments",
        "Lists the knowledge documents",
    )
    .gives("200", schema::<Page<Document>>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/documents",
        "putDocument",
        "Adds a document, or replaces the one with the same title",
    )
    .takes(schema::<NewDocument>)
    .gives("201", schema::<Document>),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/documents/{document}",
        "getDocument",
        "Returns a document with its text, its passages and warnings about them",
    )
    .gives("200", schema::<DocumentText>),
    operation(
        "delete",
        "/api/v1/tenants/{tenant}/documents/{document}",
        "removeDocument",
        "Removes a document",
    )
    .gives_nothing(),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/websites",
        "listWebsites",
        "Lists the websites",
    )
    .gives("200", schema::<Page<Website>>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/websites",
        "addWebsite",
        "Adds a website, and crawls it",
    )
    .takes(schema::<NewWebsite>)
    .gives("201", schema::<Website>),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/websites/{website}",
        "getWebsite",
        "Returns a website with the report of its last crawl, also while it runs",
    )
    .gives("200", schema::<Website>),
    operation(
        "put",
        "/api/v1/tenants/{tenant}/websites/{website}",
        "changeWebsite",
        "Changes the settings of a website",
    )
    .takes(schema::<WebsiteSettings>)
    .gives("200", schema::<Website>),
    operation(
        "delete",
        "/api/v1/tenants/{tenant}/websites/{website}",
        "removeWebsite",
        "Removes a website with its documents",
    )
    .gives_nothing(),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/websites/{website}/crawl",
        "crawlWebsite",
        "Crawls a website again",
    )
    .gives("202", schema::<Website>),
    operation(
        "delete",
        "/api/v1/tenants/{tenant}/websites/{website}/crawl",
        "cancelCrawl",
        "Cancels the crawl of a website",
    )
    .gives_nothing(),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/conversations",
        "listConversations",
        "Lists the conversations",
    )
    .gives("200", schema::<Page<ConversationSummary>>),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/conversations/{conversation}",
        "getConversation",
        "Returns a conversation with its turns",
    )
    .gives("200", schema::<Conversation>),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/turns/{turn}/replay",
        "replayTurn",
        "Replays a turn and compares every decision",
    )
    .gives("200", schema::<Replay>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/reply",
        "reply",
        "Sends a team member's reply, who holds the conversation from then on: the employee is silent in it",
    )
    .takes(schema::<NewReply>)
    .gives_nothing(),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/hand-back",
        "handBack",
        "Returns a conversation to the employee, who answers from the next message on",
    )
    .gives_nothing(),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/questions",
        "listQuestions",
        "Lists the questions that wait for a person",
    )
    .gives("200", schema::<Page<Question>>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/questions",
        "decideAllQuestions",
        "Decides all questions of a kind",
    )
    .takes(schema::<DecisionForAll>)
    .gives("200", schema::<Decided>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/questions/{question}",
        "decideQuestion",
        "Decides a question",
    )
    .takes(schema::<Decision>)
    .gives_nothing(),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/memory",
        "getMemory",
        "Returns the progress of the index",
    )
    .gives("200", schema::<MemoryStatus>),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/unanswered",
        "listUnanswered",
        "Lists the questions without an answer in the documents, the newest first",
    )
    .gives("200", schema::<Vec<Unanswered>>),
    operation(
        "get",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/facts",
        "listFacts",
        "Lists the facts about a conversation's channel, or about its one person",
    )
    .gives("200", schema::<Vec<Fact>>),
    operation(
        "post",
        "/api/v1/tenants/{tenant}/erasures",
        "erase",
        "Erases a message, a conversation or a person",
    )
    .takes(schema::<NewErasure>)
    .gives("200", schema::<Erasure>),
];

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
            "description": "Lists take `limit` (1 to 200, default 50) and `after`. Every error is RFC 9457 problem details.",
        },
        "security": [{ "operator": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "operator": { "type": "http", "scheme": "bearer" } },
            "schemas": generator.take_definitions(true),
        },
    })
}

fn describe(operation: &Operation, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
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
    let mut answer = json!({ "description": operation.summary });
    if let Some(schema) = operation.answer {
        answer["content"] = content(schema(generator));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
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
            json!({ "required": true, "content": content(schema(generator)) });
    }
    described
}
