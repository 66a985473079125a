//! The operations of the API in one table, from which the document, the server's checks of roles and its tests derive.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::types::{
    Account, ApiToken, AuditEntry, AuditVerification, Budgets, Cap, Connection, Conversation,
    ConversationActivity, ConversationSummary, Decided, Decision, DecisionForAll, Document,
    DocumentText, Employee, EmployeeSettings, Erasure, Fact, Invitation, IssuedApiToken,
    IssuedInvitation, Member, MemberRole, MemoryStatus, NewApiToken, NewConnection, NewDocument,
    NewErasure, NewInvitation, NewOwnModel, NewReply, NewSignInLink, NewTenant, NewWebsite,
    OwnModel, Page, PersonalData, Question, RaisedCap, Replay, RetentionSettings, Role, Session,
    SignInLink, Spend, Tenant, Unanswered, Website, WebsiteSettings,
};

/// One operation of the API.
#[derive(Debug)]
pub struct Operation {
    /// The HTTP method, in lower case.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Its id, for example `getEmployee`.
    pub id: &'static str,
    /// The least role that may call it.
    pub role: Role,
    pub(crate) summary: &'static str,
    pub(crate) body: Option<Schema>,
    pub(crate) status: &'static str,
    pub(crate) answer: Option<Schema>,
    /// The media type of the answer.
    pub(crate) media_type: &'static str,
    /// Whether it replaces a version, which `If-Match` names.
    pub(crate) versioned: bool,
    /// Whether it may be called for a cancelled tenant although it changes something.
    open_when_cancelled: bool,
    /// Whether the answer is a page of a list.
    pub(crate) paged: bool,
    /// The parameters in the query string besides those of every list, with their descriptions.
    pub(crate) query: &'static [(&'static str, &'static str)],
}

fn any(_: &mut SchemaGenerator) -> Value {
    serde_json::json!({})
}

fn text(_: &mut SchemaGenerator) -> Value {
    serde_json::json!({ "type": "string" })
}

fn file(_: &mut SchemaGenerator) -> Value {
    serde_json::json!({ "type": "string", "format": "binary" })
}

type Schema = fn(&mut SchemaGenerator) -> Value;

pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

const fn operation(
    role: Role,
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        id,
        role,
        summary,
        body: None,
        status: "200",
        answer: None,
        media_type: "application/json",
        versioned: false,
        open_when_cancelled: false,
        paged: false,
        query: &[],
    }
}

impl Operation {
    /// Returns whether the audit log names it: it changes something, or takes data away.
    pub fn is_audited(&self) -> bool {
        let shown = ["application/json", "text/event-stream"].contains(&self.media_type);
        self.method != "get" || !shown
    }

    /// Returns whether it may be called for a cancelled tenant: it reads, erases or takes away.
    pub fn is_open_when_cancelled(&self) -> bool {
        self.method == "get" || self.open_when_cancelled
    }

    const fn also_when_cancelled(mut self) -> Self {
        self.open_when_cancelled = true;
        self
    }

    const fn takes(mut self, body: Schema) -> Self {
        self.body = Some(body);
        self
    }

    const fn gives(mut self, status: &'static str, answer: Schema) -> Self {
        self.status = status;
        self.answer = Some(answer);
        self
    }

    const fn replaces_a_version(mut self) -> Self {
        self.versioned = true;
        self
    }

    const fn lists(mut self, page: Schema) -> Self {
        self.answer = Some(page);
        self.paged = true;
        self
    }

    /// The answer is a stream of server-sent events with this data.
    const fn streams(mut self, event: Schema) -> Self {
        self.answer = Some(event);
        self.media_type = "text/event-stream";
        self
    }

    /// The answer is JSON lines.
    const fn streams_lines(mut self, line: Schema) -> Self {
        self.answer = Some(line);
        self.media_type = "application/jsonl";
        self
    }

    /// The answer is a table.
    const fn downloads_csv(mut self) -> Self {
        self.answer = Some(text);
        self.media_type = "text/csv; charset=utf-8";
        self
    }

    /// The answer is a file.
    const fn downloads(mut self) -> Self {
        self.answer = Some(file);
        self.media_type = "application/octet-stream";
        self
    }

