//! Ids in paths and pages of lists, with errors that name the field.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use konstruct_core::{Error, TenantId};
use serde::Deserialize;

use super::Problem;

/// The maximum and the default number of items on a page.
const LARGEST_PAGE: usize = 200;
const DEFAULT_PAGE: usize = 50;

/// Parses an id in a path. An invalid id is reported like a missing one.
pub(super) fn id<T: FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Error::not_found(what).into())
}

/// The tenant in a path.
pub(super) struct InTenant(pub(super) TenantId);

impl<S: Send + Sync> FromRequestParts<S> for InTenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let pairs = path
            .map_err(|_| Problem::from(Error::not_found("tenant")))?
            .0;
        let tenant = pairs
            .iter()
            .find(|(name, _)| name == "tenant")
            .map_or("", |(_, value)| value);
        id(tenant, "tenant").map(Self)
    }
}

/// The requested page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    limit: Option<String>,
    after: Option<String>,
}

impl Paging {
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        match self.limit.as_deref() {
            None | Some("") => Ok(DEFAULT_PAGE),
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
                .ok_or_else(|| Problem::field("limit", "must be 1 to 200")),
        }
    }

    pub(super) fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        match self.after.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Problem::field("after", "must be the `next` of a previous page")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        query
            .map(|query| query.0)
            .map_err(|_| Problem::field("limit", "the query string is not valid"))
    }
}

/// Cuts a sorted list to one page.
pub(super) fn page<T>(
    items: Vec<T>,
    paging: &Paging,
    key: impl Fn(&T) -> String,
) -> Result<konstruct_admin_api::Page<T>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after::<String>()?);
    let mut items: Vec<T> = items
        .into_iter()
        .skip_while(|item| after.as_ref().is_some_and(|after| key(item) <= *after))
        .collect();
    let next = (items.len() > limit).then(|| key(&items[limit - 1]));
    items.truncate(limit);
    Ok(konstruct_admin_api::Page { items, next })
}
