//! `/tenants/{tenant}/questions`: what waits for a person of the business.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use konstruct_admin_api::{Decision, Page, Question};
use konstruct_core::{
    Actor, Body, Clock as _, ConversationId, Error, Inbound, RoutedEvent, SystemClock, TenantId,
    turn::{Action, ConversationSummary, Entry, OpenReason, OpenSend},
};

use super::{
    Problem,
    input::{InTenant, Input, Paging, page},
};
use crate::{App, directory::PassedOn};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/questions", get(list))
        .route("/tenants/{tenant}/questions/{question}", post(decide))
}

async fn list(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    paging: Paging,
) -> Result<Json<Page<Question>>, Problem> {
    app.directory.tenant(tenant).await?;
    let mut questions: Vec<Question> = app
        .directory
        .passed_on(tenant)
        .await?
        .into_iter()
        .map(passed_on)
        .collect();
    for (summary, open) in open_sends(&app, tenant).await? {
        questions.push(open_send(summary.id, open));
    }
    questions.sort_by(|a, b| a.key.cmp(&b.key));
    page(questions, &paging, |question| question.key.clone()).map(Json)
}

async fn decide(
    State(app): State<Arc<App>>,
    InTenant(tenant): InTenant,
    Path((_, key)): Path<(String, String)>,
    Input(decision): Input<Decision>,
) -> Result<StatusCode, Problem> {
    app.directory.tenant(tenant).await?;
    let sends = open_sends(&app, tenant).await?;
    let Some((summary, open)) = sends.into_iter().find(|(_, open)| open.key == key) else {
        if decision.decision != "done"
            && app
                .directory
                .passed_on(tenant)
                .await?
                .iter()
                .any(|question| question.key == key)
        {
            return Err(Problem::field("decision", "must be `done`"));
        }
        let closed = app.directory.close_passed_on(tenant, &key).await?;
        return if closed {
            Ok(StatusCode::NO_CONTENT)
        } else {
            Err(Error::not_found("question").into())
        };
    };
    let question = open_send(summary.id, open);
    if !question.choices.contains(&decision.decision) {
        return Err(Problem::field(
            "decision",
            &format!("must be one of `{}`", question.choices.join("`, `")),
        ));
    }
    let decided = match decision.decision.as_str() {
        "arrived" => konstruct_core::Decision::Arrived,
        "resend" => konstruct_core::Decision::Resend,
        _ => konstruct_core::Decision::Drop,
    };
    let channel = app.directory.connection(tenant, summary.connection).await?;
    let event = Inbound {
        // A second decision about the same question is the same event: the first one counts.
        id: format!("decision.{key}"),
        logical_id: String::new(),
        channel: channel.channel,
        account: channel.account,
        conversation: Some(summary.place),
        sender: Actor::default(),
        occurred_at: SystemClock.now(),
        redelivery: 0,
        body: Body::Decision {
            key,
            decision: decided,
        },
        addressed: Default::default(),
        raw: None,
    };
    app.journal
        .accept(
            tenant,
            vec![RoutedEvent {
                connection: summary.connection,
                event,
            }],
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Finds the sends that are open: the last carry of every conversation knows those of its own.
async fn open_sends(
    app: &App,
    tenant: TenantId,
) -> Result<Vec<(ConversationSummary, OpenSend)>, Problem> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let conversations = app.journal.conversations(tenant, after, 200).await?;
        let Some(last) = conversations.last() else {
            return Ok(found);
        };
        after = Some(last.id);
        for summary in conversations {
            for open in open_in(app, tenant, &summary).await? {
                found.push((summary.clone(), open));
            }
        }
    }
}

/// Reads the last carry of a conversation, from the end of its log backwards.
async fn open_in(
    app: &App,
    tenant: TenantId,
    summary: &ConversationSummary,
) -> Result<Vec<OpenSend>, Problem> {
    let mut to = summary.len;
    while to > 0 {
        let page = app
            .journal
            .read(tenant, summary.id, to.saturating_sub(16)..to)
            .await?;
        for stored in page.into_iter().rev() {
            if let Some(Entry::Action(Action::Finish { carry, .. })) =
                stored.record.map(|record| record.entry)
            {
                return Ok(carry.open);
            }
        }
        to = to.saturating_sub(16);
    }
    Ok(Vec::new())
}

fn passed_on(question: PassedOn) -> Question {
    Question {
        key: question.key,
        kind: "passed_on".into(),
        conversation: question.conversation,
        text: question.question,
        since: question.at.to_string(),
        choices: vec!["done".into()],
    }
}

fn open_send(conversation: ConversationId, open: OpenSend) -> Question {
    let (kind, choices): (_, &[&str]) = match open.reason {
        OpenReason::Unresolved => ("unresolved", &["arrived", "resend", "drop"]),
        OpenReason::NotDelivered => ("not_delivered", &["drop"]),
        _ => ("failed", &["resend", "drop"]),
    };
    let text = open
        .parts
        .iter()
        .map(|part| part.text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    Question {
        key: open.key,
        kind: kind.into(),
        conversation,
        text,
        since: open.since.to_string(),
        choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
    }
}
