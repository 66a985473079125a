//! The backend: its configuration, its calls and its error classification.

use async_trait::async_trait;
use konstruct_core::http::{Guard, Headers};
use konstruct_core::{
    Error, ErrorKind, LlmBackend, Result, Secret,
    llm::{Ability, CallContext, ModelInfo, ModelRequest, ModelStream},
    money::Price,
};

use super::{
    answer::Messages,
    model::ClaudeModel,
    request::request,
    wire::{ErrorBody, ErrorDocument, Page},
};
use crate::{
    catalog::Catalog,
    http::{Get, Http, Post, ProviderError, Refusal, Timeouts, describe},
    price::PriceTable,
    text_filter::Tools,
};

/// The official API.
const OFFICIAL: &str = "https://api.anthropic.com";
/// The maximum size of one page of the model list, in bytes.
const PAGE: usize = 4 << 20;
/// The maximum number of pages read.
const PAGES: usize = 100;

/// A model behind Anthropic's Messages API.
///
/// Abilities are derived from the model name, see [`Anthropic::abilities`]. So is the thinking mode: an effort from Claude 4.6
/// on, and a budget before, of at most half of [`ModelRequest::max_tokens`]; below 2,048 tokens of these, a budget model does not
/// think. Thinking is off when the model must call a tool. A budget model also does not start to think between tool calls that it
/// made without thinking. Thinking of Fable and Mythos cannot be disabled; they get a low effort instead. No temperature is sent
/// to a model that thinks, nor from Claude 4.7 on, because the API rejects it.
///
/// With [`ModelRequest::cache`], cache breakpoints are set on the tools, the system text, and the messages before the last user
/// message. The last user message gets one too, unless it carries context that belongs only to this request.
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
    /// Creates a client for a model at `https://api.anthropic.com`, with its price from the built-in table.
    pub fn new(api_key: Secret, model: impl Into<String>) -> Self {
        let mut info = ModelInfo::new("anthropic", model);
        info.price = PriceTable::built_in().price("anthropic", &info.model);
        let claude = ClaudeModel::of(&info.model);
        info.can = claude.abilities();
        info.context_window = claude.context_window();
        describe(&mut info, OFFICIAL, api_key.expose());
        Self {
            info,
            api_key,
            base_url: OFFICIAL.into(),
            http: Http::new(Timeouts::default()),
        }
    }

    /// Sets the server's URL, with or without a trailing slash or `/v1`.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        let url = url.as_ref().trim().trim_end_matches('/');
        self.base_url = url.strip_suffix("/v1").unwrap_or(url).into();
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

    /// Returns the names of all models available to the API key.
    ///
    /// # Errors
    /// The errors of [`LlmBackend::stream`]; [`ErrorKind::Protocol`] if the list has too many pages.
    pub async fn models(&self) -> Result<Vec<String>> {
        let mut models: Vec<String> = Vec::new();
        for _ in 0..PAGES {
            let mut query = vec![("limit", "1000".to_owned())];
            query.extend(models.last().map(|last| ("after_id", last.clone())));
            let get = Get {
                provider: "anthropic",
                url: format!("{}/v1/models", self.base_url),
                query,
                headers: self.headers()?,
                refused,
            };
            let page: Page = self.http.get(get, PAGE).await?;
            let more = page.has_more && !page.data.is_empty();
            models.extend(page.data.into_iter().map(|listed| listed.id));
            if !more {
                return Ok(models);
            }
        }
        let message = "anthropic's model list has too many pages";
        Err(Error::new(ErrorKind::Protocol, message))
    }

    fn headers(&self) -> Result<Headers> {
        let mut headers = Headers::default();
        headers.set("x-api-key", self.api_key.expose())?;
        headers.set("anthropic-version", "2023-06-01")?;
        Ok(headers)
    }
}

#[async_trait]
impl LlmBackend for Anthropic {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, asked: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        asked.check(&self.info)?;
        // Context of this moment is not repeated in the next request, except for the tool calls of this turn.
        let comes_again =
            asked.context.is_empty() && asked.passages.is_empty() || !asked.tools.is_empty();
        let asked = asked.told();
        let body = request(&self.info, &asked, comes_again)?;
        let mut headers = self.headers()?;
        headers.set("idempotency-key", &call.idempotency_key)?;
        let post = Post {
            url: format!("{}/v1/messages", self.base_url),
            headers,
            body: &body,
            refused,
        };
        let tools = Tools::of(&asked);
        self.http
            .stream::<Messages>(post, &self.info, tools, call)
            .await
    }
}

#[async_trait]
impl Catalog for Anthropic {
    async fn models(&self) -> Result<Vec<String>> {
        Self::models(self).await
    }
}

fn refused(refusal: &Refusal) -> Error {
    let Ok(ErrorDocument { error }) = serde_json::from_slice(&refusal.body) else {
        return refusal.error("anthropic", None, None);
    };
    let said = ProviderError::new(&error.r#type, &error.message);
    // The status is more precise than `invalid_request_error` where a gateway sends both, such as 402 or 413.
    let status = refusal.status >= 400;
    let typed =
        error_kind(&error.r#type).filter(|kind| !(status && *kind == ErrorKind::InvalidInput));
    refusal.error("anthropic", typed, Some(said))
}

/// Converts an error event inside a stream, which has no status code.
pub(super) fn in_stream(error: &ErrorBody) -> Error {
    let said = ProviderError::new(&error.r#type, &error.message);
    let kind = error_kind(&error.r#type).unwrap_or(ErrorKind::Unavailable);
    Error::new(kind, format!("anthropic aborted the stream: {}", said.code)).with_source(said)
}

fn error_kind(kind: &str) -> Option<ErrorKind> {
    Some(match kind {
        "invalid_request_error" => ErrorKind::InvalidInput,
        "authentication_error" => ErrorKind::Unauthorized,
        "billing_error" => ErrorKind::QuotaExhausted,
        "permission_error" => ErrorKind::Forbidden,
        "not_found_error" => ErrorKind::NotFound,
        "request_too_large" => ErrorKind::TooLarge,
        "rate_limit_error" => ErrorKind::RateLimited,
        "overloaded_error" => ErrorKind::Unavailable,
        // The request failed at an unknown point; tokens may have been billed.
        "api_error" | "timeout_error" => ErrorKind::Ambiguous,
        _ => return None,
    })
}
