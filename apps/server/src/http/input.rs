//! JSON bodies.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};
use serde::de::DeserializeOwned;

use super::{Problem, json};

/// A JSON body, parsed with errors that name the field and repeat no value.
pub(crate) struct Input<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body(request, state).await?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let detail = format!("the body is not JSON: line {line}, column {column}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?;
        json::read(value).map(Self)
    }
}

/// Reads a body up to the size that the server accepts.
pub(crate) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|error| {
        let detail = "the body could not be read, or is too large";
        Problem::new(error.status(), detail)
    })
}
