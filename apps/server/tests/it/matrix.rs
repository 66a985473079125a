//! The route matrix: another tenant's ids and ids that do not exist, on every route with an id. A benchmark runs it too.

use std::{collections::BTreeMap, error::Error};

use konstruct_admin_api::{
    Client, Conversation, EmployeeSettings, NewApiToken, NewInvitation, NewTenant, NewWebsite, Role,
};
use konstruct_core::{
    ConnectionId, ConversationId, DocumentId, PersonId, Secret, TenantId, TurnId, http,
    id::{MemberId, WebsiteId},
};
use serde_json::{Value, json};

use crate::visitor::Visitor;

/// The answers of a route: the status and the body.
pub(crate) struct Route {
    /// The method and the path.
    pub(crate) name: String,
    /// To another tenant's ids.
    pub(crate) foreign: (u16, String),
    /// To ids that do not exist.
    pub(crate) missing: (u16, String),
}

/// The server under test, and the operator's token.
pub(crate) struct Target<'a> {
    pub(crate) url: &'a str,
    pub(crate) token: &'a str,
}

impl Target<'_> {
    /// Sends a request. Returns the status and the body.
    pub(crate) async fn answer(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<(u16, String), Box<dyn Error + Send + Sync>> {
        let client = http::Client::builder().direct().build();
        let request = client.request(
            method.to_uppercase().parse()?,
            format!("{}{path}", self.url),
        )?;
        let request = request.bearer(&Secret::new(self.token));
        let answer = request.body(body.to_string()).send().await?;
        let status = answer.status();
        let body = answer.body(1 << 20).await?;
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    /// Tries every route with an id as a new tenant, with the ids of the things of `owner`, which has a conversation with a turn, and
    /// with ids of nothing. Returns the new tenant and the answers.
    pub(crate) async fn matrix(
        &self,
        owner: TenantId,
        conversation: &Conversation,
    ) -> Result<(TenantId, Vec<Route>), Box<dyn Error + Send + Sync>> {
        let admin = Client::new(self.url.to_owned(), Secret::new(self.token))?;
        let site = NewWebsite {
            url: "http://127.0.0.1:9".into(),
            every_hours: None,
        };
        let website = admin.add_website(owner, &site).await?;
        let documents = admin.documents(owner).await?.items;
        let connections = admin.connections(owner).await?.items;
        let model = format!("/api/v1/tenants/{owner}/models/m");
        let (status, _) = self.answer("put", &model, &body("/models/{name}")).await?;
        if ![200, 201].contains(&status) {
            return Err(format!("{model}: {status}").into());
        }
        let token = NewApiToken {
            name: "CI".into(),
            role: Role::Viewer,
            expires_in_days: None,
        };
        let token = admin.add_token(owner, &token).await?;
        let mut invitation = NewInvitation {
            email: "mia@example.com".into(),
            role: Role::Owner,
        };
        let link = admin.invite(owner, &invitation).await?.link;
        let mut mia = Visitor::of(self.url);
        mia.join(&link.ok_or("no link")?, "Mia").await?;
        let (_, sessions) = mia.call("get", "/account/sessions", &Value::Null).await?;
        let session = sessions[0]["id"].as_str().ok_or("Mia has no session")?;
        let members = admin.members(owner).await?.items;
        invitation.email = "leo@example.com".into();
        let invited = admin.invite(owner, &invitation).await?.details;
        let other = NewTenant {
            name: "Other".into(),
        };
        let other = admin.add_tenant(&other).await?.id;
        let settings: EmployeeSettings =
            serde_json::from_value(json!({"name": "Bob", "role": "the desk"}))?;
        admin.hire(other, &settings).await?;

        let foreign = BTreeMap::from([
            ("conversation", conversation.id.to_string()),
            ("turn", first(&conversation.turns)?.id.to_string()),
            ("document", first(&documents)?.id.to_string()),
            ("connection", first(&connections)?.id.to_string()),
            ("website", website.id.to_string()),
            ("question", format!("{}/{}", conversation.id, "1")),
            ("name", "m".to_owned()),
            ("token", token.details.id),
            ("member", first(&members)?.id.to_string()),
            ("invitation", invited.id),
            ("session", session.to_owned()),
            ("person", first(&conversation.persons)?.to_string()),
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
            ("member", MemberId::new().to_string()),
            ("invitation", "0123456789abcdef".to_owned()),
            ("session", "0123456789abcdef".to_owned()),
            ("person", PersonId::from_bytes([9; 16]).to_string()),
        ]);
        let mut routes = Vec::new();
        let document = konstruct_admin_api::openapi();
        let paths = document["paths"].as_object().ok_or("no paths")?;
        for (path, methods) in paths {
            let parameters: Vec<&str> = path
                .split(['{', '}'])
                .skip(1)
                .step_by(2)
                .filter(|name| *name != "tenant")
                .collect();
            let methods = methods.as_object().ok_or("no methods")?;
            for method in methods.keys() {
                // A tenant may give its model any name.
                let own = method == "put" && path.ends_with("/models/{name}");
                if parameters.is_empty() || method == "parameters" || own {
                    continue;
                }
                let body = body(path);
                let with = |ids: &BTreeMap<&str, String>| {
                    let mut path = path.replace("{tenant}", &other.to_string());
                    for name in &parameters {
                        let id = ids.get(name).ok_or(format!("{path}: no id for {name}"))?;
                        path = path.replace(&format!("{{{name}}}"), &id.replace('/', "%2F"));
                    }
                    Ok::<_, String>(path)
                };
                routes.push(Route {
                    name: format!("{method} {path}"),
                    foreign: self.answer(method, &with(&foreign)?, &body).await?,
                    missing: self.answer(method, &with(&missing)?, &body).await?,
                });
            }
        }
        Ok((other, routes))
    }
}

fn first<T>(items: &[T]) -> Result<&T, &'static str> {
    items.first().ok_or("the owner has nothing to ask for")
}

/// A body with which each method of a path gets as far as the lookup.
fn body(path: &str) -> Value {
    match path {
        path if path.ends_with("/members/{member}") => json!({"role": "viewer"}),
        path if path.ends_with("/reply") => json!({"text": "hello"}),
        path if path.ends_with("/questions/{question}") => json!({"decision": "drop"}),
        path if path.ends_with("/models/{name}") => {
            json!({"provider": "openai", "model": "gpt", "api_key": "sk-1"})
        }
        _ => json!({}),
    }
}
