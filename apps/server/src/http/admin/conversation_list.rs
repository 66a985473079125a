//! `/tenants/{tenant}/conversations`: the list, with its filters.

use std::{collections::HashSet, fmt, str::FromStr, sync::Arc};

use axum::{
    Json, Router,
    extract::{FromRequestParts, Query, State},
    http::request::Parts,
    routing::get,
};
use konstruct_admin_api::{ConversationSummary, Holder, Page};
use konstruct_core::{
    Clock as _, ConnectionId, ConversationId, Error, PersonId, SystemClock, TenantId, Timestamp,
    store::{self, ConversationCursor},
    turn::ItemKind,
};
use serde::Deserialize;

use super::{Caller, Problem, input::Paging};
use crate::App;

/// The number of conversations, items and ids that are read at a time.
const PAGE: usize = 200;
/// The most conversations that one request looks at. A page may be short, and still have a `next`.
const MOST: usize = 2_000;
/// Up to this number, the conversations that a filter names are read one by one; more are looked for in the list.
const NAMED: usize = 500;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/tenants/{tenant}/conversations", get(list))
}

async fn list(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    paging: Paging,
    query: Filter,
) -> Result<Json<Page<ConversationSummary>>, Problem> {
    let limit = paging.limit()?;
    let after = paging.after::<Cursor>()?.map(|cursor| cursor.0);
    let wanted = Wanted::resolve(&app, tenant, query).await?;
    let (found, next) = wanted.page(&app, tenant, after, limit).await?;
    let items = found.into_iter().map(|summary| {
        let held_since = summary.held_since.filter(|since| wanted.holds(*since));
        ConversationSummary {
            id: summary.id,
            connection: summary.connection,
            place: summary.place.map(|place| place.key()),
            records: summary.len,
            waiting: summary.unconsumed,
            updated_at: summary.updated_at.to_string(),
            holder: match held_since {
                Some(_) => Holder::Team,
                None => Holder::Employee,
            },
            held_since: held_since.map(|since| since.to_string()),
        }
    });
    Ok(Json(Page {
        items: items.collect(),
        next: next.map(|cursor| Cursor(cursor).to_string()),
    }))
}

/// The filters, as they are written in the query string.
#[derive(Debug, Default, Deserialize)]
struct Filter {
    waiting: Option<String>,
    asked: Option<String>,
    open: Option<String>,
    held: Option<String>,
    channel: Option<String>,
    connection: Option<String>,
    person: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Filter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        query
            .map(|query| query.0)
            .map_err(|_| Problem::field("waiting", "the query string is not valid"))
    }
}

/// The conversations that are wanted.
struct Wanted {
    waiting: Option<bool>,
    held: Option<bool>,
    connections: Option<HashSet<ConnectionId>>,
    /// Those with open items, with questions, and of a person.
    named: Vec<(HashSet<ConversationId>, bool)>,
    hold: Option<konstruct_core::employee::TurnLimits>,
    now: Timestamp,
}

