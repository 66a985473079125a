//! `/tenants/{tenant}/conversations/{conversation}`: the log, presented as turns.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use konstruct_admin_api::{Conversation, Holder, Message, Replay, Turn};
use konstruct_core::{
    Clock as _, ConversationId, Error, PersonId, SystemClock, TenantId, Timestamp, TurnId,
    message::{ActorKind, Body, DeliveryState},
    store::Stored,
    turn::{self, Action, ConversationState, Entry, Event, Input, Outcome, Record, SilenceReason},
};

use super::{Caller, Problem, attachment, input::id};
use crate::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/conversations/{conversation}", get(read))
        .route(
            "/tenants/{tenant}/conversations/{conversation}/turns/{turn}/replay",
            get(replay),
        )
}

async fn read(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, conversation)): Path<(String, String)>,
) -> Result<Json<Conversation>, Problem> {
    let conversation = id(&conversation, "conversation")?;
    let stored = stored(&app, tenant, conversation).await?;
    let delivered: HashMap<String, DeliveryState> = stored
        .iter()
        .filter_map(|stored| match &stored.record.as_ref()?.entry {
            Entry::Action(Action::Send { key, .. }) => Some((key.clone(), stored.delivery?)),
            _ => None,
        })
        .collect();
    let records: Vec<Record> = stored
        .into_iter()
        .filter_map(|stored| stored.record.map(Arc::unwrap_or_clone))
        .collect();
    let turns = turns(&records)
        .map(|turn| shown(turn, &delivered))
        .collect();
    let held_until = held_until(&app, tenant, &records).await?;
    Ok(Json(Conversation {
        id: conversation,
        persons: persons(&records),
        holder: match held_until {
            Some(_) => Holder::Team,
            None => Holder::Employee,
        },
        held_until: held_until.map(|at| at.to_string()),
        turns,
    }))
}

/// Returns until when a team member holds a conversation.
async fn held_until(
    app: &App,
    tenant: TenantId,
    records: &[Record],
) -> Result<Option<Timestamp>, Problem> {
    let mut state = ConversationState::default();
    for record in records {
        match &record.entry {
            Entry::Event(Event::Started(started)) => state = started.state.clone(),
            Entry::Event(Event::Received(input)) => {
                state.pass(&input.event, input.accepted_at);
            }
            _ => {}
        }
    }
    let employee = app.directory.employee(tenant, None).await?;
    let until = employee.and_then(|(_, employee)| state.held_until(&employee));
    Ok(until.filter(|until| SystemClock.now() < *until))
}

/// Returns the people who sent messages.
fn persons(records: &[Record]) -> Vec<PersonId> {
    let inputs = records.iter().filter_map(|record| match &record.entry {
        Entry::Event(Event::Received(input)) => Some(input),
        _ => None,
    });
    let humans = inputs.filter(|input| input.event.sender.kind == ActorKind::Human);
    let persons: BTreeSet<PersonId> = humans.flat_map(|input| input.persons.clone()).collect();
    persons.into_iter().collect()
}

async fn replay(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, conversation, turn)): Path<(String, String, String)>,
) -> Result<Json<Replay>, Problem> {
    let (conversation, turn): (ConversationId, TurnId) =
        (id(&conversation, "conversation")?, id(&turn, "turn")?);
    let mut records = records(&app, tenant, conversation).await?;
    records.retain(|record| record.turn == turn);
    let version = match records.first().map(|record| &record.entry) {
        Some(Entry::Event(Event::Started(started))) => started.employee,
        _ => return Err(Error::not_found("turn").into()),
    };
    let found = app.directory.employee(tenant, Some(version)).await?;
    let (_, employee) = found.ok_or_else(|| Error::not_found("employee"))?;
    Ok(Json(match turn::replay(&employee, &records)? {
        turn::Replay::Same { actions } => Replay {
            same: true,
            actions,
            difference: None,
        },
        turn::Replay::Differs {
            at,
            recorded,
            decided,
        } => Replay {
            same: false,
            actions: at,
            difference: Some((recorded, decided)),
        },
        _ => Replay {
            same: false,
            actions: 0,
            difference: None,
        },
    }))
}

