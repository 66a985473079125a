//! What an Ollama has of its models: which there are, which are loaded, and fetching one.

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
    http::{Get, Post, silent},
    ndjson,
};

/// The most bytes of a list of models, and of what is told of one.
pub(super) const LIST: usize = 4 << 20;

/// What an Ollama has of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalState {
    /// It is not there: [`Ollama::pull`] fetches it.
    Absent,
    /// It is on the disk, and the first answer waits until it is loaded.
    Present,
    /// It is in memory.
    Loaded,
}

/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullProgress {
    /// What Ollama does, in its own words; `success` is the last.
    pub status: String,
    /// The layer that is fetched.
    pub digest: Option<String>,
    /// The bytes of that layer.
    pub total: Option<u64>,
    /// How many of them are there.
    pub completed: Option<u64>,
}

/// Progress of a pull; ends after `success`, or with an error.
pub type Pull = BoxStream<'static, Result<PullProgress>>;

impl Ollama {
    /// Returns the names of all models that are there.
    ///
    /// # Errors
    /// Those of [`probe`](crate::probe).
    pub async fn models(&self) -> Result<Vec<String>> {
        self.list("/api/tags").await
    }

    /// Returns whether the model is there, and whether it is loaded.
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

    /// Asks Ollama what the model can do, and takes that for its abilities, whatever was said before.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the model is not there, and those of [`probe`](crate::probe).
    pub async fn measured(mut self) -> Result<Self> {
        let named = Named {
            model: &self.info.model,
        };
        let shown: Shown = self
            .http
            .document("ollama", self.post("/api/show", &named)?, LIST)
            .await?;
        self.info.can = model::said(&shown.capabilities);
        Ok(self)
    }

    /// Loads the model, so that the first answer does not wait for it. Ollama keeps it as long as it keeps a model that has answered.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the model is not there, and those of [`probe`](crate::probe).
    pub async fn load(&self) -> Result<()> {
        self.keep(None).await
    }

    /// Takes the model out of memory.
    ///
    /// # Errors
    /// Those of [`Ollama::load`].
    pub async fn unload(&self) -> Result<()> {
        self.keep(Some(0)).await
    }

    /// Fetches the model, or what has changed of it. Dropping the stream stops that; another pull goes on from there.
    ///
    /// # Errors
    /// Those of [`probe`](crate::probe). The stream ends in [`ErrorKind::Unavailable`] when Ollama gives up, and in
    /// [`ErrorKind::Truncated`] when the connection ends before, or says nothing for [`Timeouts::first_content`](crate::Timeouts).
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
                "ollama answered what is not an answer",
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

/// Returns whether two names are of one model: without a tag it is the latest.
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

/// A pull that goes on.
struct Pulling {
    response: Response,
    lines: ndjson::Lines,
    /// Lines that have come and were not read, the next one last.
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
            let chunk = chunk.await.map_err(|_| silent("in mid-pull"))?;
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
