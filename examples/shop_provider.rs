//! The provider of the example `custom_webhook`: a chat widget's API, as a local server that fails on request.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, Request, State},
    http::{StatusCode, header::RETRY_AFTER},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::stream;
use konstruct_core::testkit::{Displayed, Failure};
use tokio::net::TcpListener;

use crate::Message;

/// What the provider displays, and how its next request fails.
#[derive(Clone, Default)]
pub(crate) struct Provider(Arc<Mutex<(Vec<Message>, Option<Failure>)>>);

impl Provider {
    fn state(&self) -> MutexGuard<'_, (Vec<Message>, Option<Failure>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next request fail.
    pub(crate) fn fail(&self, failure: Failure) {
        self.state().1 = Some(failure);
    }

    /// Returns what visitors see.
    pub(crate) fn displayed(&self) -> Vec<Displayed> {
        let messages = self.state().0.clone().into_iter();
        messages
            .map(|message| {
                Displayed::new(message.text)
                    .with_choices(message.options.into_iter().map(|(_, label)| label))
                    .with_key(message.key)
                    .with_message(message.id)
            })
            .collect()
    }

    /// Starts it and returns the URL of its API.
    pub(crate) async fn start(&self) -> io::Result<String> {
        let router = Router::new()
            .route("/chats/{visitor}/messages", get(list).post(accept))
            .layer(from_fn_with_state(self.clone(), fail))
            .with_state(self.clone());
        serve(router).await
    }
}

/// Serves a router on a free local port and returns its URL.
pub(crate) async fn serve(router: Router) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(url)
}

async fn accept(State(it): State<Provider>, Json(mut message): Json<Message>) -> Json<Message> {
    let mut state = it.state();
    message.id = format!("m{}", state.0.len() + 1);
    state.0.push(message.clone());
    Json(message)
}

async fn list(
    State(it): State<Provider>,
    Query(key): Query<Vec<(String, String)>>,
) -> Json<Vec<Message>> {
    let mut found = it.state().0.clone();
    found.retain(|message| key.iter().any(|(_, key)| *key == message.key));
    Json(found)
}

/// Answers as the planned failure wants it.
async fn fail(State(it): State<Provider>, request: Request, next: Next) -> Response {
    let broken = || {
        let error = io::Error::from(io::ErrorKind::ConnectionReset);
        Response::new(Body::from_stream(stream::iter([Err::<Bytes, _>(error)])))
    };
    let failure = it.state().1.take();
    match failure {
        None => next.run(request).await,
        Some(Failure::Refused) => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        Some(Failure::Unauthorized) => StatusCode::UNAUTHORIZED.into_response(),
        Some(Failure::Forbidden) => StatusCode::FORBIDDEN.into_response(),
        Some(Failure::RateLimited(wait)) => {
            let wait = [(RETRY_AFTER, wait.as_secs().to_string())];
            (StatusCode::TOO_MANY_REQUESTS, wait).into_response()
        }
        Some(Failure::DroppedBefore) => broken(),
        Some(Failure::Silent) => pending().await,
        Some(after) => {
            next.run(request).await;
            match after {
                Failure::DroppedAfter => broken(),
                Failure::ServerError => StatusCode::BAD_GATEWAY.into_response(),
                _ => "<html>".into_response(),
            }
        }
    }
}
