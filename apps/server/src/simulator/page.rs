//! The page at `/sandbox`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{
        Html, IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;

use super::{Simulator, feed::Window};
use crate::{App, http::Problem};

const PAGE: &str = include_str!("page.html");
/// The longest message that a phone takes.
const LONGEST: usize = 4096;

pub(super) fn routes(simulator: Simulator) -> Router<Arc<App>> {
    let feed = simulator.clone();
    Router::new()
        .route("/sandbox", get(page))
        .route("/sandbox/feed", get(move |query| follow(feed, query)))
        .route("/sandbox/say", post(move |body| say(simulator, body)))
}

/// The page says what the employee thinks with.
async fn page(State(app): State<Arc<App>>) -> Html<String> {
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
    Html(PAGE.replace("{{model}}", &text))
}

#[derive(Deserialize)]
struct Who {
    person: String,
}

#[derive(Deserialize)]
struct Say {
    person: String,
    channel: Window,
    text: String,
}

/// A person of the sandbox is a phone number that the page made up.
fn is_person(person: &str) -> bool {
    (8..=15).contains(&person.len()) && person.bytes().all(|byte| byte.is_ascii_digit())
}

async fn say(simulator: Simulator, Json(said): Json<Say>) -> Response {
    if !is_person(&said.person) {
        return Problem::field("person", "must be 8 to 15 digits").into_response();
    }
    let text = said.text.trim().to_owned();
    if !(1..=LONGEST).contains(&text.chars().count()) {
        return Problem::field("text", "must be 1 to 4096 characters").into_response();
    }
    tokio::spawn(async move {
        let done = match said.channel {
            Window::Whatsapp => simulator.say_on_whatsapp(&said.person, &text).await,
            Window::Slack => simulator.say_in_slack(&said.person, &text).await,
        };
        if let Err(error) = done {
            tracing::error!(%error, "the simulator cannot deliver");
        }
    });
    StatusCode::ACCEPTED.into_response()
}

async fn follow(simulator: Simulator, Query(who): Query<Who>) -> Response {
    if !is_person(&who.person) {
        return Problem::field("person", "must be 8 to 15 digits").into_response();
    }
    let (shown, live) = simulator.feed.follow(&who.person);
    let live = stream::unfold((live, who.person), |(mut live, person)| async move {
        loop {
            match live.recv().await {
                Ok((whose, note)) if whose == person => return Some((note, (live, person))),
                Ok(_) => {}
                // The page was too slow, or the server ends: the page connects again and gets all of it.
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
    let events = notes.map(|note| {
        let event = Event::default().json_data(note).unwrap_or_default();
        Ok::<_, Infallible>(event)
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response()
}
