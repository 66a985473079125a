//! A call whose answer is streamed.

use std::collections::VecDeque;

use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    Error, ErrorKind, Result,
    http::Response,
    llm::{CallContext, ModelEvent, ModelInfo, ModelStream},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Http, Post, Refusal, begun, body,
    reader::{Reader, signed},
};
use crate::codec::{Decoder, Wire};

/// The most bytes of an answer in one document.
const DOCUMENT: usize = 64 << 20;

impl Http {
    /// Makes a call and streams its answer through the wire's decoder. A whole answer in one JSON document is read as well.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] when the guard does not let it pass; [`ErrorKind::Unavailable`] when no connection came about;
    /// [`ErrorKind::Truncated`] when it broke or stayed silent, for then the provider may have begun, and charge; otherwise what the
    /// provider said.
    pub(crate) async fn stream<W: Wire>(
        &self,
        post: Post<'_, impl Serialize>,
        info: &ModelInfo,
        call: &CallContext,
    ) -> Result<ModelStream> {
        let start = Instant::now();
        let total = start + call.timeout;
        let first = total.min(start + self.timeouts.first_content);
        let request = self
            .client
            .post(&post.url)?
            .headers(post.headers)
            .json(post.body);
        let response = begun(request, first).await?;
        let media = Media::of(&response);
        if !response.is_success() || media == Media::Page {
            return Err((post.refused)(&Refusal::read(response, first).await));
        }
        let origin = info.origin.clone();
        if media == Media::Json {
            let deadline = first.max(Instant::now() + self.timeouts.idle).min(total);
            let events = document::<W>(response, deadline, post.refused).await?;
            let events = events.into_iter();
            let events = events.map(move |event| event.map(|event| signed(event, &origin)));
            return Ok(stream::iter(events).boxed());
        }
        let reader = Reader::<W> {
            response,
            decoder: Decoder::default(),
            ready: VecDeque::new(),
            origin,
            first,
            total,
            idle: self.timeouts.idle,
            bytes: 0,
            content: false,
            ended: false,
        };
        Ok(stream::unfold(reader, Reader::next).boxed())
    }
}

/// What a response is by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// One document where a stream was asked for: a whole answer, or an error under status 200.
    Json,
    /// A page for people, such as one to log in.
    Page,
    Other,
}

impl Media {
    fn of(response: &Response) -> Self {
        match response.media_type().as_str() {
            "application/json" => Self::Json,
            "text/html" => Self::Page,
            _ => Self::Other,
        }
    }
}

/// Reads an answer in one document.
///
/// # Errors
/// What the provider says in it, or [`ErrorKind::Protocol`], when it is no answer at all.
async fn document<W: Wire>(
    response: Response,
    deadline: Instant,
    refused: fn(&Refusal) -> Error,
) -> Result<Vec<Result<ModelEvent>>> {
    let head = Refusal::of(&response);
    let body = body(response, deadline, DOCUMENT).await?;
    let mut events = Vec::new();
    let text = String::from_utf8_lossy(&body);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let read = W::default().document(text, &mut events);
    let mut events: Vec<Result<ModelEvent>> = events.into_iter().map(Ok).collect();
    match read {
        Ok(()) => Ok(events),
        // It broke off, and what it told of its usage counts.
        Err(error) if !events.is_empty() => {
            events.push(Err(error));
            Ok(events)
        }
        Err(error) => {
            let refusal = refused(&head.with_body(body));
            // A typed error says more, also of who asks; where nothing is typed the status is no help.
            Err(match refusal.kind() {
                ErrorKind::Protocol => error,
                _ => refusal,
            })
        }
    }
}
