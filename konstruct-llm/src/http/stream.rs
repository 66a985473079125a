//! A call whose response is streamed.

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
    Http, Post, Refusal, body,
    reader::{Reader, signed},
    send,
};
use crate::{
    codec::{Decoder, Wire},
    text_filter::Tools,
};

/// The maximum size of an answer in one document, in bytes.
const DOCUMENT: usize = 64 << 20;

impl Http {
    /// Makes a call and streams the response through the decoder. A whole answer in one JSON document is accepted too.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] if the guard blocks the address; [`ErrorKind::Unavailable`] if the connection could not be
    /// established; [`ErrorKind::Truncated`] if it broke or timed out, because the provider may have started and may charge;
    /// otherwise the error that the provider returned.
    pub(crate) async fn stream<W: Wire>(
        &self,
        post: Post<'_, impl Serialize>,
        info: &ModelInfo,
        tools: Tools,
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
        let response = send(request, first).await?;
        let media = Media::of(&response);
        if !response.is_success() || media == Media::Page {
            return Err((post.refused)(&Refusal::read(response, first).await));
        }
        let origin = info.origin.clone();
        if media == Media::Json {
            let deadline = first.max(Instant::now() + self.timeouts.idle).min(total);
            let events = document::<W>(response, deadline, post.refused, tools).await?;
            let events = events.into_iter();
            let events = events.map(move |event| event.map(|event| signed(event, &origin)));
            return Ok(stream::iter(events).boxed());
        }
        let reader = Reader::<W> {
            response,
            decoder: Decoder::for_tools(tools),
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

/// The kind of response by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// One document although a stream was requested: a whole answer, or an error with status 200.
    Json,
    /// An HTML page, such as a login page.
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

/// Reads a whole answer from one document.
///
/// # Errors
/// The error in the document, or [`ErrorKind::Protocol`] if it is not an answer.
async fn document<W: Wire>(
    response: Response,
    deadline: Instant,
    refused: fn(&Refusal) -> Error,
    tools: Tools,
) -> Result<Vec<Result<ModelEvent>>> {
    let head = Refusal::of(&response);
    let body = body(response, deadline, DOCUMENT).await?;
    let mut events = Vec::new();
    let text = String::from_utf8_lossy(&body);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let read = Decoder::<W>::for_tools(tools).whole(text, &mut events);
    let mut events: Vec<Result<ModelEvent>> = events.into_iter().map(Ok).collect();
    match read {
        Ok(()) => Ok(events),
        // The answer broke off; the usage that it reported still counts.
        Err(error) if !events.is_empty() => {
            events.push(Err(error));
            Ok(events)
        }
        Err(error) => {
            let refusal = refused(&head.with_body(body));
            // A typed error is more precise. Without one, the status 200 does not help.
            Err(match refusal.kind() {
                ErrorKind::Protocol => error,
                _ => refusal,
            })
        }
    }
}
