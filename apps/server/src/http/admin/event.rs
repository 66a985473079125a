//! `/tenants/{tenant}/events`: what happens in the conversations, as it happens.
//!
//! Events contain ids and no words: who may read a conversation reads it by its id. An event's id is its place in the tenant's feed,
//! from which a client resumes with `Last-Event-ID`, as browsers do by themselves.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse as _, Response,
        sse::{Event as Sent, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use konstruct_admin_api::{ActivityKind, ConversationActivity};
use konstruct_core::{
    TenantId,
    store::FeedEntry,
    turn::{Action, Entry, Event},
};
use serde::Deserialize;

use super::{Caller, Problem};
use crate::App;

/// The most streams of a tenant: each reads the feed.
const MOST: usize = 32;
/// After this time a stream ends, so that its client calls again with a token that is still valid.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The number of records that are read at a time.
const PAGE: usize = 100;
const KEPT_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/tenants/{tenant}/events", get(follow))
}

/// The number of open streams of each tenant.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<TenantId, usize>>);

/// One of a tenant's streams.
struct Place {
    app: Arc<App>,
    tenant: TenantId,
}

impl Place {
    fn take(app: Arc<App>, tenant: TenantId) -> Result<Self, Problem> {
        let mut open = app.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(tenant).or_default();
        if *count == MOST {
            let detail = format!("a tenant has at most {MOST} event streams; close one first");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
            return Err(problem.with_retry_after(KEPT_ALIVE));
        }
        *count += 1;
        drop(open);
        Ok(Self { app, tenant })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.app.streams.0;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

#[derive(Deserialize)]
struct From {
    after: Option<String>,
}

async fn follow(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").map(|it| it.to_str().ok());
    let after = match (last, from.after.as_deref()) {
        (Some(last), _) => Some(("Last-Event-ID", last.unwrap_or_default())),
        (None, after) => after.map(|after| ("after", after)),
    };
    let after: u64 = match after {
        Some((field, text)) => text
            .parse()
            .map_err(|_| Problem::field(field, "must be the id of an event"))?,
        None => app.memory.progress(tenant).await?.records,
    };
    let place = Place::take(Arc::clone(&app), tenant)?;
    let records = stream::unfold((place, after), |(place, after)| async move {
        let journal = &place.app.journal;
        match next(&**journal, place.tenant, after).await {
            Ok(page) => {
                let after = page.last().map_or(after, |entry| entry.cursor);
                Some((stream::iter(page), (place, after)))
            }
            Err(error) => {
                // The client calls again, from the last event that it got.
                tracing::warn!(%error, "an event stream ended");
                None
            }
        }
    });
    let mut draining = app.health.subscribe();
    let events = records
        .flatten()
        .filter_map(async |entry| Some(Ok::<_, Infallible>(sent(&entry)?)))
        .take_until(Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(LONGEST) => {}
                _ = draining.wait_for(|draining| *draining) => {}
            }
        }));
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEPT_ALIVE))
        .into_response())
}

/// Waits for records after a cursor.
async fn next(
    journal: &dyn konstruct_core::store::Store,
    tenant: TenantId,
    after: u64,
) -> konstruct_core::Result<Vec<FeedEntry>> {
    loop {
        let page = journal.feed(tenant, after, PAGE).await?;
        if !page.is_empty() {
            return Ok(page);
        }
        journal.watch(tenant, after).await?;
    }
}

fn sent(entry: &FeedEntry) -> Option<Sent> {
    let record = entry.stored.record.as_deref()?;
    let kind = match &record.entry {
        Entry::Event(Event::Received(_)) => ActivityKind::Received,
        Entry::Event(Event::Rendered { .. }) => ActivityKind::Written,
        Entry::Event(Event::SendDone { .. }) => ActivityKind::Sent,
        Entry::Event(Event::SendFailed { .. } | Event::SendAmbiguous { .. }) => {
            ActivityKind::NotSent
        }
        Entry::Action(Action::Finish { .. }) => ActivityKind::Finished,
        _ => return None,
    };
    let activity = ConversationActivity {
        kind,
        conversation: entry.conversation,
        turn: record.turn,
        record: entry.stored.index,
        at: record.at.to_string(),
    };
    let event = Sent::default().id(entry.cursor.to_string());
    event.event("activity").json_data(activity).ok()
}
