//! Who asks: a bare HTTP client that reads bytes, the backend alone, and pools around it.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use konstruct_core::{
    LlmBackend, NanoUsd, Secret, TenantId,
    limit::LocalBudget,
    llm::{CallContext, ModelEvent, ModelMessage, ModelRequest, Role},
};
use konstruct_llm::{Deployment, OpenAi, Pool, PriceTable};
use serde_json::json;

use super::load::Answer;
use crate::Failed;

/// What is asked, some 500 bytes: the same by everybody.
pub const QUESTION: &str = include_str!("question.txt");

/// How long a call may take.
const WITHIN: Duration = Duration::from_secs(30);

/// A bare HTTP client. It knows nothing of what it reads, but that there is enough of it.
#[derive(Clone, Debug)]
pub struct Raw {
    client: reqwest::Client,
    url: String,
    key: String,
    body: Arc<[u8]>,
    least: usize,
}

impl Raw {
    /// Asks at a base URL, up to and with its `/v1`.
    pub fn new(client: reqwest::Client, url: &str, key: &str, model: &str, asked: Answer) -> Self {
        let mut body = json!({
            "model": model, "max_tokens": 500, "stream": asked.stream,
            "messages": [{"role": "user", "content": QUESTION}],
        });
        if asked.stream {
            body["stream_options"] = json!({"include_usage": true});
        }
        Self {
            client,
            url: format!("{url}/chat/completions"),
            key: format!("Bearer {key}"),
            body: body.to_string().into_bytes().into(),
            least: asked.words * if asked.stream { 100 } else { 5 },
        }
    }

    /// Asks, and reads to the end.
    ///
    /// # Errors
    /// Another status than 200, fewer bytes than there must be, and what the connection says.
    pub async fn ask(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let request = self
            .client
            .post(&self.url)
            .header("authorization", &self.key)
            .header("content-type", "application/json")
            .body(self.body.to_vec());
        let mut response = request.send().await?;
        let status = response.status();
        let (mut read, mut last) = (0, None);
        while let Some(bytes) = response.chunk().await? {
            read += bytes.len();
            last = Some(bytes);
        }
        if status != 200 || read < self.least {
            let last = last.as_deref().map(String::from_utf8_lossy);
            return Err(format!("status {status}, {read} bytes: {last:?}").into());
        }
        Ok(())
    }
}

/// The backend, or a pool of it, with a budget for each call.
#[derive(Clone, Debug)]
pub struct Model {
    backend: Arc<dyn LlmBackend>,
    asked: Answer,
    tenant: TenantId,
    calls: Arc<AtomicU64>,
}

impl Model {
    /// The backend alone.
    ///
    /// # Errors
    /// When the price table lacks the model whose price stands in.
    pub fn alone(url: &str, asked: Answer) -> Result<Self, Failed> {
        Ok(Self::new(Arc::new(backend(url, asked, 0)?), asked))
    }

    /// A pool of equals, each with a key of its own.
    ///
    /// # Errors
    /// Those of [`Model::alone`].
    pub fn pool(url: &str, asked: Answer, deployments: usize) -> Result<Self, Failed> {
        let mut pool = Pool::builder();
        for number in 0..deployments {
            let backend = backend(url, asked, number)?;
            pool = pool.deployment(Deployment::new(format!("d{number}"), backend));
        }
        Ok(Self::new(Arc::new(pool.build()?), asked))
    }

    fn new(backend: Arc<dyn LlmBackend>, asked: Answer) -> Self {
        Self {
            backend,
            asked,
            tenant: TenantId::new(),
            calls: Arc::default(),
        }
    }

    /// Asks, and takes every event.
    ///
    /// # Errors
    /// Those of the call, and when words are missing.
    pub async fn ask(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let request = ModelRequest {
            messages: vec![ModelMessage::text(Role::User, QUESTION)],
            max_tokens: 500,
            ..ModelRequest::default()
        };
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let budget = Arc::new(LocalBudget::new(Some(NanoUsd(1_000_000_000))));
        let call =
            CallContext::new(self.tenant, format!("bench.m{number}"), WITHIN).with_budget(budget);
        let mut events = self.backend.stream(request, &call).await?;
        let (mut words, mut finished) = (0, false);
        while let Some(event) = events.next().await {
            match event? {
                ModelEvent::Text { .. } => words += 1,
                ModelEvent::Finish(_) => finished = true,
                _ => {}
            }
        }
        if words < self.asked.words || !finished {
            return Err(format!("{words} words, finished: {finished}").into());
        }
        Ok(())
    }
}

fn backend(url: &str, asked: Answer, number: usize) -> Result<OpenAi, Failed> {
    let price = PriceTable::built_in().price("openai", "gpt-4.1-mini");
    let model = OpenAi::new(Secret::new(format!("key-{number}")), asked.model())
        .base_url(format!("{url}/v1"))
        .price(price.ok_or("no price of gpt-4.1-mini")?);
    Ok(model)
}
