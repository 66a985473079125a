//! The backend: where it posts, and what its refusals mean.

use async_trait::async_trait;
use konstruct_core::{
    CallContext, Error, ErrorKind, LlmBackend, ModelInfo, ModelRequest, ModelStream, Price, Result,
    Secret,
};
use reqwest::header::HeaderMap;

use super::{
    convert::{Chat, Limit, request},
    wire::{ErrorBody, ErrorDocument},
};
use crate::{
    guard::Guard,
    http::{Http, Post, ProviderError, Refusal, Timeouts, describe, header},
    price::PriceTable,
};

pub(super) const OFFICIAL: &str = "https://api.openai.com/v1";

/// A model behind OpenAI's Chat Completions, or behind a compatible server such as vLLM, llama.cpp, OpenRouter or LiteLLM.
///
/// The token limit is sent as `max_completion_tokens` to OpenAI itself and for its reasoning models (`gpt-5` and later,
/// `o1`, `o3`, `o4`) wherever they are served, for these refuse `max_tokens`; and as `max_tokens` otherwise, the only name that older
/// compatible servers know.
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
}

impl OpenAi {
    /// A model of `https://api.openai.com/v1`, at its price of the built-in table. Without an API key no `authorization` is
    /// sent, as local servers like it.
    pub fn new(api_key: Secret, model: impl Into<String>) -> Self {
        let mut info = ModelInfo::new("openai", model);
        info.price = PriceTable::built_in().price("openai", &info.model);
        describe(&mut info, OFFICIAL, api_key.expose());
        Self {
            info,
            api_key,
            base_url: OFFICIAL.into(),
            http: Http::new(Timeouts::default()),
        }
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
}

#[async_trait]
impl LlmBackend for OpenAi {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, asked: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        asked.check(&self.info)?;
        let mut headers = HeaderMap::new();
        if !self.api_key.is_empty() {
            let bearer = format!("Bearer {}", self.api_key.expose());
            header(&mut headers, "authorization", &bearer)?;
        }
        header(&mut headers, "idempotency-key", &call.idempotency_key)?;
        let limit = Limit::of(&self.info.model, self.base_url == OFFICIAL);
        let post = Post {
            provider: "openai",
            model: &self.info.model,
            url: format!("{}/chat/completions", self.base_url),
            headers,
            body: &request(&self.info.model, limit, &asked),
            refused,
        };
        self.http.stream::<Chat>(post, &self.info, call).await
    }
}

pub(super) fn refused(refusal: &Refusal) -> Error {
    // The body's type is not looked at: OpenAI's 401 is JSON under `text/plain`.
    let Ok(ErrorDocument { error }) = serde_json::from_slice(&refusal.body) else {
        return refusal.error("openai", None, None);
    };
    let (typed, said) = read(&error);
    refusal.error("openai", typed, Some(said))
}

/// Makes an error of one that came in the stream, where there is no status to go by.
pub(super) fn in_stream(error: &ErrorBody) -> Error {
    let (kind, said) = read(error);
    let kind = kind.unwrap_or(ErrorKind::Unavailable);
    Error::new(kind, format!("openai broke off: {}", said.code)).with_source(said)
}

/// Reads a typed error: the kind that its code or type names, if it is a known one.
fn read(error: &ErrorBody) -> (Option<ErrorKind>, ProviderError) {
    let (code, kind, message) = match error {
        ErrorBody::Text(message) => return (None, ProviderError::new("", message)),
        ErrorBody::Object {
            message,
            r#type,
            code,
        } => (code, r#type.as_str(), message),
    };
    let number = code.as_u64().map(|code| code.to_string());
    let code = number.as_deref().or(code.as_str()).unwrap_or_default();
    let said = ProviderError::new(if code.is_empty() { kind } else { code }, message);
    (known(code).or_else(|| known(kind)), said)
}

fn known(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "insufficient_quota" | "billing_hard_limit_reached" | "402" => ErrorKind::QuotaExhausted,
        "rate_limit_exceeded" | "rate_limit_error" | "429" => ErrorKind::RateLimited,
        "invalid_api_key" | "authentication_error" | "401" => ErrorKind::Unauthorized,
        "model_not_found" | "404" => ErrorKind::NotFound,
        "context_length_exceeded" | "exceed_context_size_error" => ErrorKind::TooLarge,
        "not_supported_error" => ErrorKind::Unsupported,
        "server_error" | "overloaded_error" | "500" | "502" | "503" => ErrorKind::Unavailable,
        _ => return None,
    })
}
