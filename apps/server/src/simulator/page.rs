//! The page at `/demo`. Only the session cookie identifies a visitor's conversation, never a field of a request.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE},
    },
    response::{
        Html, IntoResponse as _, Redirect, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Simulator, feed::Window, session::Visitor};
use crate::{
    App,
    http::{Input, Problem},
};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");
/// The maximum message length of a phone.
const MAX_TEXT: usize = 4096;

pub(super) fn routes(simulator: Simulator) -> Router<Arc<App>> {
    let (start, feed) = (simulator.clone(), simulator.clone());
    let asset = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", get(|| async { Redirect::to("/demo") }))
        .route(
            "/demo",
            get(move |state, headers| page(start, state, headers)),
        )
        .route(
            "/demo/page.js",
            asset("text/javascript; charset=utf-8", SCRIPT),
        )
        .route("/demo/page.css", asset("text/css; charset=utf-8", STYLE))
        .route("/demo/feed", get(move |headers| follow(feed, headers)))
        .route(
            "/demo/say",
            post(move |headers, said| say(simulator, headers, said)),
        )
}

/// Returns the page with the name of the model, and starts a session for a visitor without one.
async fn page(simulator: Simulator, State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let model = app.directory.models().shared().describe();
    let text = if model.provider == "extract" {
        "No language model is configured: answers are quoted from the business's documents, with their source.".to_owned()
    } else {
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        format!(
            "Model: {}/{}",
            escaped(&model.provider),
            escaped(&model.model)
        )
    };
    let mut response = Html(PAGE.replace("{{model}}", &text)).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if simulator.sessions.visitor(&headers).is_none() {
        match simulator.sessions.create() {
            Ok(cookie) => drop(response.headers_mut().insert(SET_COOKIE, cookie)),
            Err(error) => return Problem::from(error).into_response(),
        }
    }
    response
}

#[derive(Deserialize)]
struct Say {
    channel: Window,
    text: String,
}

fn no_session() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "no demo session; load /demo first",
    )
}

fn visitor(simulator: &Simulator, headers: &HeaderMap) -> Result<Visitor, Problem> {
    simulator.sessions.visitor(headers).ok_or_else(no_session)
}

/// Takes one of the permits that all visitors share.
fn permit(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = Arc::clone(places).try_acquire_owned();
    permit.map_err(|_| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "the demo has too many visitors; try again in a moment",
        )
    })
}

async fn say(
    simulator: Simulator,
    headers: HeaderMap,
    Input(said): Input<Say>,
) -> Result<StatusCode, Problem> {
    let visitor = visitor(&simulator, &headers)?;
    let text = said.text.trim().to_owned();
    if !(1..=MAX_TEXT).contains(&text.chars().count()) {
        return Err(Problem::field("text", "must be 1 to 4096 characters"));
    }
    let permit = permit(&simulator.deliveries)?;
    tokio::spawn(async move {
        let _permit = permit;
        let done = match said.channel {
            Window::Whatsapp => simulator.say_on_whatsapp(visitor.id(), &text).await,
            Window::Slack => simulator.say_in_slack(visitor.id(), &text).await,
        };
        if let Err(error) = done {
            tracing::error!(%error, "could not create a simulated webhook");
        }
    });
    Ok(StatusCode::ACCEPTED)
}

async fn follow(simulator: Simulator, headers: HeaderMap) -> Result<Response, Problem> {
    let visitor = visitor(&simulator, &headers)?.id().to_owned();
    let permit = permit(&simulator.feeds)?;
    let (shown, live) = simulator.feed.follow(&visitor);
    let live = stream::unfold((live, visitor), |(mut live, visitor)| async move {
        loop {
            match live.recv().await {
                Ok((whose, note)) if whose == visitor => return Some((note, (live, visitor))),
                Ok(_) => {}
                // The page was too slow, or the server is shutting down. The page reconnects and gets the whole feed.
                Err(_) => return None,
            }
        }
    });
    let mut closed = simulator.closed.subscribe();
    let notes = stream::iter(shown)
        .chain(live)
        .take_until(Box::pin(async move {
            let _ = closed.wait_for(|closed| *closed).await;
        }));
    let events = notes.map(move |note| {
        let _held = &permit;
        let event = Event::default().json_data(note).unwrap_or_default();
        Ok::<_, Infallible>(event)
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response())
}