    const fn filtered_by(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    const fn gives_nothing(mut self) -> Self {
        self.status = "204";
        self
    }
}

const TENANT: &str = "/api/v1/tenants/{tenant}";

const FROM: (&str, &str) = (
    "from",
    "The beginning, RFC 3339; default: that of the ledger",
);
const TO: (&str, &str) = ("to", "The end, RFC 3339, not included; default: now");

/// All operations.
pub const OPERATIONS: &[Operation] = &[
    operation(Role::Operator, "get", "/api/v1/tenants", "listTenants", "Lists the tenants")
        .lists(schema::<Page<Tenant>>),
    operation(Role::Operator, "post", "/api/v1/tenants", "addTenant", "Adds a tenant")
        .takes(schema::<NewTenant>)
        .gives("201", schema::<Tenant>),
    operation(Role::Viewer, "get", TENANT, "getTenant", "Returns a tenant").gives("200", schema::<Tenant>),
    operation(
        Role::Operator,
        "delete",
        TENANT,
        "removeTenant",
        "Removes a tenant with all its data",
    )
    .gives_nothing()
    .also_when_cancelled(),
    operation(
        Role::Owner,
        "post",
        "/api/v1/tenants/{tenant}/cancellation",
        "cancelTenant",
        "Cancels a tenant: the employee stops at once, the connections are disconnected at the vendors, and all data is erased after \
         30 days, unless the operator configured another time. Until then everything can be read and exported. Has no effect on a \
         cancelled tenant",
    )
    .gives("200", schema::<Tenant>)
    .also_when_cancelled(),
    operation(
        Role::Owner,
        "delete",
        "/api/v1/tenants/{tenant}/cancellation",
        "withdrawCancellation",
        "Withdraws the cancellation of a tenant before it is erased. Connect its accounts again afterwards",
    )
    .gives_nothing()
    .also_when_cancelled(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/retention",
        "getRetention",
        "Returns how long the words of conversations are kept",
    )
    .gives("200", schema::<RetentionSettings>),
    operation(
        Role::Owner,
        "put",
        "/api/v1/tenants/{tenant}/retention",
        "changeRetention",
        "Sets how long the words of conversations are kept; older ones are erased every day",
    )
    .takes(schema::<RetentionSettings>)
    .gives("200", schema::<RetentionSettings>)
    .replaces_a_version(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/employee",
        "getEmployee",
        "Returns the employee",
    )
    .gives("200", schema::<Employee>),
    operation(
        Role::Admin,
        "post",
        "/api/v1/tenants/{tenant}/employee",
        "hireEmployee",
        "Hires the employee; a tenant has at most one",
    )
    .takes(schema::<EmployeeSettings>)
    .gives("201", schema::<Employee>),
    operation(
        Role::Admin,
        "put",
        "/api/v1/tenants/{tenant}/employee",
        "changeEmployee",
        "Changes the employee by adding a new version",
    )
    .takes(schema::<EmployeeSettings>)
    .gives("200", schema::<Employee>)
    .replaces_a_version(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/connections",
        "listConnections",
        "Lists the channel connections",
    )
    .lists(schema::<Page<Connection>>),
    operation(
        Role::Admin,
        "post",
        "/api/v1/tenants/{tenant}/connections",
        "addConnection",
        "Connects a workspace or a number",
    )
    .takes(schema::<NewConnection>)
    .gives("201", schema::<Connection>),
    operation(
        Role::Admin,
        "delete",
        "/api/v1/tenants/{tenant}/connections/{connection}",
        "removeConnection",
        "Removes a connection",
    )
    .gives_nothing(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/models",
        "listModels",
        "Lists the tenant's own models",
    )
    .lists(schema::<Page<OwnModel>>),
    operation(
        Role::Admin,
        "put",
        "/api/v1/tenants/{tenant}/models/{name}",
        "putModel",
        "Adds or replaces a tenant's own model",
    )
    .takes(schema::<NewOwnModel>)
    .gives("200", schema::<OwnModel>)
    .replaces_a_version(),
    operation(
        Role::Admin,
        "delete",
        "/api/v1/tenants/{tenant}/models/{name}",
        "removeModel",
        "Removes a tenant's own model",
    )
    .gives_nothing(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/documents",
        "listDocuments",
        "Lists the knowledge documents",
    )
    .lists(schema::<Page<Document>>),
    operation(
        Role::Admin,
        "post",
        "/api/v1/tenants/{tenant}/documents",
        "putDocument",
        "Adds a document, or replaces the one with the same title",
    )
    .takes(schema::<NewDocument>)
    .gives("201", schema::<Document>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/documents/{document}",
        "getDocument",
        "Returns a document with its text, its passages and warnings about them",
    )
    .gives("200", schema::<DocumentText>),
    operation(
        Role::Admin,
        "delete",
        "/api/v1/tenants/{tenant}/documents/{document}",
        "removeDocument",
        "Removes a document",
    )
    .gives_nothing(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/websites",
        "listWebsites",
        "Lists the websites",
    )
    .lists(schema::<Page<Website>>),
    operation(
        Role::Admin,
        "post",
        "/api/v1/tenants/{tenant}/websites",
        "addWebsite",
        "Adds a website, and crawls it",
    )
    .takes(schema::<NewWebsite>)
    .gives("201", schema::<Website>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/websites/{website}",
        "getWebsite",
        "Returns a website with the report of its last crawl, also while it runs",
    )
    .gives("200", schema::<Website>),
    operation(
        Role::Admin,
        "put",
        "/api/v1/tenants/{tenant}/websites/{website}",
        "changeWebsite",
        "Changes the settings of a website",
    )
    .takes(schema::<WebsiteSettings>)
    .gives("200", schema::<Website>),
    operation(
        Role::Admin,
        "delete",
        "/api/v1/tenants/{tenant}/websites/{website}",
        "removeWebsite",
        "Removes a website with its documents",
    )
    .gives_nothing(),
    operation(
        Role::Admin,
        "post",
        "/api/v1/tenants/{tenant}/websites/{website}/crawl",
        "crawlWebsite",
        "Crawls a website again",
    )
    .gives("202", schema::<Website>),
    operation(
        Role::Admin,
        "delete",
        "/api/v1/tenants/{tenant}/websites/{website}/crawl",
        "cancelCrawl",
        "Cancels the crawl of a website",
    )
    .gives_nothing(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/conversations",
        "listConversations",
        "Lists the conversations, the most recently active first. With filters, a page may be short and still have a `next`",
    )
    .lists(schema::<Page<ConversationSummary>>)
    .filtered_by(&[
        ("waiting", "`true`: a message waits for the employee"),
        ("asked", "`true`: a question waits for a person"),
        ("open", "`true`: something waits for a person"),
        ("held", "`true`: a team member holds the conversation"),
        ("channel", "`slack` or `whatsapp`"),
        ("connection", "The id of a connection"),
        ("person", "The id of a person who has written in it"),
    ]),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/events",
        "followEvents",
        "Streams what happens in the conversations. `Last-Event-ID` resumes after an event; without it, the stream begins now. It ends \
         after 15 minutes; call again",
    )
    .streams(schema::<ConversationActivity>)
    .filtered_by(&[("after", "Like `Last-Event-ID`")]),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/conversations/{conversation}",
        "getConversation",
        "Returns a conversation with its turns",
    )
    .gives("200", schema::<Conversation>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/turns/{turn}/replay",
        "replayTurn",
        "Replays a turn and compares every decision",
    )
    .gives("200", schema::<Replay>),
    operation(
        Role::Agent,
        "post",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/reply",
        "reply",
        "Sends a team member's reply, who holds the conversation from then on: the employee is silent in it",
    )
    .takes(schema::<NewReply>)
    .gives_nothing(),
    operation(
        Role::Agent,
        "post",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/hand-back",
        "handBack",
        "Returns a conversation to the employee, who answers from the next message on",
    )
    .gives_nothing(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/questions",
        "listQuestions",
        "Lists the questions that wait for a person",
    )
    .lists(schema::<Page<Question>>),
    operation(
        Role::Agent,
        "post",
        "/api/v1/tenants/{tenant}/questions",
        "decideAllQuestions",
        "Decides all questions of a kind",
    )
    .takes(schema::<DecisionForAll>)
    .gives("200", schema::<Decided>),
    operation(
        Role::Agent,
        "post",
        "/api/v1/tenants/{tenant}/questions/{question}",
        "decideQuestion",
        "Decides a question",
    )
    .takes(schema::<Decision>)
    .gives_nothing(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/memory",
        "getMemory",
        "Returns the progress of the index",
    )
    .gives("200", schema::<MemoryStatus>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/unanswered",
        "listUnanswered",
        "Lists the questions without an answer in the documents, the newest first",
    )
    .gives("200", schema::<Vec<Unanswered>>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/conversations/{conversation}/facts",
        "listFacts",
        "Lists the facts about a conversation's channel, or about its one person",
    )
    .gives("200", schema::<Vec<Fact>>),
    operation(
        Role::Owner,
        "post",
        "/api/v1/tenants/{tenant}/erasures",
        "erase",
        "Erases a message, a conversation or a person",
    )
    .takes(schema::<NewErasure>)
    .gives("200", schema::<Erasure>)
    .also_when_cancelled(),
    operation(
        Role::Owner,
        "get",
        "/api/v1/tenants/{tenant}/tokens",
        "listTokens",
        "Lists the API tokens",
    )
    .lists(schema::<Page<ApiToken>>),
    operation(
        Role::Owner,
        "post",
        "/api/v1/tenants/{tenant}/tokens",
        "addToken",
        "Creates an API token, which is shown this once",
    )
    .takes(schema::<NewApiToken>)
    .gives("201", schema::<IssuedApiToken>),
    operation(
        Role::Owner,
        "delete",
        "/api/v1/tenants/{tenant}/tokens/{token}",
        "revokeToken",
        "Revokes an API token",
    )
    .gives_nothing()
    .also_when_cancelled(),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/members",
        "listMembers",
        "Lists the members",
    )
    .lists(schema::<Page<Member>>),
    operation(
        Role::Owner,
        "put",
        "/api/v1/tenants/{tenant}/members/{member}",
        "changeMember",
        "Changes a member's role. The last owner keeps theirs (409)",
    )
    .takes(schema::<MemberRole>)
    .gives("200", schema::<Member>)
    .replaces_a_version(),
    operation(
        Role::Owner,
        "delete",
        "/api/v1/tenants/{tenant}/members/{member}",
        "removeMember",
        "Removes a member. The last owner stays (409)",
    )
    .gives_nothing()
    .also_when_cancelled(),
    operation(
        Role::Owner,
        "get",
        "/api/v1/tenants/{tenant}/invitations",
        "listInvitations",
        "Lists the open invitations",
    )
    .lists(schema::<Page<Invitation>>),
    operation(
        Role::Owner,
        "post",
        "/api/v1/tenants/{tenant}/invitations",
        "invite",
        "Invites the owner of an e-mail address. An open invitation of the address is replaced",
    )
    .takes(schema::<NewInvitation>)
    .gives("201", schema::<IssuedInvitation>),
    operation(
        Role::Owner,
        "delete",
        "/api/v1/tenants/{tenant}/invitations/{invitation}",
        "revokeInvitation",
        "Revokes an invitation",
    )
    .gives_nothing()
    .also_when_cancelled(),
    operation(
        Role::Admin,
        "get",
        "/api/v1/tenants/{tenant}/audit",
        "listAudit",
        "Lists the audit log, the newest entry first",
    )
    .lists(schema::<Page<AuditEntry>>),
    operation(
        Role::Admin,
        "get",
        "/api/v1/tenants/{tenant}/audit/verification",
        "verifyAudit",
        "Checks the hashes of the audit log",
    )
    .gives("200", schema::<AuditVerification>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/budgets",
        "getBudgets",
        "Returns what is spent under the caps in the current periods",
    )
    .gives("200", schema::<Budgets>),
    operation(
        Role::Admin,
        "post",
        "/api/v1/tenants/{tenant}/caps",
        "raiseCap",
        "Raises a cap of the employee, and answers the questions that it had no money for",
    )
    .takes(schema::<RaisedCap>)
    .gives("200", schema::<Cap>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/spend",
        "getSpend",
        "Sums what was spent",
    )
    .gives("200", schema::<Spend>)
    .filtered_by(&[
        FROM,
        TO,
        (
            "by",
            "`day` (the default), `kind`, `model`, `conversation`, `connection` or `person`",
        ),
    ]),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/tenants/{tenant}/ledger.csv",
        "exportLedger",
        "Returns the rows of the ledger as CSV (RFC 4180), costs in billionths of a US dollar",
    )
    .downloads_csv()
    .filtered_by(&[FROM, TO]),
    operation(
        Role::Owner,
        "get",
        "/api/v1/tenants/{tenant}/export",
        "exportTenant",
        "Streams all data of the tenant as JSON lines: the employee, the members, conversations, the ledger, documents and facts, without secrets",
    )
    .streams_lines(any),
    operation(
        Role::Admin,
        "get",
        "/api/v1/tenants/{tenant}/persons/{person}/export",
        "exportPerson",
        "Streams what a person wrote, what the employee wrote with it in view, and what is remembered about the person, as JSON lines",
    )
    .streams_lines(schema::<PersonalData>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/account",
        "getAccount",
        "Returns who is signed in, with the tenants. An API token has no account (404)",
    )
    .gives("200", schema::<Account>),
    operation(
        Role::Viewer,
        "get",
        "/api/v1/account/sessions",
        "listSessions",
        "Lists where the caller is signed in, the last used session first",
    )
    .gives("200", schema::<Vec<Session>>),
    operation(
        Role::Viewer,
        "delete",
        "/api/v1/account/sessions/{session}",
        "endSession",
        "Ends a session of the caller",
    )
    .gives_nothing(),
    operation(
        Role::Operator,
        "post",
        "/api/v1/sign-in-links",
        "addSignInLink",
        "Creates a link that signs the operator in once, or with which a person sets a new password",
    )
    .takes(schema::<NewSignInLink>)
    .gives("201", schema::<SignInLink>),
    operation(
        Role::Operator,
        "get",
        "/api/v1/backup",
        "backUp",
        "Returns a copy of the embedded store, made while it is used. On PostgreSQL: 501",
    )
    .downloads(),
    operation(
        Role::Operator,
        "get",
        "/api/v1/audit",
        "listOperatorAudit",
        "Lists the audit log of what concerns no tenant, the newest entry first",
    )
    .lists(schema::<Page<AuditEntry>>),
    operation(
        Role::Operator,
        "get",
        "/api/v1/audit/verification",
        "verifyOperatorAudit",
        "Checks the hashes of the audit log of what concerns no tenant",
    )
    .gives("200", schema::<AuditVerification>),
];
