//! `/tenants/{tenant}/questions`: open items that need a person of the business.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use konstruct_admin_api::{Decided, Decision, DecisionForAll, Page, Question};
use konstruct_core::{
    Clock as _, Error, ErrorKind, Inbound, SystemClock, TenantId,
    message::{Body, RoutedEvent},
    store::{Accepted, ItemEntry},
    turn::{Entry, Event, ItemId, ItemKind, OpenItem, OpenReason, Record},
};

use super::{
    Caller, Input, Problem,
    attachment::shown,
    budget,
    input::{Paging, page},
};
use crate::{App, directory::PassedOn};

/// The maximum number of a question's records that are read to display it.
const LARGEST_QUESTION: u64 = 64;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/questions", get(list).post(decide_all))
        .route("/tenants/{tenant}/questions/{question}", post(decide))
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
) -> Result<Json<Page<Question>>, Problem> {
    let mut questions: Vec<Question> = app
        .directory
        .passed_on(tenant)
        .await?
        .into_iter()
        .map(passed_on)
        .collect();
    questions.extend(budget::reached(&app, tenant).await?);
    // A page of the merged list needs at most one page of the open items.
    let (limit, after) = (paging.limit()?, paging.after::<String>()?.map(ItemId));
    for entry in app.journal.items(tenant, after, limit + 1).await? {
        questions.push(open_item(&app, tenant, entry).await?);
    }
    questions.sort_by(|a, b| a.key.cmp(&b.key));
    page(questions, &paging, |question| question.key.clone()).map(Json)
}

async fn decide(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((_, key)): Path<(String, String)>,
    Input(decision): Input<Decision>,
) -> Result<StatusCode, Problem> {
    let tenant = caller.tenant;
    if budget::decide(&app, &caller, &key, &decision).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let Some(entry) = find(&app, tenant, &key).await? else {
        return decide_passed_on(&app, tenant, &key, &decision).await;
    };
    let (_, choices) = choices(&entry.item);
    check(choices, &decision.decision)?;
    if send_decision(&app, &caller, entry, &decision.decision).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let message = "this question was already decided; list the questions again";
    Err(Error::new(ErrorKind::Conflict, message).into())
}

/// Decides all questions of a kind, for example those that waited too long for a connection.
async fn decide_all(
    State(app): State<Arc<App>>,
    caller: Caller,
    Input(wanted): Input<DecisionForAll>,
) -> Result<Json<Decided>, Problem> {
    let (_, known) = KINDS
        .iter()
        .find(|(kind, _)| *kind == wanted.kind)
        .ok_or_else(|| {
            let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
            Problem::field("kind", &format!("must be one of `{}`", kinds.join("`, `")))
        })?;
    check(known, &wanted.decision)?;
    let (mut after, mut questions) = (None, 0);
    let tenant = caller.tenant;
    loop {
        let page = app.journal.items(tenant, after, 100).await?;
        let Some(last) = page.last() else {
            return Ok(Json(Decided { questions }));
        };
        after = Some(last.item.id.clone());
        for entry in page {
            if choices(&entry.item).0 == wanted.kind
                && send_decision(&app, &caller, entry, &wanted.decision).await?
            {
                questions += 1;
            }
        }
    }
}

fn check(choices: &[&str], decision: &str) -> Result<(), Problem> {
    if choices.contains(&decision) {
        return Ok(());
    }
    let choices = choices.join("`, `");
    Err(Problem::field(
        "decision",
        &format!("must be one of `{choices}`"),
    ))
}

/// Sends a decision to the conversation's worker. Returns whether it is the first one for this item.
pub(super) async fn send_decision(
    app: &App,
    caller: &Caller,
    entry: ItemEntry,
    decision: &str,
) -> Result<bool, Problem> {
    let decided = match decision {
        "arrived" => konstruct_core::message::Decision::Arrived,
        "resend" => konstruct_core::message::Decision::Resend,
        "answer" => konstruct_core::message::Decision::Answer,
        _ => konstruct_core::message::Decision::Drop,
    };
    let ItemEntry { conversation, item } = entry;
    let tenant = caller.tenant;
    let known = app.journal.conversation(tenant, conversation).await?;
    let connection = known
        .ok_or_else(|| Error::not_found("question"))?
        .connection;
    let channel = app.directory.connection(tenant, connection).await?;
    let event = Inbound::decision(conversation, item.id, decided, SystemClock.now());
    let event = caller.sends(event).on(channel.channel, channel.account);
    let routed = vec![RoutedEvent { connection, event }];
    let accepted = app.journal.accept(tenant, routed).await?;
    Ok(matches!(accepted[..], [Accepted::New { .. }]))
}

