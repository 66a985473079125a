//! The backend: where it posts, and over which wire.

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
    http::{Get, Http, Post, Timeouts, describe},
    price::PriceTable,
};

pub(super) const OFFICIAL: &str = "https://api.openai.com/v1";
/// The most bytes of the list of models. OpenRouter's is half of one.
const LIST: usize = 16 << 20;

/// A model behind OpenAI's Chat Completions or [Responses](OpenAi::responses), or behind a compatible server such as vLLM, llama.cpp,
/// OpenRouter or LiteLLM.
///
/// What it can do goes by its name, see [`OpenAi::abilities`]. Of the Chat Completions wire:
/// * The token limit is sent as `max_completion_tokens` to OpenAI itself and for its reasoning models (`gpt-5` and later, `o1`, `o3`, `o4`)
///   wherever they are served, for these refuse `max_tokens`; and as `max_tokens` otherwise, the only name that older compatible servers know.
/// * Reasoning models take no temperature, which is left out, and no [`ModelRequest::stop`], which is refused as unsupported.
///   [`Effort::Off`](konstruct_core::llm::Effort::Off) is the least effort that the model knows; an effort is left out where a model does not think.
/// * What the model thought is not sent back, except what a LiteLLM proxy had Anthropic sign.
/// * OpenAI keeps the beginning of a request by itself: [`ModelRequest::cache`] is not sent.
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

/// Which wire it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Chat,
    Responses,
}

impl OpenAi {
    /// A model of `https://api.openai.com/v1`, at its price of the built-in table. Without an API key no `authorization` is
    /// sent, as local servers like it.
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

    /// Speaks the Responses wire, which gives what a model thought encrypted and takes it back, so that it need not think it again. Nothing
    /// is stored at the provider. There is no [`ModelRequest::stop`] and no recording on this wire: both are refused as unsupported.
    #[must_use]
    pub fn responses(mut self) -> Self {
        self.api = Api::Responses;
        self
    }

    /// Says where the server is, up to and with its `/v1`. A slash at the end does not matter.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = url.as_ref().trim().trim_end_matches('/').into();
        describe(&mut self.info, &self.base_url, self.api_key.expose());
        self
    }

    /// Says what it costs, where the table does not know or the server charges otherwise.
    #[must_use]
    pub fn price(mut self, price: Price) -> Self {
        self.info.price = Some(price);
        self
    }

    /// Says all that it can do, where its name does not tell: of a name that is not known, that it calls tools.
    #[must_use]
    pub fn abilities(mut self, can: impl IntoIterator<Item = Ability>) -> Self {
        self.info.can = can.into_iter().collect();
        self
    }

    /// Says how many tokens input and output may have together, where its name does not tell.
    #[must_use]
    pub fn context_window(mut self, tokens: u64) -> Self {
        self.info.context_window = Some(tokens);
        self
    }

    /// Says how long the provider may take.
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

    fn headers(&self) -> Result<Headers> {
        let mut headers = Headers::default();
        if !self.api_key.is_empty() {
            let bearer = format!("Bearer {}", self.api_key.expose());
            headers.set("authorization", &bearer)?;
        }
        Ok(headers)
    }

    async fn ask<W: Wire>(
        &self,
        path: &str,
        body: &impl Serialize,
        call: &CallContext,
    ) -> Result<ModelStream> {
        let mut headers = self.headers()?;
        headers.set("idempotency-key", &call.idempotency_key)?;
        let post = Post {
            url: format!("{}{path}", self.base_url),
            headers,
            body,
            refused,
        };
        self.http.stream::<W>(post, &self.info, call).await
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
                self.ask::<Chat>("/chat/completions", &body, call).await
            }
            Api::Responses => {
                let body = responses::request(&self.info, &asked)?;
                self.ask::<Responses>("/responses", &body, call).await
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
            headers: self.headers()?,
            refused,
        };
        let list: Models = self.http.get(get, LIST).await?;
        Ok(list.data.into_iter().map(|listed| listed.id).collect())
    }
}
