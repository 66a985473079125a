//! A typed client.

use konstruct_core::{
    ConnectionId, ConversationId, DocumentId, Error, ErrorKind, Result, Secret, TenantId, TurnId,
    http::{self, Method},
    id::{MemberId, WebsiteId},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::types::{
    Account, ApiToken, AuditEntry, AuditVerification, Budgets, Cap, Connection, Conversation,
    ConversationSummary, Decided, Decision, DecisionForAll, Document, DocumentText, Employee,
    EmployeeSettings, Erasure, Fact, Invitation, IssuedApiToken, IssuedInvitation, Member,
    MemberRole, MemoryStatus, NewApiToken, NewConnection, NewDocument, NewErasure, NewInvitation,
    NewOwnModel, NewReply, NewSignInLink, NewTenant, NewWebsite, OwnModel, Page, ProblemDetails,
    Question, RaisedCap, Replay, RetentionSettings, Role, Session, SignInLink, Spend, Tenant,
    Unanswered, Website, WebsiteSettings,
};

/// The maximum size of a response, in bytes.
const ANSWER: usize = 256 << 20;

/// A client of one server's admin API. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Client {
    http: http::Client,
    base: String,
    token: Secret,
}

impl Client {
    /// Creates a client of the server at this URL, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if TLS cannot be initialised.
    pub fn new(base: impl Into<String>, token: Secret) -> Result<Self> {
        let http = http::Client::builder().build();
        http.prepare()?;
        Ok(Self {
            http,
            base: base.into().trim_end_matches('/').to_owned(),
            token,
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T> {
        let request = self.request(method, path)?;
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.send(request).await
    }

    /// Replaces a version of a resource.
    async fn replace<T: DeserializeOwned>(
        &self,
        path: String,
        version: Option<u32>,
        new: &(impl Serialize + Sync),
    ) -> Result<T> {
        let mut request = self.request(Method::PUT, path)?.json(new);
        if let Some(version) = version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: String) -> Result<http::Request> {
        let url = format!("{}/api/v1{path}", self.base);
        Ok(self.http.request(method, url)?.bearer(&self.token))
    }

    async fn send<T: DeserializeOwned>(&self, request: http::Request) -> Result<T> {
        let response = request.send().await.map_err(unreachable)?;
        if !response.is_success() {
            return Err(refusal(response).await);
        }
        let status = response.status();
        let bytes = response.body(ANSWER).await.map_err(unreachable)?;
        let bytes: &[u8] = if status == 204 { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the response cannot be parsed").with_source(error)
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }
}

fn unreachable(error: Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidInput => error,
        _ => Error::new(ErrorKind::Unavailable, "could not reach the server").with_source(error),
    }
}

/// Returns the error that a response reports.
async fn refusal(response: http::Response) -> Error {
    let status = response.status();
    let kind = match status {
        // Another version than the one to replace.
        412 | 428 => ErrorKind::Conflict,
        501 => ErrorKind::Unsupported,
        _ => response.kind(),
    };
    let detail = match response.body(ANSWER).await {
        Ok(bytes) => serde_json::from_slice(&bytes).map_or_else(
            |_| format!("status {status}"),
            |problem: ProblemDetails| problem.detail,
        ),
        Err(error) => return unreachable(error),
    };
    Error::new(kind, detail)
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) $(body $body:ident: $body_kind:ty,)? => $method:ident $path:literal -> $answer:ty;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The error that the server reports, or [`ErrorKind::Unavailable`].
                pub async fn $name(&self $(, $argument: $kind)* $(, $body: &$body_kind)?) -> Result<$answer> {
                    calls!(@call self, $method, format!($path), $($body)?)
                }
            )*
        }
    };
    (@call $self:ident, $method:ident, $path:expr, $body:ident) => { $self.call(Method::$method, $path, Some($body)).await };
    (@call $self:ident, $method:ident, $path:expr,) => { $self.call(Method::$method, $path, None::<&()>).await };
}

