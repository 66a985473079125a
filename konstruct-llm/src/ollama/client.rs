//! The backend: its configuration, its calls and its error classification.

use std::time::Duration;

use async_trait::async_trait;
use konstruct_core::http::{Guard, Headers};
use konstruct_core::{
    Error, ErrorKind, LlmBackend, Result, Secret,
    llm::{Ability, CallContext, ModelInfo, ModelRequest, ModelStream},
    money::Price,
};

use super::{
    answer::Lines,
    local::LIST,
    model,
    request::request,
    wire::{ErrorDocument, Tags},
};
use crate::{
    catalog::Catalog,
    http::{Get, Http, Post, ProviderError, Refusal, Timeouts, describe},
    text_filter::Tools,
};

/// The default context length, in tokens.
const CONTEXT: u32 = 8192;
/// Ollama's default address.
pub(super) const LOCAL: &str = "http://127.0.0.1:11434";

/// A model that runs on Ollama. It is free.
///
/// Abilities are derived from the model name; [`Ollama::measured`] asks Ollama itself. For models that think, thinking is
/// switched on or off, and GPT-OSS gets a level; other models get no setting. A model with thinking disabled, such as Qwen 3, may
/// emit a stray `</think>` in its text; the tag is removed.
///
/// The API has no tool choice. If no tool may be called, no tools are sent. A required call
/// ([`ToolChoice::Required`](konstruct_core::llm::ToolChoice)) and a limit of one call at a time are [`ErrorKind::Unsupported`].
///
/// ```
/// use konstruct_core::{LlmBackend, money::Price};
/// use konstruct_llm::Ollama;
///
/// let model = Ollama::new("llama3.2").base_url("127.0.0.1:11434");
/// assert_eq!(model.describe().price, Some(Price::default()));
/// ```
#[derive(Clone, Debug)]
pub struct Ollama {
    pub(super) info: ModelInfo,
    api_key: Option<Secret>,
    pub(super) base_url: String,
    pub(super) context: u32,
    pub(super) http: Http,
}

impl Ollama {
    /// Creates a client for a model of the Ollama server at `http://127.0.0.1:11434`.
    pub fn new(model: impl Into<String>) -> Self {
        let mut info = ModelInfo::new("ollama", model).with_price(Price::default());
        info.can = model::can(&info.model);
        info.context_window = Some(CONTEXT.into());
        describe(&mut info, LOCAL, "");
        Self {
            info,
            api_key: None,
            base_url: LOCAL.into(),
            context: CONTEXT,
            http: Http::new(Timeouts::default().with_first_content(Duration::from_secs(300))),
        }
    }

    /// Sets the server's address in the form of `OLLAMA_HOST`: a URL, or a host with or without a port.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = base_url(url.as_ref());
        self.described()
    }

    /// Sets an API key, for an Ollama server behind a gateway.
    #[must_use]
    pub fn api_key(mut self, key: Secret) -> Self {
        self.api_key = Some(key);
        self.described()
    }

    /// Sets the context length in tokens; the default is 8192. A longer request is rejected, not truncated. Ollama reloads the
    /// model when the context length changes.
    #[must_use]
    pub fn context(mut self, tokens: u32) -> Self {
        self.context = tokens;
        self.info.context_window = Some(tokens.into());
        self
    }

    /// Sets the complete list of abilities, if the name is not enough.
    #[must_use]
    pub fn abilities(mut self, can: impl IntoIterator<Item = Ability>) -> Self {
        self.info.can = can.into_iter().collect();
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

    fn described(mut self) -> Self {
        let key = self.api_key.as_ref().map_or("", Secret::expose);
        describe(&mut self.info, &self.base_url, key);
        self
    }

    pub(super) fn headers(&self) -> Result<Headers> {
        let mut headers = Headers::default();
        if let Some(key) = &self.api_key {
            let bearer = format!("Bearer {}", key.expose());
            headers.set("authorization", &bearer)?;
        }
        Ok(headers)
    }
}

/// Converts a value in the form of `OLLAMA_HOST` into a base URL.
pub(super) fn base_url(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    if host.contains("://") {
        return host.into();
    }
    // The wildcard address of a listening server is not one to connect to.
    let host = host.replace("0.0.0.0", "127.0.0.1");
    if host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        return format!("http://{host}");
    }
    format!("http://{host}:11434")
}

/// Lists the models of an Ollama server. Returns within two seconds.
///
/// # Errors
/// [`ErrorKind::Unavailable`] if the server does not respond; [`ErrorKind::Protocol`] if it is not an Ollama server.
pub async fn probe(base_url: impl AsRef<str>) -> Result<Vec<String>> {
    let within = Duration::from_secs(2);
    let timeouts = Timeouts::default().with_connect(within);
    let get = Get {
        provider: "ollama",
        url: format!("{}/api/tags", self::base_url(base_url.as_ref())),
        query: Vec::new(),
        headers: Headers::default(),
        refused,
    };
    let http = Http::new(timeouts.with_first_content(within));
    let tags: Tags = http
        .get(get, LIST)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::Truncated => {
                Error::new(ErrorKind::Unavailable, "ollama did not respond in time")
                    .with_source(error)
            }
            _ => error,
        })?;
    Ok(tags.models.into_iter().map(|tag| tag.name).collect())
}

#[async_trait]
impl Catalog for Ollama {
    async fn models(&self) -> Result<Vec<String>> {
        Self::models(self).await
    }
}

#[async_trait]
impl LlmBackend for Ollama {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, asked: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        asked.check(&self.info)?;
        let asked = asked.told();
        let body = request(&self.info, self.context, &asked)?;
        let post = Post {
            url: format!("{}/api/chat", self.base_url),
            headers: self.headers()?,
            body: &body,
            refused,
        };
        let tools = Tools::of(&asked);
        self.http
            .stream::<Lines>(post, &self.info, tools, call)
            .await
    }
}

/// Classifies an error response by its status, because Ollama's errors have no type.
pub(super) fn refused(refusal: &Refusal) -> Error {
    let said = serde_json::from_slice(&refusal.body)
        .ok()
        .map(|ErrorDocument { error }| ProviderError::new("", error.text()));
    refusal.error("ollama", None, said)
}

/// Converts an error inside a stream.
pub(super) fn in_stream(error: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "ollama aborted the stream")
        .with_source(ProviderError::new("", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_people_write_them() {
        let check = |host, url| assert_eq!(base_url(host), url, "{host}");
        check("http://gpu:8000/", "http://gpu:8000");
        check("127.0.0.1:11434", "http://127.0.0.1:11434");
        check("0.0.0.0", "http://127.0.0.1:11434");
        check("gpu", "http://gpu:11434");
    }
}
