//! The backend: where it posts, and what its refusals mean.

use async_trait::async_trait;
use konstruct_core::http::{Guard, Headers};
use konstruct_core::{
    Error, ErrorKind, LlmBackend, Result, Secret,
    llm::{Ability, CallContext, ModelInfo, ModelRequest, ModelStream},
    money::Price,
};

use super::{
    answer::Messages,
    model::Line,
    request::request,
    wire::{ErrorBody, ErrorDocument, Page},
};
use crate::{
    catalog::Catalog,
    http::{Get, Http, Post, ProviderError, Refusal, Timeouts, describe},
    price::PriceTable,
};

/// Where Anthropic is.
const OFFICIAL: &str = "https://api.anthropic.com";
/// The most bytes of a page of the list of models.
const PAGE: usize = 4 << 20;
/// The most pages of it that are read.
const PAGES: usize = 100;

/// A model behind Anthropic's Messages.
///
/// What it can do goes by its name, see [`Anthropic::abilities`]. So does how it is told to think: by an effort from Claude 4.6 on, and by
/// a budget before, of at most half of [`ModelRequest::max_tokens`] and not at all below 2,048 of these. Where it must call a tool it does
/// not think, nor by a budget in the midst of calls that it made without a thought of its own. Fable and Mythos cannot be told not to
/// think; for them that is a low effort. A temperature is not sent to a model that thinks, nor from Claude 4.7 on: the wire refuses it.
///
/// With [`ModelRequest::cache`] the tools, the system text and the messages before what a person said last are marked to be cached; and
/// what they said last, unless a context is added to it that only this request has.
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
        let line = Line::of(&info.model);
        info.can = line.can();
        info.context_window = line.context_window();
        describe(&mut info, OFFICIAL, api_key.expose());
        Self {
            info,
            api_key,
            base_url: OFFICIAL.into(),
            http: Http::new(Timeouts::default()),
        }
    }

    /// Says where the server is, with or without a slash or `/v1` at the end.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        let url = url.as_ref().trim().trim_end_matches('/');
        self.base_url = url.strip_suffix("/v1").unwrap_or(url).into();
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

    /// Returns the names of all models that the key may use.
    ///
    /// # Errors
    /// Those of [`LlmBackend::stream`]; [`ErrorKind::Protocol`] for a list that does not end.
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
        let message = "anthropic's list of models does not end";
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
        // What is said of this moment does not come again, but for the calls of this turn.
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
        self.http.stream::<Messages>(post, &self.info, call).await
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
    // The status says more than `invalid_request_error` where a gateway gives both, such as 402 or 413.
    let status = refusal.status >= 400;
    let typed = known(&error.r#type).filter(|kind| !(status && *kind == ErrorKind::InvalidInput));
    refusal.error("anthropic", typed, Some(said))
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
        "overloaded_error" => ErrorKind::Unavailable,
        // It failed at an unknown point, and tokens may have been billed.
        "api_error" | "timeout_error" => ErrorKind::Ambiguous,
        _ => return None,
    })
}
