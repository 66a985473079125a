//! Vectors from OpenAI's `/embeddings`, and from servers that are compatible with it.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use konstruct_core::http::{Guard, Headers};
use konstruct_core::{
    Embedder, Error, ErrorKind, Result, Secret, embed::EmbedContext, money::Price,
};
use serde::{Deserialize, Serialize};

use super::{client::OFFICIAL, error::refused};
use crate::{
    embed::{Answered, Limits, Model, Server, embed},
    http::{Http, Post, Timeouts},
    price::PriceTable,
};

/// 2,048 texts, 300,000 tokens and 8,192 a text, less a little for what a tokenizer adds.
const LIMITS: Limits = Limits {
    texts: 2048,
    all: 590_000,
    one: 16_000,
};
/// The most bytes of an answer: a number in digits has about 14.
const ANSWER: usize = 128 << 20;

/// An embedding model behind OpenAI's `/embeddings`, or behind a compatible server.
///
/// Texts go in requests of at most 2,048, and of about 300,000 tokens. A text that may be longer than the 8,192 tokens which the
/// models take is cut at its end: an ASCII letter counts as half a token, any other character as two. A text without any
/// letter is not sent, and its vector is zero.
///
/// `dimensions` is sent for `text-embedding-3` models, which shorten their vectors on request; of other models the dimension is only
/// checked. What a request costs is paid for by the context's budget; a server that does not say what it used is paid at the most that it
/// can be. OpenAI itself is asked for base64, which is a third of the bytes; others for nothing, and both are read.
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
    /// A model of `https://api.openai.com/v1` whose vectors have so many numbers. Without an API key no `authorization` is sent.
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

    /// Says where the server is, up to and with its `/v1`. A slash at the end does not matter.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = url.as_ref().trim().trim_end_matches('/').into();
        self
    }

    /// Says what stands before questions and before documents, for models that want it, such as `query: ` and `passage: `. They
    /// are a part of [`Embedder::id`].
    #[must_use]
    pub fn prefixes(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        self.model = self.model.with_prefixes(query.into(), document.into());
        self
    }

    /// Says what it costs, where the built-in [`PriceTable`] does not know it or knows it wrong.
    #[must_use]
    pub fn price(mut self, price: Price) -> Self {
        self.model.price = Some(price);
        self
    }

    /// Says how long the provider may take: to connect, and [`Timeouts::first_content`] for a whole request. A question waits for five seconds
    /// at most.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.http = self.http.with_timeouts(timeouts);
        self
    }

    /// Lets through what the guard does, and nothing else: for a base URL that a tenant chose.
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
        let mut headers = Headers::default();
        if !self.api_key.is_empty() {
            let bearer = format!("Bearer {}", self.api_key.expose());
            headers.set("authorization", &bearer)?;
        }
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
        // They come in order; what counts is the index.
        data.sort_by_key(|item| item.index);
        if !data.iter().map(|item| item.index).eq(0..data.len()) {
            let what = "openai answered vectors whose indexes are not those of the texts";
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
    // Never null: some servers refuse that.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Vec<Item>,
    /// Compatible servers leave it out.
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
                "openai answered a vector that is no base64 of numbers",
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
