//! `/tenants/{tenant}/spend` and `/tenants/{tenant}/ledger.csv`: what was paid for, and the rows that say so.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::Response,
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use konstruct_admin_api::{Spend, SpendGroup};
use konstruct_core::{
    Clock as _, ConversationId, Result, SystemClock, TenantId, Timestamp,
    money::{Basis, LedgerRow},
    store::LedgerQuery,
};
use serde::Deserialize;

use super::{Caller, Problem, export::streamed, memory::person_of, name_of};
use crate::App;

/// The number of rows that are read at a time.
const PAGE: usize = 500;
/// The most groups of an answer. The rest is one group.
const GROUPS: usize = 1_000;
/// Rows are written in the order in which calls end, by the clocks of several processes: a row may be this much older than the one
/// before it.
const SKEW: std::time::Duration = std::time::Duration::from_secs(60 * 60);
/// The first line of the ledger.
const HEAD: &str = "number,at,kind,conversation,provider,model,input_tokens,output_tokens,cost_nano_usd,basis,call\r\n";
/// The name of the group of everything else.
const REST: &str = "(other)";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tenants/{tenant}/spend", get(spend))
        .route("/tenants/{tenant}/ledger.csv", get(csv))
}

#[derive(Deserialize)]
struct Wanted {
    from: Option<String>,
    to: Option<String>,
    by: Option<String>,
}

/// The rows of a time.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    /// Reads the limits; without them, from the beginning until now.
    fn of(wanted: &Wanted) -> Result<Self, Problem> {
        let at = |field: &str, text: &Option<String>, default| match text.as_deref() {
            None | Some("") => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Problem::field(field, "must be a time, such as 2026-11-01T00:00:00Z")),
        };
        Ok(Self {
            from: at("from", &wanted.from, Timestamp::from_micros(0))?,
            to: at("to", &wanted.to, SystemClock.now())?,
        })
    }

    fn has(&self, row: &LedgerRow) -> bool {
        self.from <= row.at && row.at < self.to
    }
}

/// Reads a tenant's rows of a time, page by page.
struct Rows {
    app: Arc<App>,
    tenant: TenantId,
    span: Span,
    after: u64,
    /// Whether all rows of the time were read.
    done: bool,
}

impl Rows {
    async fn new(app: Arc<App>, tenant: TenantId, span: Span) -> Result<Self> {
        let mut rows = Self {
            app,
            tenant,
            span,
            after: 0,
            done: false,
        };
        rows.after = rows.before(span.from).await?;
        Ok(rows)
    }

    async fn page(&self, after: u64, limit: usize) -> Result<Vec<(u64, LedgerRow)>> {
        // The sums of a month are not wanted.
        let query = LedgerQuery::new("1970-01").after(after).limit(limit);
        Ok(self.app.journal.ledger(self.tenant, query).await?.rows)
    }

    /// Returns a number before that of all rows since a time, by a search that doubles its steps and then halves them.
    async fn before(&self, from: Timestamp) -> Result<u64> {
        let early = async |after: u64| {
            let row = self.page(after, 1).await?.pop();
            Result::Ok(row.is_some_and(|(_, row)| row.at + SKEW < from))
        };
        let (mut low, mut step) = (0, 1);
        while early(low + step).await? {
            low += step;
            step *= 2;
        }
        while step > 1 {
            step /= 2;
            if early(low + step).await? {
                low += step;
            }
        }
        Ok(low)
    }

    /// Returns the next rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<(u64, LedgerRow)>>> {
        if self.done {
            return Ok(None);
        }
        let mut page = self.page(self.after, PAGE).await?;
        let Some((last, newest)) = page.last() else {
            return Ok(None);
        };
        self.after = *last;
        self.done = newest.at >= self.span.to + SKEW;
        page.retain(|(_, row)| self.span.has(row));
        Ok(Some(page))
    }
}

/// What the rows are summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Day,
    Kind,
    Model,
    Conversation,
    Connection,
    Person,
}

impl By {
    fn read(text: Option<&str>) -> Result<Self, Problem> {
        Ok(match text {
            None | Some("" | "day") => Self::Day,
            Some("kind") => Self::Kind,
            Some("model") => Self::Model,
            Some("conversation") => Self::Conversation,
            Some("connection") => Self::Connection,
            Some("person") => Self::Person,
            Some(_) => {
                let problem =
                    "must be `day`, `kind`, `model`, `conversation`, `connection` or `person`";
                return Err(Problem::field("by", problem));
            }
        })
    }
}