/// Returns a conversation's log. An empty log means that the conversation does not exist.
pub(super) async fn records(
    app: &App,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Vec<Record>, Problem> {
    let stored = stored(app, tenant, conversation).await?;
    Ok(stored
        .into_iter()
        .filter_map(|stored| stored.record.map(Arc::unwrap_or_clone))
        .collect())
}

async fn stored(
    app: &App,
    tenant: TenantId,
    conversation: ConversationId,
) -> Result<Vec<Stored>, Problem> {
    let stored = app.journal.read(tenant, conversation, 0..u64::MAX).await?;
    if stored.is_empty() {
        return Err(Error::not_found("conversation").into());
    }
    Ok(stored)
}

/// Splits a log into its turns.
fn turns(records: &[Record]) -> impl Iterator<Item = &[Record]> {
    records.chunk_by(|one, next| one.turn == next.turn)
}

fn shown(records: &[Record], delivered: &HashMap<String, DeliveryState>) -> Turn {
    let mut turn = Turn {
        id: records[0].turn,
        started_at: records[0].at.to_string(),
        employee_version: 0,
        outcome: "open".into(),
        messages: Vec::new(),
        records: records.len() as u64,
    };
    let mut keys: Vec<(String, usize)> = Vec::new();
    let (mut sender, mut name) = ("employee", None);
    for record in records {
        match &record.entry {
            Entry::Event(Event::Started(started)) => {
                turn.employee_version = started.employee;
            }
            Entry::Event(Event::Received(input)) => {
                if input.is_team_reply() {
                    (sender, name) = ("colleague", input.event.sender.name.clone());
                }
                turn.messages.extend(message_of(input));
            }
            Entry::Event(Event::AttachmentRead { name, content, .. }) => {
                turn.messages.push(Message {
                    from: "person".into(),
                    name: Some(name.clone()).filter(|name| !name.is_empty()),
                    text: attachment::shown(content),
                    choices: None,
                    at: record.at.to_string(),
                    delivery: None,
                });
            }
            Entry::Event(Event::Rendered { parts, .. }) => {
                for part in parts {
                    keys.push((part.key.clone(), turn.messages.len()));
                    turn.messages.push(Message {
                        from: sender.into(),
                        name: name.clone(),
                        text: part.what.text.clone(),
                        choices: part.what.choices.clone(),
                        at: record.at.to_string(),
                        delivery: None,
                    });
                }
            }
            Entry::Event(Event::SendDone { key, .. }) => {
                settle(&keys, key, "sent", &mut turn.messages)
            }
            Entry::Event(Event::SendFailed { key, .. }) => {
                settle(&keys, key, "failed", &mut turn.messages)
            }
            Entry::Event(Event::SendAmbiguous { key }) => {
                settle(&keys, key, "unresolved", &mut turn.messages)
            }
            Entry::Action(Action::Send { key, .. }) => {
                settle(&keys, key, "sending", &mut turn.messages);
            }
            Entry::Action(Action::Finish { outcome, .. }) => {
                turn.outcome = match outcome {
                    Outcome::Replied { .. } => "replied",
                    Outcome::Silent {
                        reason: SilenceReason::Held,
                    } => "held",
                    Outcome::Silent { .. } => "silent",
                    Outcome::Asked { .. } => "asked",
                    _ => "other",
                }
                .into();
            }
            _ => {}
        }
    }
    for (key, at) in &keys {
        let state = match delivered.get(key) {
            Some(DeliveryState::Failed) => "failed",
            Some(DeliveryState::Delivered) => "delivered",
            Some(DeliveryState::Read) => "read",
            _ => continue,
        };
        turn.messages[*at].delivery = Some(state.into());
    }
    turn
}

/// Sets the delivery state of the message with a delivery key.
fn settle(keys: &[(String, usize)], key: &str, state: &str, messages: &mut [Message]) {
    if let Some((_, at)) = keys.iter().rev().find(|(known, _)| known == key) {
        messages[*at].delivery = Some(state.into());
    }
}

pub(super) fn message_of(input: &Input) -> Option<Message> {
    let event = &input.event;
    let text = match &event.body {
        Body::Message { content, .. } | Body::Edited { content, .. } => content.text.clone(),
        Body::Command { name, arguments } => format!("{name} {arguments}"),
        Body::Action { value, .. } => value.clone(),
        _ => return None,
    };
    let from = match event.sender.kind {
        ActorKind::Human => "person",
        ActorKind::Bot => "bot",
        ActorKind::Operator => "colleague",
        _ => return None,
    };
    let name = event
        .sender
        .name
        .clone()
        .or_else(|| event.sender.id().map(str::to_owned));
    Some(Message {
        from: from.into(),
        name,
        text,
        choices: None,
        at: event.occurred_at.to_string(),
        delivery: None,
    })
}
