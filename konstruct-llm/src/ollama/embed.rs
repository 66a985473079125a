//! The embedder for Ollama's `/api/embed`.

use std::time::Duration;

use async_trait::async_trait;
use konstruct_core::http::{Guard, Headers};
use konstruct_core::{Embedder, Result, Secret, embed::EmbedContext, money::Price};
use serde::{Deserialize, Serialize};

use super::client::{LOCAL, base_url, refused};
use crate::{
    embed::{Answered, Limits, Model, Server, checked, embed},
    http::{Http, Post, Timeouts},
};

/// Small enough for a slow machine to respond in time; Ollama processes the texts one after another anyway.
const LIMITS: Limits = Limits {
    texts: 64,
    all: usize::MAX,
    one: usize::MAX,
};
const ANSWER: usize = 16 << 20;

/// An embedding model that runs on Ollama. It is free.
///
/// A request has at most 64 texts. Ollama truncates a text that exceeds the model's context at its end. A text without any letter
/// is not sent, and its vector is zero.
///
/// ```
/// use konstruct_core::Embedder;
/// use konstruct_llm::OllamaEmbedder;
///
/// let embedder = OllamaEmbedder::new("nomic-embed-text", 768).prefixes("search_query: ", "search_document: ");
/// assert_eq!(embedder.dim(), 768);
/// ```
#[derive(Clone, Debug)]
pub struct OllamaEmbedder {
    model: Model,
    api_key: Option<Secret>,
    base_url: String,
    http: Http,
}

impl OllamaEmbedder {
    /// Creates a client for a model of the Ollama server at `http://127.0.0.1:11434` with vectors of `dim` numbers.
    pub fn new(model: impl Into<String>, dim: usize) -> Self {
        let free = Some(Price::default());
        Self {
            model: Model::new("ollama", model.into(), (dim, free, LIMITS)),
            api_key: None,
            base_url: LOCAL.into(),
            http: Http::new(Timeouts::default().with_first_content(Duration::from_secs(300))),
        }
    }

    /// Sets the server's address in the form of `OLLAMA_HOST`: a URL, or a host with or without a port.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = base_url(url.as_ref());
        self
    }

    /// Sets an API key, for an Ollama server behind a gateway.
    #[must_use]
    pub fn api_key(mut self, key: Secret) -> Self {
        self.api_key = Some(key);
        self
    }

    /// Sets the prefixes of queries and documents, for models that need them. They are part of [`Embedder::id`].
    #[must_use]
    pub fn prefixes(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        self.model = self.model.with_prefixes(query.into(), document.into());
        self
    }

    /// Sets the timeouts: for connecting, and [`Timeouts::first_content`] for a whole request. A query waits for at most five
    /// seconds.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.http = self.http.with_timeouts(timeouts);
        self
    }

    /// Restricts connections to the addresses that the guard permits; use it for a base URL that a tenant chose.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.http = self.http.guarded(guard);
        self
    }

    /// Embeds a sample text and sets the dimension to the size of its vector, overriding the earlier value.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`].
    pub async fn measured(mut self) -> Result<Self> {
        let vectors = checked("ollama", self.ask(&["dimension"]).await?.vectors, (1, None))?;
        self.model.dim = vectors.first().map_or(0, Vec::len);
        Ok(self)
    }
}

#[async_trait]
impl Server for OllamaEmbedder {
    fn model(&self) -> &Model {
        &self.model
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    async fn ask(&self, input: &[&str]) -> Result<Answered> {
        let mut headers = Headers::default();
        if let Some(key) = &self.api_key {
            let bearer = format!("Bearer {}", key.expose());
            headers.set("authorization", &bearer)?;
        }
        let body = Request {
            model: &self.model.name,
            input,
            truncate: true,
        };
        let post = Post {
            url: format!("{}/api/embed", self.base_url),
            headers,
            body: &body,
            refused,
        };
        let answer: Answer = self.http.document("ollama", post, ANSWER).await?;
        Ok(Answered {
            vectors: answer.embeddings,
            tokens: Some(answer.prompt_eval_count),
        })
    }
}

#[async_trait]
impl Embedder for OllamaEmbedder {
    fn id(&self) -> &str {
        &self.model.id
    }

    fn dim(&self) -> usize {
        self.model.dim
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        embed(self, context, texts).await
    }
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    truncate: bool,
}

#[derive(Debug, Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
    #[serde(default)]
    prompt_eval_count: u64,
}
