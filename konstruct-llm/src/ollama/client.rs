//! The backend: where it posts, and what its refusals mean.

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
};

/// How many tokens of context a model gets unless told otherwise.
const CONTEXT: u32 = 8192;
/// Where Ollama listens unless told otherwise.
pub(super) const LOCAL: &str = "http://127.0.0.1:11434";

/// A model that runs on Ollama. It is free.
///
/// What it can do goes by its name; [`Ollama::measured`] asks Ollama itself. A model that thinks is told whether to, and GPT-OSS how much;
/// others are told nothing. One that is told not to, such as Qwen 3, may let a `</think>` slip into its text: the tag is taken out.
///
/// The wire knows no choice of tools. Where none may be called none are offered; that one must be called
/// ([`ToolChoice::Required`](konstruct_core::llm::ToolChoice)) or that only one may be at once is
/// [`ErrorKind::Unsupported`].
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
    /// A model of the Ollama at `http://127.0.0.1:11434`.
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

    /// Says where Ollama is, as `OLLAMA_HOST` does: a URL, or a host with or without a port.
    #[must_use]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.base_url = base_url(url.as_ref());
        self.described()
    }

    /// Sends a key, as an Ollama behind a gateway wants it.
    #[must_use]
    pub fn api_key(mut self, key: Secret) -> Self {
        self.api_key = Some(key);
        self.described()
    }

    /// Says how many tokens of context the model gets: 8192 unless told otherwise. A request that is longer is refused, not
    /// cut; another size loads the model anew.
    #[must_use]
    pub fn context(mut self, tokens: u32) -> Self {
        self.context = tokens;
        self.info.context_window = Some(tokens.into());
        self
    }

    /// Says all that it can do, where its name does not tell.
    #[must_use]
    pub fn abilities(mut self, can: impl IntoIterator<Item = Ability>) -> Self {
        self.info.can = can.into_iter().collect();
        self
    }

    /// Says how long the model may take.
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

/// Makes a base URL of what people write into `OLLAMA_HOST`.
pub(super) fn base_url(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    if host.contains("://") {
        return host.into();
    }
    // A server's "listen on every address" is not one to call.
    let host = host.replace("0.0.0.0", "127.0.0.1");
    if host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        return format!("http://{host}");
    }
    format!("http://{host}:11434")
}

/// Asks an Ollama which models it has. Answers within two seconds.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when nothing answers there; [`ErrorKind::Protocol`] when what answers is no Ollama.
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
                Error::new(ErrorKind::Unavailable, "no answer in time").with_source(error)
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
        self.http.stream::<Lines>(post, &self.info, call).await
    }
}

/// The status tells all: Ollama's errors have no type.
pub(super) fn refused(refusal: &Refusal) -> Error {
    let said = serde_json::from_slice(&refusal.body)
        .ok()
        .map(|ErrorDocument { error }| ProviderError::new("", error.text()));
    refusal.error("ollama", None, said)
}

/// Makes an error of one that came in the stream.
pub(super) fn in_stream(error: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "ollama broke off")
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
