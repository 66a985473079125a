//! HTTP responses: the head, and the body up to a size limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::{kind_of, retry_after};
use crate::{Error, ErrorKind, Result};

/// A response whose body has not been read.
#[derive(Debug)]
pub struct Response(reqwest::Response);

impl Response {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self(response)
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Returns whether the status code is in the range 200 to 299.
    pub fn is_success(&self) -> bool {
        self.0.status().is_success()
    }

    /// Returns the error kind of an unsuccessful status code, see [`kind_of`].
    pub fn kind(&self) -> ErrorKind {
        kind_of(self.status())
    }

    /// Returns a header, if it exists and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// Returns the values of a header that may be repeated.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.headers().get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    }

    /// Returns the media type in lower case and without parameters, such as `application/json`; empty if there is none.
    pub fn media_type(&self) -> String {
        let media = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default();
        media.trim().to_ascii_lowercase()
    }

    /// Returns how long the server asks to wait, see [`retry_after`].
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(|name| self.header(name))
    }

    /// Returns the next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] if the connection fails.
    ///
    /// # Cancel safety
    /// Dropping the future loses no bytes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.0.chunk().await.map_err(|error| {
            Error::new(
                ErrorKind::Truncated,
                "the connection failed in the middle of the response",
            )
            .with_source(error.without_url())
        })
    }

    /// Reads the whole body, up to a number of bytes.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if the body is larger, [`ErrorKind::Truncated`] if the connection fails.
    pub async fn body(mut self, most: usize) -> Result<Bytes> {
        let too_large = || {
            Error::new(
                ErrorKind::TooLarge,
                format!("the body has more than {most} bytes"),
            )
        };
        let length = self.header(CONTENT_LENGTH.as_str());
        let length = length.and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > most))
        {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > most {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Reads the beginning of the body, up to a number of bytes, into `body`. The bytes read so far stay in `body` if the future
    /// is dropped.
    pub async fn beginning(mut self, most: usize, body: &mut Vec<u8>) {
        while body.len() < most
            && let Ok(Some(chunk)) = self.chunk().await
        {
            let room = most - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
    }
}
