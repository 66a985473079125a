//! The clients: a bare HTTP client that reads bytes, the backend without a pool, and pools around it.

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

/// The question of all clients, about 500 bytes.
pub const QUESTION: &str = include_str!("question.txt");

/// The timeout of a call.
const WITHIN: Duration = Duration::from_secs(30);

/// A bare HTTP client. It only checks that it received enough bytes.
#[derive(Clone, Debug)]
pub struct Raw {
    client: reqwest::Client,
    url: String,
    key: String,
    body: Arc<[u8]>,
    least: usize,
}

impl Raw {
    /// Creates a client for a base URL that ends with `/v1`.
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

    /// Sends the request, and reads the response to the end.
    ///
    /// # Errors
    /// Another status than 200, fewer bytes than expected, and errors of the connection.
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

/// The backend, or a pool of backends, with a budget for each call.
#[derive(Clone, Debug)]
pub struct Model {
    backend: Arc<dyn LlmBackend>,
    asked: Answer,
    tenant: TenantId,
    calls: Arc<AtomicU64>,
}

impl Model {
    /// Creates a client of the backend without a pool.
    ///
    /// # Errors
    /// The price table lacks the model whose price is used.
    pub fn alone(url: &str, asked: Answer) -> Result<Self, Failed> {
        Ok(Self::new(Arc::new(backend(url, asked, 0)?), asked))
    }

    /// Creates a client of a pool of equal backends, each with its own key.
    ///
    /// # Errors
    /// As [`Model::alone`].
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

    /// Makes a call, and reads every event.
    ///
    /// # Errors
    /// Errors of the call, and missing words.
    pub async fn ask(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let request = ModelRequest::default().with(|it| {
            it.messages = vec![ModelMessage::text(Role::User, QUESTION)];
            it.max_tokens = 500;
        });
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