calls! {
    /// Adds a tenant.
    add_tenant() body new: NewTenant, => POST "/tenants" -> Tenant;
    /// Returns a tenant.
    tenant(tenant: TenantId) => GET "/tenants/{tenant}" -> Tenant;
    /// Removes a tenant with all its data.
    remove_tenant(tenant: TenantId) => DELETE "/tenants/{tenant}" -> ();
    /// Cancels a tenant; has no effect on a cancelled one.
    cancel_tenant(tenant: TenantId) => POST "/tenants/{tenant}/cancellation" -> Tenant;
    /// Withdraws the cancellation of a tenant.
    withdraw_cancellation(tenant: TenantId) => DELETE "/tenants/{tenant}/cancellation" -> ();
    /// Returns how long the words of a tenant's conversations are kept.
    retention(tenant: TenantId) => GET "/tenants/{tenant}/retention" -> RetentionSettings;
    /// Returns a tenant's employee.
    employee(tenant: TenantId) => GET "/tenants/{tenant}/employee" -> Employee;
    /// Hires a tenant's employee.
    hire(tenant: TenantId) body new: EmployeeSettings, => POST "/tenants/{tenant}/employee" -> Employee;
    /// Lists a tenant's connections.
    connections(tenant: TenantId) => GET "/tenants/{tenant}/connections" -> Page<Connection>;
    /// Connects a workspace or a number.
    connect(tenant: TenantId) body new: NewConnection, => POST "/tenants/{tenant}/connections" -> Connection;
    /// Removes a connection.
    disconnect(tenant: TenantId, connection: ConnectionId) => DELETE "/tenants/{tenant}/connections/{connection}" -> ();
    /// Lists a tenant's own models.
    models(tenant: TenantId) => GET "/tenants/{tenant}/models" -> Page<OwnModel>;
    /// Removes a tenant's own model.
    remove_model(tenant: TenantId, name: &str) => DELETE "/tenants/{tenant}/models/{name}" -> ();
    /// Lists a tenant's knowledge documents.
    documents(tenant: TenantId) => GET "/tenants/{tenant}/documents" -> Page<Document>;
    /// Adds a knowledge document.
    put_document(tenant: TenantId) body new: NewDocument, => POST "/tenants/{tenant}/documents" -> Document;
    /// Returns a knowledge document.
    document(tenant: TenantId, document: DocumentId) => GET "/tenants/{tenant}/documents/{document}" -> DocumentText;
    /// Removes a knowledge document.
    remove_document(tenant: TenantId, document: DocumentId) => DELETE "/tenants/{tenant}/documents/{document}" -> ();
    /// Lists a tenant's websites.
    websites(tenant: TenantId) => GET "/tenants/{tenant}/websites" -> Page<Website>;
    /// Adds a website, and crawls it.
    add_website(tenant: TenantId) body new: NewWebsite, => POST "/tenants/{tenant}/websites" -> Website;
    /// Returns a website with the report of its last crawl, also while it runs.
    website(tenant: TenantId, website: WebsiteId) => GET "/tenants/{tenant}/websites/{website}" -> Website;
    /// Changes a website's settings.
    change_website(tenant: TenantId, website: WebsiteId) body settings: WebsiteSettings, => PUT "/tenants/{tenant}/websites/{website}" -> Website;
    /// Removes a website with its documents.
    remove_website(tenant: TenantId, website: WebsiteId) => DELETE "/tenants/{tenant}/websites/{website}" -> ();
    /// Crawls a website again.
    crawl(tenant: TenantId, website: WebsiteId) => POST "/tenants/{tenant}/websites/{website}/crawl" -> Website;
    /// Cancels the crawl of a website.
    cancel_crawl(tenant: TenantId, website: WebsiteId) => DELETE "/tenants/{tenant}/websites/{website}/crawl" -> ();
    /// Returns a conversation with its turns.
    conversation(tenant: TenantId, conversation: ConversationId) => GET "/tenants/{tenant}/conversations/{conversation}" -> Conversation;
    /// Sends a team member's reply, who holds the conversation from then on.
    reply(tenant: TenantId, conversation: ConversationId) body reply: NewReply, => POST "/tenants/{tenant}/conversations/{conversation}/reply" -> ();
    /// Returns a conversation to the employee.
    hand_back(tenant: TenantId, conversation: ConversationId) => POST "/tenants/{tenant}/conversations/{conversation}/hand-back" -> ();
    /// Replays a turn.
    replay(tenant: TenantId, conversation: ConversationId, turn: TurnId) => GET "/tenants/{tenant}/conversations/{conversation}/turns/{turn}/replay" -> Replay;
    /// Lists the questions that wait for a person.
    questions(tenant: TenantId) => GET "/tenants/{tenant}/questions" -> Page<Question>;
    /// Decides all questions of a kind.
    decide_all(tenant: TenantId) body decision: DecisionForAll, => POST "/tenants/{tenant}/questions" -> Decided;
    /// Decides a question.
    decide(tenant: TenantId, question: &str) body decision: Decision, => POST "/tenants/{tenant}/questions/{question}" -> ();
    /// Returns the progress of a tenant's index.
    memory(tenant: TenantId) => GET "/tenants/{tenant}/memory" -> MemoryStatus;
    /// Lists the questions without an answer in the documents.
    unanswered(tenant: TenantId) => GET "/tenants/{tenant}/unanswered" -> Vec<Unanswered>;
    /// Lists the facts about a conversation's channel, or about its one person.
    facts(tenant: TenantId, conversation: ConversationId) => GET "/tenants/{tenant}/conversations/{conversation}/facts" -> Vec<Fact>;
    /// Returns what is spent under the caps in the current periods.
    budgets(tenant: TenantId) => GET "/tenants/{tenant}/budgets" -> Budgets;
    /// Raises a cap of the employee, and answers the questions that it had no money for.
    raise_cap(tenant: TenantId) body cap: RaisedCap, => POST "/tenants/{tenant}/caps" -> Cap;
    /// Sums what a tenant spent, by `day`, `kind`, `model`, `conversation`, `connection` or `person`.
    spend(tenant: TenantId, by: &str) => GET "/tenants/{tenant}/spend?by={by}" -> Spend;
    /// Lists a tenant's API tokens.
    tokens(tenant: TenantId) => GET "/tenants/{tenant}/tokens" -> Page<ApiToken>;
    /// Creates an API token, which is shown this once.
    add_token(tenant: TenantId) body new: NewApiToken, => POST "/tenants/{tenant}/tokens" -> IssuedApiToken;
    /// Revokes an API token.
    revoke_token(tenant: TenantId, token: &str) => DELETE "/tenants/{tenant}/tokens/{token}" -> ();
    /// Lists a tenant's members.
    members(tenant: TenantId) => GET "/tenants/{tenant}/members" -> Page<Member>;
    /// Removes a member.
    remove_member(tenant: TenantId, member: MemberId) => DELETE "/tenants/{tenant}/members/{member}" -> ();
    /// Lists a tenant's open invitations.
    invitations(tenant: TenantId) => GET "/tenants/{tenant}/invitations" -> Page<Invitation>;
    /// Invites the owner of an e-mail address.
    invite(tenant: TenantId) body new: NewInvitation, => POST "/tenants/{tenant}/invitations" -> IssuedInvitation;
    /// Revokes an invitation.
    revoke_invitation(tenant: TenantId, invitation: &str) => DELETE "/tenants/{tenant}/invitations/{invitation}" -> ();
    /// Returns who is signed in.
    account() => GET "/account" -> Account;
    /// Lists where the caller is signed in.
    sessions() => GET "/account/sessions" -> Vec<Session>;
    /// Ends a session of the caller.
    end_session(session: &str) => DELETE "/account/sessions/{session}" -> ();
    /// Creates a link that signs the operator in once, or with which a person sets a new password.
    add_sign_in_link() body new: NewSignInLink, => POST "/sign-in-links" -> SignInLink;
    /// Lists the newest entries of a tenant's audit log.
    audit(tenant: TenantId) => GET "/tenants/{tenant}/audit" -> Page<AuditEntry>;
    /// Checks the hashes of a tenant's audit log.
    verify_audit(tenant: TenantId) => GET "/tenants/{tenant}/audit/verification" -> AuditVerification;
    /// Lists the newest entries of the operator's audit log.
    operator_audit() => GET "/audit" -> Page<AuditEntry>;
    /// Checks the hashes of the operator's audit log.
    verify_operator_audit() => GET "/audit/verification" -> AuditVerification;
    /// Erases a message, a conversation or a person.
    erase(tenant: TenantId) body what: NewErasure, => POST "/tenants/{tenant}/erasures" -> Erasure;
}

