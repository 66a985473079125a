//! The embedder for OpenAI's `/embeddings`, and for compatible servers.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use konstruct_core::http::Guard;
use konstruct_core::{
    Embedder, Error, ErrorKind, Result, Secret, embed::EmbedContext, money::Price,
};
use serde::{Deserialize, Serialize};

use super::{
    client::{OFFICIAL, authorization},
    error::refused,
};
use crate::{
    embed::{Answered, Limits, Model, Server, embed},
    http::{Http, Post, Timeouts, without_slash},
    price::PriceTable,
};

/// The API's limits are 2,048 texts, 300,000 tokens and 8,192 tokens per text. A margin is kept for special tokens.
const LIMITS: Limits = Limits {
    texts: 2048,
    all: 590_000,
    one: 16_000,
};
/// The maximum size of a response, in bytes: a decimal number has about 14.
const ANSWER: usize = 128 << 20;

/// An embedding model behind OpenAI's `/embeddings`, or behind a compatible server.
///
/// A request has at most 2,048 texts and about 300,000 tokens. A text that may exceed the models' limit of 8,192 tokens is
/// truncated at its end: an ASCII character counts as half a token, any other as two. A text without any letter is not sent, and
/// its vector is zero.
///
/// `dimensions` is sent for `text-embedding-3` models, which shorten their vectors on request; for other models the dimension is
/// only checked. The context's budget pays for every request; if a server does not report its usage, the worst case is paid.
/// OpenAI itself is asked for base64, which is a third of the bytes; other servers are sent no encoding. Both encodings are read.
///
/// ```
/// use konstruct_core::{Embedder, Secret};
/// use konstruct_llm::OpenAiEmbedder;
///
/// let embedder = OpenAiEmbedder::new(Secret::new("sk-1"), "text-embedding-3-small", 512);
/// assert_eq!((embedder.id(), embedder.dim()), ("openai/text-embedding-3-small", 512));
/// ```
#[derive(Clone, Debug)]
pub struct OpenAiEmbedder {
    model: Model,
    api_key: Secret,
    base_url: String,
    http: Http,
}

impl OpenAiEmbedder {
    /// Creates a client for a model at `https://api.openai.com/v1` with vectors of `dim` numbers. Without an API key no
    /// `authorization` header is sent.
    pub fn new(api_key: Secret, model: impl Into<String>, dim: usize) -> Self {
        let model = model.into();
        let price = PriceTable::built_in().price("openai", &model);
        Self {
            model: Model::new("openai", model, (dim, price, LIMITS)),
            api_key,
            base_url: OFFICIAL.into(),
            http: Http::new(Timeouts::default()),
        }
    }

    /// Sets the server's URL, including its `/v1`. A trailing slash is ignored.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = without_slash(url);
        self
    }

    /// Sets the prefixes of queries and documents, for models that need them, such as `query: ` and `passage: `. They are part of
    /// [`Embedder::id`].
    #[must_use]
    pub fn prefixes(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        self.model = self.model.with_prefixes(query.into(), document.into());
        self
    }

    /// Sets the price, if it is missing or wrong in the built-in [`PriceTable`].
    #[must_use]
    pub fn price(mut self, price: Price) -> Self {
        self.model.price = Some(price);
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
}

#[async_trait]
impl Server for OpenAiEmbedder {
    fn model(&self) -> &Model {
        &self.model
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    async fn ask(&self, input: &[&str]) -> Result<Answered> {
        let headers = authorization(&self.api_key)?;
        let shortens = self.model.name.starts_with("text-embedding-3");
        let body = Request {
            model: &self.model.name,
            input,
            encoding_format: (self.base_url == OFFICIAL).then_some("base64"),
            dimensions: shortens.then_some(self.model.dim),
        };
        let post = Post {
            url: format!("{}/embeddings", self.base_url),
            headers,
            body: &body,
            refused,
        };
        let answer: Answer = self.http.document("openai", post, ANSWER).await?;
        let mut data = answer.data;
        // Vectors usually arrive in order, but only the index is reliable.
        data.sort_by_key(|item| item.index);
        if !data.iter().map(|item| item.index).eq(0..data.len()) {
            let what = "openai returned vectors whose indexes do not match the texts";
            return Err(Error::new(ErrorKind::Protocol, what));
        }
        let vectors: Result<Vec<_>> = data
            .into_iter()
            .map(|item| item.embedding.numbers())
            .collect();
        Ok(Answered {
            vectors: vectors?,
            tokens: answer.usage.map(|usage| usage.prompt_tokens),
        })
    }
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
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
    // Never null, because some servers reject that.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Vec<Item>,
    /// Some compatible servers omit it.
    #[serde(default)]
    usage: Option<Billed>,
}

#[derive(Debug, Deserialize)]
struct Billed {
    prompt_tokens: u64,
}

#[derive(Debug, Deserialize)]
struct Item {
    index: usize,
    embedding: Numbers,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Numbers {
    Plain(Vec<f32>),
    /// Little-endian `f32`s.
    Base64(String),
}

impl Numbers {
    fn numbers(self) -> Result<Vec<f32>> {
        let text = match self {
            Self::Plain(numbers) => return Ok(numbers),
            Self::Base64(text) => text,
        };
        let bytes = STANDARD.decode(text).ok();
        let numbers = bytes.as_deref().and_then(|bytes| {
            let (fours, rest) = bytes.as_chunks::<4>();
            rest.is_empty()
                .then(|| fours.iter().map(|four| f32::from_le_bytes(*four)).collect())
        });
        let wrong = || {
            Error::new(
                ErrorKind::Protocol,
                "openai returned a vector that is not base64 of 32-bit floats",
            )
        };
        numbers.ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_both_forms() {
        let check = |json: &str, expected: Option<&[f32]>| {
            let numbers: Numbers = serde_json::from_str(json).unwrap();
            assert_eq!(numbers.numbers().ok().as_deref(), expected, "{json}");
        };
        check("[1.0, -0.5]", Some(&[1.0, -0.5]));
        check("\"AACAPwAAAL8=\"", Some(&[1.0, -0.5]));
        check("\"AACAPw\"", None);
        check("\"AACA\"", None);
        check("\"\"", Some(&[]));
    }
}
