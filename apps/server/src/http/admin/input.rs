//! Ids in paths, pages of lists and versions, with errors that name the field.

use std::str::FromStr;

use axum::{
    Json,
    extract::{FromRequestParts, Query},
    http::{
        HeaderValue, StatusCode,
        header::{ETAG, IF_MATCH},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use konstruct_admin_api::Page;
use konstruct_core::Error;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::directory::Replaces;

/// The maximum and the default number of items on a page.
const LARGEST_PAGE: usize = 200;
const DEFAULT_PAGE: usize = 50;

/// Parses an id in a path. An invalid id is reported like a missing one.
pub(super) fn id<T: FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Error::not_found(what).into())
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
            None => Ok(DEFAULT_PAGE),
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
) -> Result<Page<T>, Problem> {
    let (limit, after) = (paging.limit()?, paging.after::<String>()?);
    let items = items
        .into_iter()
        .skip_while(|item| after.as_ref().is_some_and(|after| key(item) <= *after));
    Ok(cut(items.collect(), limit, key))
}

/// Cuts items that begin where a page begins. If there are more than fit, the next page follows the key of the last one.
pub(super) fn cut<T>(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> Page<T> {
    let next = (items.len() > limit).then(|| key(&items[limit - 1]));
    items.truncate(limit);
    Page { items, next }
}

/// A resource with its version, which is its ETag.
pub(super) struct Tagged<T>(pub(super) u32, pub(super) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", self.0)) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Replaces {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(tag) = parts.headers.get(IF_MATCH) else {
            return Ok(Self::Nothing);
        };
        let tag = tag.to_str().unwrap_or_default().trim();
        if tag == "*" {
            return Ok(Self::Anything);
        }
        let version = tag
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"'))
            .and_then(|tag| tag.parse().ok());
        version.map(Self::Version).ok_or_else(|| {
            let detail = "If-Match must be the ETag of the version to replace, or `*`";
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })
    }
}

impl Problem {
    /// Creates the refusal of a change to another version than the one it replaces, with the current value and the given one.
    pub(super) fn stale(
        replaces: Replaces,
        current: &impl Serialize,
        given: &impl Serialize,
    ) -> Self {
        let problem = match replaces {
            Replaces::Nothing => Self::new(
                StatusCode::PRECONDITION_REQUIRED,
                "it exists already; send the ETag of the version to replace as `If-Match`",
            ),
            _ => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "it has another version than the one in `If-Match`; merge `given` into `current`, and send it with the new ETag",
            ),
        };
        problem.with_values(current, given)
    }
}