impl Client {
    /// Changes a tenant's employee from a version to the next.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the employee has another version by now, and the other errors that the server reports.
    pub async fn change_employee(
        &self,
        tenant: TenantId,
        version: u32,
        new: &EmployeeSettings,
    ) -> Result<Employee> {
        let path = format!("/tenants/{tenant}/employee");
        self.replace(path, Some(version), new).await
    }

    /// Adds a tenant's own model, or replaces the one with this name and version.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the model has another version, or exists already, and the other errors that the server reports.
    pub async fn put_model(
        &self,
        tenant: TenantId,
        name: &str,
        version: Option<u32>,
        new: &NewOwnModel,
    ) -> Result<OwnModel> {
        let path = format!("/tenants/{tenant}/models/{name}");
        self.replace(path, version, new).await
    }

    /// Changes the role of a member with this version.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the member has another version or is the last owner, and the other errors that the server reports.
    pub async fn change_member(
        &self,
        tenant: TenantId,
        member: MemberId,
        version: u32,
        role: Role,
    ) -> Result<Member> {
        let path = format!("/tenants/{tenant}/members/{member}");
        self.replace(path, Some(version), &MemberRole { role })
            .await
    }

    /// Returns a copy of the embedded store as a response, whose body must be read to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on PostgreSQL, and the other errors that the server reports.
    pub async fn back_up(&self) -> Result<http::Response> {
        let request = self.request(Method::GET, "/backup".into())?;
        let response = request.send().await.map_err(unreachable)?;
        if response.is_success() {
            Ok(response)
        } else {
            Err(refusal(response).await)
        }
    }

    /// Lists the tenants, page by page.
    ///
    /// # Errors
    /// The error that the server reports, or [`ErrorKind::Unavailable`].
    pub async fn tenants(&self, after: Option<&str>) -> Result<Page<Tenant>> {
        self.get(format!(
            "/tenants?limit=200&after={}",
            after.unwrap_or_default()
        ))
        .await
    }

    /// Lists a tenant's conversations, page by page.
    ///
    /// # Errors
    /// The error that the server reports, or [`ErrorKind::Unavailable`].
    pub async fn conversations(
        &self,
        tenant: TenantId,
        after: Option<&str>,
    ) -> Result<Page<ConversationSummary>> {
        self.get(format!(
            "/tenants/{tenant}/conversations?limit=200&after={}",
            after.unwrap_or_default()
        ))
        .await
    }
}
