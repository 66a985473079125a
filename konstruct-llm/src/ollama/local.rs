//! Manages the models of an Ollama server: listing, loading and pulling.

use std::{ops::ControlFlow, time::Duration};

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::http::Response;
use konstruct_core::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    Ollama,
    client::{in_stream, refused},
    model,
    wire::{Load, LoadOptions, Named, Pulled, Shown, Tags},
};
use crate::{
    codec::{Frame as _, parse},
    http::{Get, Post, timed_out},
    ndjson,
};

/// The maximum size of a model list, and of a model's details, in bytes.
pub(super) const LIST: usize = 4 << 20;

/// The state of a model on an Ollama server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalState {
    /// Not downloaded; [`Ollama::pull`] downloads it.
    Absent,
    /// On disk; the first answer waits until the model is loaded.
    Present,
    /// In memory.
    Loaded,
}

/// The progress of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullProgress {
    /// Ollama's own status text; `success` is the last.
    pub status: String,
    /// The layer being downloaded.
    pub digest: Option<String>,
    /// The size of that layer, in bytes.
    pub total: Option<u64>,
    /// The bytes of that layer downloaded so far.
    pub completed: Option<u64>,
}

/// The progress of a pull; ends after `success`, or with an error.
pub type Pull = BoxStream<'static, Result<PullProgress>>;

impl Ollama {
    /// Returns the names of all downloaded models.
    ///
    /// # Errors
    /// Those of [`probe`](crate::probe).
    pub async fn models(&self) -> Result<Vec<String>> {
        self.list("/api/tags").await
    }

    /// Returns whether the model is downloaded, and whether it is loaded.
    ///
    /// # Errors
    /// Those of [`probe`](crate::probe).
    pub async fn state(&self) -> Result<LocalState> {
        let has = |names: Vec<String>| names.iter().any(|name| same(name, &self.info.model));
        Ok(if has(self.list("/api/ps").await?) {
            LocalState::Loaded
        } else if has(self.models().await?) {
            LocalState::Present
        } else {
            LocalState::Absent
        })
    }

    /// Asks Ollama for the model's abilities and uses them, overriding earlier values.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the model is not downloaded, and those of [`probe`](crate::probe).
    pub async fn measured(mut self) -> Result<Self> {
        let named = Named {
            model: &self.info.model,
        };
        let shown: Shown = self
            .http
            .document("ollama", self.post("/api/show", &named)?, LIST)
            .await?;
        self.info.can = model::reported(&shown.capabilities);
        Ok(self)
    }

    /// Loads the model, so that the first answer does not wait for it. It stays loaded as long as after an answer.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the model is not downloaded, and those of [`probe`](crate::probe).
    pub async fn load(&self) -> Result<()> {
        self.keep(None).await
    }

    /// Unloads the model from memory.
    ///
    /// # Errors
    /// Those of [`Ollama::load`].
    pub async fn unload(&self) -> Result<()> {
        self.keep(Some(0)).await
    }

    /// Downloads the model, or its changed layers. Dropping the stream stops the download; another pull continues it.
    ///
    /// # Errors
    /// Those of [`probe`](crate::probe). The stream ends with [`ErrorKind::Unavailable`] if Ollama aborts the download, and with
    /// [`ErrorKind::Truncated`] if the connection ends early, or sends nothing for [`Timeouts::first_content`](crate::Timeouts).
    pub async fn pull(&self) -> Result<Pull> {
        let named = Named {
            model: &self.info.model,
        };
        let response = self.http.open(self.post("/api/pull", &named)?).await?;
        let pulling = Pulling {
            response,
            lines: ndjson::Lines::default(),
            ready: Vec::new(),
            idle: self.http.timeouts.first_content,
            ended: false,
        };
        Ok(stream::unfold(pulling, Pulling::next).boxed())
    }

    async fn keep(&self, keep_alive: Option<u32>) -> Result<()> {
        let load = Load {
            model: &self.info.model,
            messages: [],
            stream: false,
            keep_alive,
            options: LoadOptions {
                num_ctx: self.context,
            },
        };
        let answer: Value = self
            .http
            .document("ollama", self.post("/api/chat", &load)?, LIST)
            .await?;
        match answer["done"].as_bool() {
            Some(true) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Protocol,
                "ollama returned an unexpected document",
            )),
        }
    }

    fn post<'a, B: Serialize>(&'a self, path: &str, body: &'a B) -> Result<Post<'a, B>> {
        Ok(Post {
            url: format!("{}{path}", self.base_url),
            headers: self.headers()?,
            body,
            refused,
        })
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let get = Get {
            provider: "ollama",
            url: format!("{}{path}", self.base_url),
            query: Vec::new(),
            headers: self.headers()?,
            refused,
        };
        let tags: Tags = self.http.get(get, LIST).await?;
        Ok(tags.models.into_iter().map(|tag| tag.name).collect())
    }
}

/// Returns whether two names denote the same model; a name without a tag means `latest`.
fn same(one: &str, other: &str) -> bool {
    let whole = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        match last.contains(':') {
            true => name.to_owned(),
            false => format!("{name}:latest"),
        }
    };
    whole(one) == whole(other)
}

/// A pull in progress.
struct Pulling {
    response: Response,
    lines: ndjson::Lines,
    /// Lines received and not yet read, the next one last.
    ready: Vec<String>,
    idle: Duration,
    ended: bool,
}

impl Pulling {
    async fn next(mut self) -> Option<(Result<PullProgress>, Self)> {
        if self.ended {
            return None;
        }
        let progress = self.read().await;
        self.ended = progress
            .as_ref()
            .map_or(true, |progress| progress.status == "success");
        Some((progress, self))
    }

    async fn read(&mut self) -> Result<PullProgress> {
        loop {
            if let Some(line) = self.ready.pop() {
                return progress(&line);
            }
            let chunk = timeout(self.idle, self.response.chunk());
            let chunk = chunk
                .await
                .map_err(|_| timed_out("in the middle of the pull"))?;
            match chunk? {
                Some(bytes) => {
                    self.lines.push(&bytes, |line| {
                        self.ready.push(line.to_owned());
                        ControlFlow::Continue(())
                    })?;
                    self.ready.reverse();
                }
                None => {
                    let rest = self.lines.rest().ok_or_else(|| {
                        Error::new(ErrorKind::Truncated, "the pull ended without success")
                    })?;
                    return progress(&rest);
                }
            }
        }
    }
}

fn progress(line: &str) -> Result<PullProgress> {
    let line: Pulled = parse(line)?;
    if let Some(error) = &line.error {
        return Err(in_stream(error.text()));
    }
    Ok(PullProgress {
        status: line.status,
        digest: line.digest,
        total: line.total,
        completed: line.completed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        let check = |one, other, expected| assert_eq!(same(one, other), expected, "{one} {other}");
        check("llama3.2", "llama3.2:latest", true);
        check("llama3.2:1b", "llama3.2", false);
        check("host:5000/me/m", "host:5000/me/m:latest", true);
        check("m", "me/m", false);
    }
}
