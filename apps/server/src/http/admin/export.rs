//! `/tenants/{tenant}/export` and `/tenants/{tenant}/persons/{person}/export`: data to take away, as JSON lines.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderName, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use konstruct_admin_api::PersonalData;
use konstruct_core::{
    Audience, ConversationId, Error, PersonId, Result, TenantId,
    memory::Facts,
    store::Stored,
    turn::{Entry, Event},
};
use serde::Serialize;

use super::{Caller, Problem, attachment, conversation::message_of, input::id};
use crate::App;

/// The number of conversations and of records that are read at a time.
const PAGE: usize = 200;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/export", get(tenant))
        .route("/tenants/{tenant}/persons/{person}/export", get(person))
}

async fn tenant(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
) -> Result<Response, Problem> {
    let employee = app.directory.employee(tenant, None).await?;
    let employee = employee.map(|(_, employee)| serde_json::json!({ "employee": employee }));
    let members = app.directory.members(tenant).await?.into_iter();
    let members = members.map(|member| serde_json::json!({ "member": member.shown() }));
    let log = app.journal.export(tenant).await?;
    let memory = app.memory.export_memory(tenant).await?;
    let directory = employee.into_iter().chain(members);
    let directory: Vec<_> = directory.map(|item| line(&item)).collect();
    let lines = stream::iter(directory)
        .chain(log.map(|item| line(&item?)))
        .chain(memory.map(|item| line(&item?)));
    Ok(answer(lines))
}

async fn person(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Path((_, person)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let person: PersonId = id(&person, "person")?;
    let page = app
        .journal
        .conversations_of(tenant, person, None, 1)
        .await?;
    if page.is_empty() {
        return Err(Error::not_found("person").into());
    }
    let facts = app.memory.facts(
        tenant,
        Facts {
            audience: Audience::Person { person },
            about: None,
            as_of: None,
        },
    );
    let facts = facts.await?.into_iter().map(|fact| {
        line(&PersonalData::Fact {
            text: fact.text,
            valid_from: fact.valid_from.to_string(),
        })
    });
    let walk = Walk {
        app,
        tenant,
        person,
        waiting: VecDeque::new(),
        last: None,
        open: None,
    };
    let said = stream::try_unfold(walk, async |mut walk| {
        let page = walk.next().await?;
        Result::Ok(page.map(|lines| (stream::iter(lines), walk)))
    });
    Ok(answer(said.try_flatten().chain(stream::iter(facts))))
}

/// Reads the conversations of a person, one after the other.
struct Walk {
    app: Arc<App>,
    tenant: TenantId,
    person: PersonId,
    waiting: VecDeque<ConversationId>,
    /// The last conversation that was listed.
    last: Option<ConversationId>,
    /// The conversation that is being read, and its next record.
    open: Option<(ConversationId, u64)>,
}

impl Walk {
    /// Returns the next lines; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Result<Bytes>>>> {
        let (journal, tenant) = (&self.app.journal, self.tenant);
        loop {
            let Some((conversation, next)) = self.open.take() else {
                if self.waiting.is_empty() {
                    let page = journal.conversations_of(tenant, self.person, self.last, PAGE);
                    self.waiting = page.await?.into();
                    self.last = self.waiting.back().copied();
                }
                let Some(conversation) = self.waiting.pop_front() else {
                    return Ok(None);
                };
                self.open = Some((conversation, 0));
                continue;
            };
            let range = next..next + PAGE as u64;
            let page = journal.read(tenant, conversation, range.clone()).await?;
            if page.is_empty() {
                continue;
            }
            self.open = Some((conversation, range.end));
            let said = page
                .iter()
                .flat_map(|stored| self.said(conversation, stored));
            return Ok(Some(said.map(|said| line(&said)).collect()));
        }
    }

    /// Returns what a record says of the person's: their own words, and what the employee wrote with them in view.
    fn said(&self, conversation: ConversationId, stored: &Stored) -> Vec<PersonalData> {
        let Some(record) = stored.record.as_deref() else {
            return Vec::new();
        };
        let message = |from: &str, text: String| PersonalData::Message {
            conversation,
            record: stored.index,
            at: record.at.to_string(),
            from: from.into(),
            text,
        };
        let in_view = record.persons.contains(&self.person);
        match &record.entry {
            Entry::Event(Event::Received(input)) if input.persons.contains(&self.person) => {
                let said = message_of(input).map(|said| message("person", said.text));
                said.into_iter().collect()
            }
            Entry::Event(Event::AttachmentRead { content, .. }) if in_view => {
                vec![message("person", attachment::shown(content))]
            }
            Entry::Event(Event::Rendered { parts, .. }) if in_view => {
                let parts = parts.iter();
                parts
                    .map(|part| message("employee", part.what.text.clone()))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

fn line(value: &impl Serialize) -> Result<Bytes> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Error::internal("could not serialize a line").with_source(error))?;
    line.push(b'\n');
    Ok(line.into())
}

fn answer(lines: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Response {
    streamed([(CONTENT_TYPE, "application/jsonl")], lines)
}

/// Streams an answer. If a part fails, the connection is closed before the end of the answer, which the client sees.
pub(super) fn streamed<const N: usize>(
    headers: [(HeaderName, &'static str); N],
    parts: impl Stream<Item = Result<Bytes>> + Send + 'static,
) -> Response {
    let parts = parts.inspect_err(|error| tracing::error!(%error, "an export was cut off"));
    (headers, Body::from_stream(parts)).into_response()
}