impl Wanted {
    async fn resolve(app: &App, tenant: TenantId, query: Filter) -> Result<Self, Problem> {
        let (open, asked) = (flag("open", query.open)?, flag("asked", query.asked)?);
        let mut named = Vec::new();
        if open.is_some() || asked.is_some() {
            let (with_items, with_questions) = open_items(app, tenant).await?;
            named.extend(open.map(|wanted| (with_items, wanted)));
            named.extend(asked.map(|wanted| (with_questions, wanted)));
        }
        if let Some(person) = query.person.filter(|text| !text.is_empty()) {
            let person: PersonId = person
                .parse()
                .map_err(|_| Problem::field("person", "must be a person's id"))?;
            named.push((of_person(app, tenant, person).await?, true));
        }
        let connection = query.connection.filter(|text| !text.is_empty());
        let connection: Option<ConnectionId> = connection
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| Problem::field("connection", "must be a connection's id"))?;
        let mut connections = connection.map(|id| HashSet::from([id]));
        if let Some(channel) = query.channel.filter(|text| !text.is_empty()) {
            let known = app.directory.connections(tenant).await?;
            let of_channel = known
                .into_iter()
                .filter(|known| known.channel.as_str() == channel)
                .map(|known| known.id)
                .filter(|id| connections.as_ref().is_none_or(|only| only.contains(id)));
            connections = Some(of_channel.collect());
        }
        let employee = app.directory.employee(tenant, None).await?;
        Ok(Self {
            waiting: flag("waiting", query.waiting)?,
            held: flag("held", query.held)?,
            connections,
            named,
            hold: employee.map(|(_, employee)| employee.limits),
            now: SystemClock.now(),
        })
    }

    /// Returns whether a team member who wrote at this time still holds the conversation.
    fn holds(&self, since: Timestamp) -> bool {
        let limits = self.hold.as_ref();
        limits.is_some_and(|limits| self.now < limits.held_until(since))
    }

    fn has(&self, summary: &store::ConversationSummary) -> bool {
        let held = summary.held_since.is_some_and(|since| self.holds(since));
        self.waiting
            .is_none_or(|waiting| waiting == (summary.unconsumed > 0))
            && self.held.is_none_or(|wanted| wanted == held)
            && self
                .connections
                .as_ref()
                .is_none_or(|only| only.contains(&summary.connection))
            && self
                .named
                .iter()
                .all(|(named, wanted)| named.contains(&summary.id) == *wanted)
    }

    /// Returns a page, and where the next one begins.
    async fn page(
        &self,
        app: &App,
        tenant: TenantId,
        mut after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<(Vec<store::ConversationSummary>, Option<ConversationCursor>), Problem> {
        let few = self
            .named
            .iter()
            .find(|(named, wanted)| *wanted && named.len() <= NAMED);
        if let Some((few, _)) = few {
            let mut found = Vec::new();
            for id in few {
                found.extend(app.journal.conversation(tenant, *id).await?);
            }
            found.retain(|it| after.is_none_or(|after| it.cursor() < after) && self.has(it));
            found.sort_unstable_by_key(|it| std::cmp::Reverse(it.cursor()));
            let next = (found.len() > limit).then(|| found[limit - 1].cursor());
            found.truncate(limit);
            return Ok((found, next));
        }
        let (mut found, mut looked) = (Vec::new(), 0);
        loop {
            let page = app.journal.list(tenant, after, PAGE).await?;
            looked += page.len();
            let last = page.len() < PAGE;
            for summary in page {
                if found.len() == limit {
                    return Ok((found, after));
                }
                after = Some(summary.cursor());
                if self.has(&summary) {
                    found.push(summary);
                }
            }
            if last {
                return Ok((found, None));
            }
            if looked >= MOST {
                return Ok((found, after));
            }
        }
    }
}

/// Returns the conversations with an open item, and those of them in which a person is asked something.
async fn open_items(
    app: &App,
    tenant: TenantId,
) -> Result<(HashSet<ConversationId>, HashSet<ConversationId>), Problem> {
    let passed_on = app.directory.passed_on(tenant).await?;
    let mut asked: HashSet<_> = passed_on.iter().map(|it| it.conversation).collect();
    let (mut open, mut after) = (asked.clone(), None);
    loop {
        let page = app.journal.items(tenant, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok((open, asked));
        };
        after = Some(last.item.id.clone());
        for entry in page {
            if matches!(entry.item.kind, ItemKind::Question { .. }) {
                asked.insert(entry.conversation);
            }
            open.insert(entry.conversation);
        }
    }
}

async fn of_person(
    app: &App,
    tenant: TenantId,
    person: PersonId,
) -> Result<HashSet<ConversationId>, Problem> {
    let (mut found, mut after) = (HashSet::new(), None);
    loop {
        let page = app
            .journal
            .conversations_of(tenant, person, after, PAGE)
            .await?;
        after = page.last().copied();
        if after.is_none() {
            return Ok(found);
        }
        found.extend(page);
    }
}

fn flag(field: &str, text: Option<String>) -> Result<Option<bool>, Problem> {
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Problem::field(field, "must be `true` or `false`")),
    }
}

/// A position in the list of conversations: the time of its last activity in microseconds, and its id.
struct Cursor(ConversationCursor);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.updated_at.as_micros(), self.0.id)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::invalid("after", "must be the `next` of a previous page");
        let (micros, id) = text.split_once('.').ok_or_else(wrong)?;
        Ok(Self(ConversationCursor {
            updated_at: Timestamp::from_micros(micros.parse().map_err(|_| wrong())?),
            id: id.parse()?,
        }))
    }
}
