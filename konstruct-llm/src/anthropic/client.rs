//! The backend: where it posts, and what its refusals mean.

use async_trait::async_trait;
use konstruct_core::{
    CallContext, Error, ErrorKind, LlmBackend, ModelInfo, ModelRequest, ModelStream, Price, Result,
    Secret,
};
use reqwest::header::HeaderMap;

use super::{
    convert::{Messages, request},
    wire::{ErrorBody, ErrorDocument},
};
use crate::{
    guard::Guard,
    http::{Http, Post, ProviderError, Refusal, Timeouts, header},
    price::PriceTable,
};

/// A model behind Anthropic's Messages.
///
/// ```
/// use konstruct_core::{LlmBackend, Secret};
/// use konstruct_llm::Anthropic;
///
/// let model = Anthropic::new(Secret::new("sk-ant-1"), "claude-sonnet-5-5");
/// assert!(model.describe().price.is_some());
/// ```
#[derive(Clone, Debug)]
pub struct Anthropic {
    info: ModelInfo,
    api_key: Secret,
    base_url: String,
    http: Http,
}

impl Anthropic {
    /// A model of `https://api.anthropic.com`, at its price of the built-in table.
    pub fn new(api_key: Secret, model: impl Into<String>) -> Self {
        let mut info = ModelInfo::new("anthropic", model);
        info.price = PriceTable::built_in().price("anthropic", &info.model);
        Self {
            info,
            api_key,
            base_url: "https://api.anthropic.com".into(),
            http: Http::new(Timeouts::default()),
        }
    }

    /// Says where the server is, with or without a slash or `/v1` at the end.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        let url = url.as_ref().trim().trim_end_matches('/');
        self.base_url = url.strip_suffix("/v1").unwrap_or(url).into();
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
impl LlmBackend for Anthropic {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, asked: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        asked.check(&self.info)?;
        let mut headers = HeaderMap::new();
        header(&mut headers, "x-api-key", self.api_key.expose())?;
        header(&mut headers, "anthropic-version", "2023-06-01")?;
        header(&mut headers, "idempotency-key", &call.idempotency_key)?;
        let post = Post {
            provider: "anthropic",
            model: &self.info.model,
            url: format!("{}/v1/messages", self.base_url),
            headers,
            body: &request(&self.info.model, &asked),
            refused,
        };
        self.http.stream::<Messages>(post, &self.info, call).await
    }
}

fn refused(refusal: &Refusal) -> Error {
    let Ok(ErrorDocument { error }) = serde_json::from_slice(&refusal.body) else {
        return refusal.error("anthropic", None, None);
    };
    let said = ProviderError::new(&error.r#type, &error.message);
    refusal.error("anthropic", known(&error.r#type), Some(said))
}

/// Makes an error of one that came in the stream, where there is no status to go by.
pub(super) fn in_stream(error: &ErrorBody) -> Error {
    let said = ProviderError::new(&error.r#type, &error.message);
    let kind = known(&error.r#type).unwrap_or(ErrorKind::Unavailable);
    Error::new(kind, format!("anthropic broke off: {}", said.code)).with_source(said)
}

fn known(kind: &str) -> Option<ErrorKind> {
    Some(match kind {
        "invalid_request_error" => ErrorKind::InvalidInput,
        "authentication_error" => ErrorKind::Unauthorized,
        "billing_error" => ErrorKind::QuotaExhausted,
        "permission_error" => ErrorKind::Forbidden,
        "not_found_error" => ErrorKind::NotFound,
        "request_too_large" => ErrorKind::TooLarge,
        "rate_limit_error" => ErrorKind::RateLimited,
        "api_error" | "timeout_error" | "overloaded_error" => ErrorKind::Unavailable,
        _ => return None,
    })
}
