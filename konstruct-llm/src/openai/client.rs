//! The backend: its configuration and its calls over either API.

use async_trait::async_trait;
use konstruct_core::http::{Guard, Headers};
use konstruct_core::{
    LlmBackend, Result, Secret,
    llm::{Ability, CallContext, ModelInfo, ModelRequest, ModelStream},
    money::Price,
};
use serde::Serialize;

use super::{
    chat::{self, Chat},
    error::refused,
    model::Family,
    responses::{self, Responses},
    wire::Models,
};
use crate::{
    catalog::Catalog,
    codec::Wire,
    http::{Get, Http, Post, Timeouts, describe, without_slash},
    price::PriceTable,
    text_filter::Tools,
};

pub(crate) const OFFICIAL: &str = "https://api.openai.com/v1";
/// The maximum size of the model list, in bytes. OpenRouter's is half a mebibyte.
const LIST: usize = 16 << 20;

/// A model behind OpenAI's Chat Completions or [Responses](OpenAi::responses), or behind a compatible server such as vLLM, llama.cpp,
/// OpenRouter or LiteLLM.
///
/// Abilities are derived from the model name, see [`OpenAi::abilities`]. On the Chat Completions API:
/// * The token limit is sent as `max_completion_tokens` to OpenAI itself, and for its reasoning models (`gpt-5` and later, `o1`,
///   `o3`, `o4`) on any server, because these reject `max_tokens`. Otherwise it is sent as `max_tokens`, the only name that older
///   compatible servers know.
/// * Reasoning models accept no temperature, which is omitted, and no [`ModelRequest::stop`], which is rejected as unsupported.
///   [`Effort::Off`](konstruct_core::llm::Effort::Off) is the lowest effort that the model supports; no effort is sent to a model
///   that does not think.
/// * Reasoning is not sent back, except reasoning that Anthropic signed behind a LiteLLM proxy.
/// * OpenAI caches the beginning of a request automatically: [`ModelRequest::cache`] is not sent.
///
/// ```
/// use konstruct_core::{LlmBackend, Secret};
/// use konstruct_llm::OpenAi;
///
/// let model = OpenAi::new(Secret::new("sk-1"), "gpt-4.1-mini").base_url("http://127.0.0.1:8000/v1/");
/// assert_eq!(model.describe().provider, "openai");
/// ```
#[derive(Clone, Debug)]
pub struct OpenAi {
    info: ModelInfo,
    api_key: Secret,
    base_url: String,
    http: Http,
    api: Api,
}

/// The API that the client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Chat,
    Responses,
}

/// Returns the headers with an API key, if there is one.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a key that cannot be a header.
pub(crate) fn authorization(api_key: &Secret) -> Result<Headers> {
    let mut headers = Headers::default();
    if !api_key.is_empty() {
        let bearer = format!("Bearer {}", api_key.expose());
        headers.set("authorization", &bearer)?;
    }
    Ok(headers)
}

impl OpenAi {
    /// Creates a client for a model at `https://api.openai.com/v1`, with its price from the built-in table. Without an API key no
    /// `authorization` header is sent, which suits local servers.
    pub fn new(api_key: Secret, model: impl Into<String>) -> Self {
        let mut info = ModelInfo::new("openai", model);
        info.price = PriceTable::built_in().price("openai", &info.model);
        let family = Family::of(&info.model);
        info.can = family.can();
        info.context_window = family.context_window();
        describe(&mut info, OFFICIAL, api_key.expose());
        Self {
            info,
            api_key,
            base_url: OFFICIAL.into(),
            http: Http::new(Timeouts::default()),
            api: Api::Chat,
        }
    }

    /// Switches to the Responses API. It returns encrypted reasoning and accepts it back, so that the model need not repeat it.
    /// The provider stores nothing. This API has no [`ModelRequest::stop`] and no audio input: both are rejected as unsupported.
    #[must_use]
    pub fn responses(mut self) -> Self {
        self.api = Api::Responses;
        self
    }

    /// Sets the server's URL, including its `/v1`. A trailing slash is ignored.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = without_slash(url);
        describe(&mut self.info, &self.base_url, self.api_key.expose());
        self
    }

    /// Sets the price, if the table does not know the model or the server charges differently.
    #[must_use]
    pub fn price(mut self, price: Price) -> Self {
        self.info.price = Some(price);
        self
    }

    /// Sets the complete list of abilities, if the name is not enough. A model with an unknown name is assumed to call tools and
    /// nothing else.
    #[must_use]
    pub fn abilities(mut self, can: impl IntoIterator<Item = Ability>) -> Self {
        self.info.can = can.into_iter().collect();
        self
    }

    /// Sets the maximum number of input and output tokens together, if the name is not enough.
    #[must_use]
    pub fn context_window(mut self, tokens: u64) -> Self {
        self.info.context_window = Some(tokens);
        self
    }

    /// Sets the timeouts.
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

    async fn ask<W: Wire>(
        &self,
        path: &str,
        body: &impl Serialize,
        tools: Tools,
        call: &CallContext,
    ) -> Result<ModelStream> {
        let mut headers = authorization(&self.api_key)?;
        headers.set("idempotency-key", &call.idempotency_key)?;
        let post = Post {
            url: format!("{}{path}", self.base_url),
            headers,
            body,
            refused,
        };
        self.http.stream::<W>(post, &self.info, tools, call).await
    }
}

#[async_trait]
impl LlmBackend for OpenAi {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, asked: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        asked.check(&self.info)?;
        let asked = asked.told();
        match self.api {
            Api::Chat => {
                let official = self.base_url == OFFICIAL;
                let body = chat::request(&self.info, official, &asked)?;
                let tools = Tools::of(&asked);
                self.ask::<Chat>("/chat/completions", &body, tools, call)
                    .await
            }
            Api::Responses => {
                let body = responses::request(&self.info, &asked)?;
                let tools = Tools::of(&asked);
                self.ask::<Responses>("/responses", &body, tools, call)
                    .await
            }
        }
    }
}

#[async_trait]
impl Catalog for OpenAi {
    async fn models(&self) -> Result<Vec<String>> {
        let get = Get {
            provider: "openai",
            url: format!("{}/models", self.base_url),
            query: Vec::new(),
            headers: authorization(&self.api_key)?,
            refused,
        };
        let list: Models = self.http.get(get, LIST).await?;
        Ok(list.data.into_iter().map(|listed| listed.id).collect())
    }
}
