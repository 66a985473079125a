//! Requests to one site: one at a time, spaced, repeated a few times, and within bounds.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use konstruct_core::{
    Clock, ErrorKind, Timestamp,
    http::{Client, Response, Url},
};

use super::{Failure, Limits, PageState};

/// How crawlers of this crate introduce themselves.
const USER_AGENT: &str = concat!(
    "Konstruct/",
    env!("CARGO_PKG_VERSION"),
    " (+",
    env!("CARGO_PKG_REPOSITORY"),
    ")"
);
/// How often one request is repeated, and all requests of a crawl together.
const RETRIES: u32 = 2;
const ALL_RETRIES: u32 = 20;
/// The wait before a repeated request, if the server names none, and the longest that it may name.
const WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Sends the requests of a crawl.
#[derive(Debug)]
pub(super) struct Fetcher<'a> {
    client: &'a Client,
    clock: &'a dyn Clock,
    /// The wait between the starts of two requests.
    pub(super) delay: Duration,
    next: Option<Timestamp>,
    retries: u32,
    pub(super) requests: usize,
    pub(super) bytes: usize,
}

/// What a request wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The last version, which need not be sent again.
    pub(super) known: Option<&'a PageState>,
    /// Whether a media type can be read.
    pub(super) accepts: fn(&str, &Url) -> bool,
    /// The most bytes of the body, also after decompression.
    pub(super) most: usize,
}

/// The response to a request.
#[derive(Debug)]
pub(super) enum Fetched {
    Body(Answer),
    NotModified,
    /// A redirect to an address, as written, and whether it is permanent.
    Redirect(String, bool),
    /// Any other status that is not a server error.
    Status(u16),
    /// A media type that cannot be read.
    Type(String),
    TooLarge,
    Failed(Failure, Option<String>),
    /// The address is not public.
    NotPublic,
    /// The server asks to wait longer than a crawl can.
    Busy,
}

/// A page as it was sent.
#[derive(Debug)]
pub(super) struct Answer {
    /// The media type; empty if there is none.
    pub(super) media: String,
    pub(super) charset: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
    /// The values of `X-Robots-Tag`.
    pub(super) robots: Vec<String>,
    pub(super) body: Bytes,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(client: &'a Client, clock: &'a dyn Clock, limits: &Limits) -> Self {
        Self {
            client,
            clock,
            delay: limits.delay,
            next: None,
            retries: 0,
            requests: 0,
            bytes: 0,
        }
    }

    /// Requests an address. A server error, no response, and a request to wait are repeated.
    pub(super) async fn get(&mut self, url: &Url, wanted: Wanted<'_>) -> Fetched {
        let mut tries = 0;
        loop {
            let (failed, wait) = match self.once(url, wanted).await {
                Ok(fetched) => return fetched,
                Err(failed) => failed,
            };
            if wait > LONGEST_WAIT {
                return Fetched::Busy;
            }
            if tries == RETRIES || self.retries == ALL_RETRIES {
                return failed;
            }
            tries += 1;
            self.retries += 1;
            self.next = Some(self.clock.now() + wait.max(self.delay));
        }
    }

    /// Sends one request.
    ///
    /// # Errors
    /// The failure, and how long to wait before the request is repeated.
    async fn once(
        &mut self,
        url: &Url,
        wanted: Wanted<'_>,
    ) -> Result<Fetched, (Fetched, Duration)> {
        if let Some(next) = self.next {
            self.clock.sleep_until(next).await;
        }
        self.next = Some(self.clock.now() + self.delay);
        self.requests += 1;
        let failed = |failure, detail| Fetched::Failed(failure, detail);
        let request = match self.client.get(url) {
            Ok(request) => request,
            Err(_) => return Ok(Fetched::NotPublic),
        };
        let mut request = request
            .header("user-agent", USER_AGENT)
            .header("accept-encoding", "gzip");
        if let Some(known) = wanted.known {
            if let Some(etag) = &known.etag {
                request = request.header("if-none-match", etag);
            }
            if let Some(modified) = &known.modified {
                request = request.header("if-modified-since", modified);
            }
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::Forbidden => Ok(Fetched::NotPublic),
                    ErrorKind::Unavailable => Err((failed(Failure::Unreachable, None), WAIT)),
                    // Another try would take as long.
                    _ => Ok(failed(Failure::TimedOut, None)),
                };
            }
        };
        let status = response.status();
        match status {
            200 => {}
            304 if wanted.known.is_some() => return Ok(Fetched::NotModified),
            301 | 302 | 303 | 307 | 308 => {
                let to = response.header("location").map(str::to_owned);
                return Ok(match to {
                    Some(to) => Fetched::Redirect(to, matches!(status, 301 | 308)),
                    None => failed(Failure::Redirect, None),
                });
            }
            429 | 500.. => {
                let failure = match status {
                    429 | 503 => Failure::Busy,
                    _ => Failure::Status,
                };
                let wait = response.retry_after().unwrap_or(WAIT);
                return Err((failed(failure, Some(status.to_string())), wait));
            }
            status => return Ok(Fetched::Status(status)),
        }
        let media = response.media_type();
        if !(wanted.accepts)(&media, url) {
            return Ok(Fetched::Type(media));
        }
        Ok(self.body(response, media, wanted.most).await)
    }

    async fn body(&mut self, response: Response, media: String, most: usize) -> Fetched {
        let text = |name| response.header(name).map(str::to_owned);
        let is_gzip = match response.header("content-encoding").map(str::trim) {
            None | Some("" | "identity") => false,
            Some("gzip" | "x-gzip") => true,
            Some(other) => return Fetched::Failed(Failure::Encoding, Some(other.to_owned())),
        };
        let charset = response.header("content-type").and_then(charset);
        let (etag, modified) = (text("etag"), text("last-modified"));
        let robots = response
            .headers("x-robots-tag")
            .map(str::to_owned)
            .collect();
        let body = match response.body(most).await {
            Ok(body) => body,
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.bytes += most;
                return Fetched::TooLarge;
            }
            Err(_) => return Fetched::Failed(Failure::Interrupted, None),
        };
        self.bytes += body.len();
        let body = match is_gzip.then(|| inflated(&body, most)) {
            None => body,
            Some(Ok(Some(body))) => body,
            Some(Ok(None)) => return Fetched::TooLarge,
            Some(Err(_)) => return Fetched::Failed(Failure::Encoding, Some("gzip".into())),
        };
        Fetched::Body(Answer {
            media,
            charset,
            etag,
            modified,
            robots,
            body,
        })
    }
}

/// Decompresses a body; `None` if it becomes too large.
pub(super) fn inflated(body: &[u8], most: usize) -> std::io::Result<Option<Bytes>> {
    let mut out = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let mut reader = MultiGzDecoder::new(body).take(limit.saturating_add(1));
    reader.read_to_end(&mut out)?;
    Ok((out.len() <= most).then(|| Bytes::from(out)))
}

/// Returns the encoding in a content type.
fn charset(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.to_owned())
    })
}
