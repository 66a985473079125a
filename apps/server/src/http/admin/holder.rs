//! `/tenants/{tenant}/conversations/{conversation}/reply` and `/hand-back`: who answers in a conversation.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use konstruct_admin_api::NewReply;
use konstruct_core::{
    Clock as _, ConversationId, ConversationRef, Error, Inbound, SystemClock, message::RoutedEvent,
};

use super::{Caller, Input, Problem, input::id};
use crate::App;

/// The most characters of a reply and of its id.
const LONGEST_REPLY: usize = 20_000;
const LONGEST_ID: usize = 200;

pub(super) fn routes() -> Router<Arc<App>> {
    let conversation = "/tenants/{tenant}/conversations/{conversation}";
    Router::new()
        .route(&format!("{conversation}/reply"), post(reply))
        .route(&format!("{conversation}/hand-back"), post(hand_back))
}

async fn reply(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((_, conversation)): Path<(String, String)>,
    Input(new): Input<NewReply>,
) -> Result<StatusCode, Problem> {
    let conversation = id(&conversation, "conversation")?;
    let text = new.text.trim();
    if !(1..=LONGEST_REPLY).contains(&text.chars().count()) {
        let problem = format!("must be 1 to {LONGEST_REPLY} characters");
        return Err(Problem::field("text", &problem));
    }
    let id = new.id.as_deref();
    if id.is_some_and(|id| !(1..=LONGEST_ID).contains(&id.chars().count())) {
        let problem = format!("must be 1 to {LONGEST_ID} characters");
        return Err(Problem::field("id", &problem));
    }
    accept(&app, &caller, conversation, |place| {
        let reply = Inbound::team_reply(place, text, SystemClock.now());
        match id {
            Some(id) => reply.with_id(format!("reply.{id}")),
            None => reply,
        }
    })
    .await?;
    // The core closes its own open questions. Those that the employee passed on are kept here.
    let tenant = caller.tenant;
    for question in app.directory.passed_on(tenant).await? {
        if question.conversation == conversation {
            app.directory.close_passed_on(tenant, &question.key).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn hand_back(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((_, conversation)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let conversation = id(&conversation, "conversation")?;
    let event = |place| Inbound::handed_back(place, SystemClock.now());
    accept(&app, &caller, conversation, event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accepts an event in an existing conversation.
async fn accept(
    app: &App,
    caller: &Caller,
    conversation: ConversationId,
    event: impl FnOnce(ConversationRef) -> Inbound,
) -> Result<(), Problem> {
    let tenant = caller.tenant;
    let known = app.journal.conversation(tenant, conversation).await?;
    let known = known.ok_or_else(|| Error::not_found("conversation"))?;
    // The place of a direct conversation is erased with its person.
    let place = known
        .place
        .ok_or_else(|| Error::not_found("conversation"))?;
    let connection = known.connection;
    let channel = app.directory.connection(tenant, connection).await?;
    let event = caller
        .sends(event(place))
        .on(channel.channel, channel.account);
    let routed = vec![RoutedEvent { connection, event }];
    app.journal.accept(tenant, routed).await?;
    Ok(())
}