async fn spend(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Spend>, Problem> {
    let (span, by) = (Span::of(&wanted)?, By::read(wanted.by.as_deref())?);
    let mut rows = Rows::new(Arc::clone(&app), tenant, span).await?;
    let mut sums: BTreeMap<String, SpendGroup> = BTreeMap::new();
    let mut names: HashMap<ConversationId, String> = HashMap::new();
    while let Some(page) = rows.next().await? {
        for (_, row) in page {
            let name = match (by, row.conversation) {
                (By::Day, _) => row.at.to_string().chars().take(10).collect(),
                (By::Kind, _) => name_of(&row.kind).unwrap_or_default(),
                (By::Model, _) => format!("{}/{}", row.provider, row.model),
                (_, None) => REST.to_owned(),
                (By::Conversation, Some(conversation)) => conversation.to_string(),
                (by, Some(conversation)) => match names.get(&conversation) {
                    Some(known) => known.clone(),
                    None => {
                        let name = owner(&app, tenant, conversation, by).await?;
                        if names.len() < 10 * GROUPS {
                            names.insert(conversation, name.clone());
                        }
                        name
                    }
                },
            };
            let full = sums.len() >= GROUPS && !sums.contains_key(&name);
            let name = if full { REST.to_owned() } else { name };
            let sum = sums.entry(name).or_insert_with_key(|name| SpendGroup {
                name: name.clone(),
                ..SpendGroup::default()
            });
            add(sum, &row);
        }
    }
    let mut groups: Vec<SpendGroup> = sums.into_values().collect();
    if by != By::Day {
        groups.sort_by_key(|group| std::cmp::Reverse(group.nano_usd));
    }
    Ok(Json(Spend { groups }))
}

fn add(sum: &mut SpendGroup, row: &LedgerRow) {
    sum.calls += 1;
    sum.input_tokens += row.usage.all_input();
    sum.output_tokens += row.usage.all_output();
    match row.cost {
        Some(cost) => sum.nano_usd = sum.nano_usd.saturating_add(cost.0),
        None => sum.without_price += 1,
    }
    if row.basis == Basis::WorstCase {
        sum.at_worst_case += 1;
    }
}

/// Returns the connection of a conversation, or its person if it has one.
async fn owner(
    app: &App,
    tenant: TenantId,
    conversation: ConversationId,
    by: By,
) -> Result<String> {
    if by == By::Connection {
        let known = app.journal.conversation(tenant, conversation).await?;
        return Ok(known.map_or_else(|| REST.to_owned(), |it| it.connection.to_string()));
    }
    let person = person_of(app, tenant, conversation).await?;
    Ok(person.map_or_else(|| REST.to_owned(), |person| person.to_string()))
}

async fn csv(
    State(app): State<Arc<App>>,
    Caller { tenant, .. }: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let rows = Rows::new(app, tenant, Span::of(&wanted)?).await?;
    let lines = stream::try_unfold(rows, async |mut rows| {
        let page = rows.next().await?;
        Result::Ok(page.map(|page| {
            let lines: String = page
                .iter()
                .map(|(number, row)| line(*number, row))
                .collect();
            (Bytes::from(lines), rows)
        }))
    });
    let head = stream::iter([Ok(Bytes::from_static(HEAD.as_bytes()))]);
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"ledger.csv\""),
    ];
    Ok(streamed(headers, head.chain(lines)))
}

fn line(number: u64, row: &LedgerRow) -> String {
    let cells = [
        number.to_string(),
        row.at.to_string(),
        name_of(&row.kind).unwrap_or_default(),
        row.conversation
            .map(|id| id.to_string())
            .unwrap_or_default(),
        row.provider.clone(),
        row.model.clone(),
        row.usage.all_input().to_string(),
        row.usage.all_output().to_string(),
        row.cost.map(|cost| cost.0.to_string()).unwrap_or_default(),
        name_of(&row.basis).unwrap_or_default(),
        row.call.clone(),
    ];
    cells.map(|cell| shielded(&cell)).join(",") + "\r\n"
}

/// Quotes a cell. A spreadsheet must not take it for a formula.
fn shielded(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let cell = format!("{}{cell}", if formula { "'" } else { "" });
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (cell, expected) in [
            ("", ""),
            ("gpt-5", "gpt-5"),
            ("=1+1", "'=1+1"),
            ("@sum", "'@sum"),
            ("-2", "'-2"),
            ("a,b", "\"a,b\""),
            ("=\"x\"", "\"'=\"\"x\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("\n=1+1", "\"'\n=1+1\""),
        ] {
            assert_eq!(shielded(cell), expected, "{cell}");
        }
    }
}