async fn decide_passed_on(
    app: &App,
    tenant: TenantId,
    key: &str,
    decision: &Decision,
) -> Result<StatusCode, Problem> {
    let passed_on = app.directory.passed_on(tenant).await?;
    if decision.decision != "done" && passed_on.iter().any(|question| question.key == key) {
        return Err(Problem::field("decision", "must be `done`"));
    }
    if app.directory.close_passed_on(tenant, key).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::not_found("question").into())
    }
}

/// Finds an open item: it is the first one after all keys that sort before it.
async fn find(app: &App, tenant: TenantId, key: &str) -> Result<Option<ItemEntry>, Problem> {
    let turn = key.split('.').next().unwrap_or_default();
    let mut after = Some(ItemId(turn.to_owned()));
    loop {
        let page = app.journal.items(tenant, after, 16).await?;
        let Some(last) = page.last().map(|entry| entry.item.id.clone()) else {
            return Ok(None);
        };
        if let Some(found) = page.into_iter().find(|entry| entry.item.id.0 == key) {
            return Ok(Some(found));
        }
        if last.0.as_str() > key {
            return Ok(None);
        }
        after = Some(last);
    }
}

fn passed_on(question: PassedOn) -> Question {
    Question {
        key: question.key,
        kind: "passed_on".into(),
        conversation: Some(question.conversation),
        text: question.question,
        since: Some(question.at.to_string()),
        choices: vec!["done".into()],
    }
}

/// The kinds of open items, and the possible decisions.
const KINDS: [(&str, &[&str]); 6] = [
    ("unresolved", &["arrived", "resend", "drop"]),
    ("not_delivered", &["resend", "drop"]),
    ("failed", &["resend", "drop"]),
    ("unanswered", &["answer", "drop"]),
    ("rest", &["drop"]),
    // A message of the employee that waits until the team hands the conversation back; `resend` sends it now.
    ("held", &["resend", "drop"]),
];

/// Returns the kind of an open item and the possible decisions.
fn choices(item: &OpenItem) -> (&'static str, &'static [&'static str]) {
    KINDS[match &item.kind {
        ItemKind::Send { reason, .. } => match reason {
            OpenReason::Unresolved => 0,
            OpenReason::NotDelivered => 1,
            OpenReason::Held => 5,
            _ => 2,
        },
        ItemKind::Question { .. } => 3,
        _ => 4,
    }]
}

async fn open_item(app: &App, tenant: TenantId, entry: ItemEntry) -> Result<Question, Problem> {
    let ItemEntry { conversation, item } = entry;
    let (kind, choices) = choices(&item);
    let range = item.record..item.record + LARGEST_QUESTION;
    let records = app.journal.read(tenant, conversation, range).await?;
    let records: Vec<Arc<Record>> = records
        .into_iter()
        .filter_map(|stored| stored.record)
        .collect();
    let texts: Vec<String> = match &item.kind {
        ItemKind::Send { keys, .. } => {
            records
                .first()
                .map_or_else(Vec::new, |record| match &record.entry {
                    Entry::Event(Event::Rendered { parts, .. }) => parts
                        .iter()
                        .filter(|part| keys.contains(&part.key))
                        .map(|part| part.what.text.clone())
                        .collect(),
                    _ => Vec::new(),
                })
        }
        _ => {
            let turn = records.first().map(|record| record.turn);
            let own = records
                .iter()
                .take_while(|record| Some(record.turn) == turn);
            own.filter_map(|record| match &record.entry {
                Entry::Event(Event::Received(input)) => match &input.event.body {
                    Body::Message { content, .. } if content.text.is_empty() => None,
                    Body::Message { content, .. } => Some(content.text.clone()),
                    Body::Command { arguments, .. } => Some(arguments.clone()),
                    _ => None,
                },
                Entry::Event(Event::AttachmentRead { content, .. }) => Some(shown(content)),
                _ => None,
            })
            .collect()
        }
    };
    Ok(Question {
        key: item.id.0.clone(),
        kind: kind.into(),
        conversation: Some(conversation),
        text: texts.join("\n"),
        since: Some(item.opened_at.to_string()),
        choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
    })
}
