//! Providers by their name in the configuration and in the admin API.

use std::{fmt, str::FromStr, sync::Arc};

use konstruct_core::{Error, LlmBackend, Result, Secret, http::Guard};
use konstruct_llm::{Anthropic, Ollama, OpenAi, PriceTable};
use serde::{Deserialize, Serialize};

/// A provider of language models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Provider {
    Anthropic,
    /// Chat Completions, and compatible servers.
    #[serde(rename = "openai")]
    OpenAi,
    #[serde(rename = "openai_responses")]
    OpenAiResponses,
    Ollama,
}

impl Provider {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::OpenAiResponses => "openai_responses",
            Self::Ollama => "ollama",
        }
    }

    /// Returns the vendor's name in the price table and the ledger.
    fn vendor(self) -> &'static str {
        match self {
            Self::OpenAiResponses => Self::OpenAi.name(),
            other => other.name(),
        }
    }

    /// Creates a backend. Without a base URL, the provider's official URL is used.
    pub(crate) fn backend(
        self,
        (model, api_key, base_url): (&str, &Secret, Option<&str>),
        prices: &PriceTable,
        guard: Option<&Guard>,
    ) -> Arc<dyn LlmBackend> {
        // The backends use the built-in prices by default.
        let price = prices.price(self.vendor(), model);
        macro_rules! made {
            ($backend:expr) => {{
                let mut backend = $backend;
                if let Some(url) = base_url {
                    backend = backend.base_url(url);
                }
                if let Some(guard) = guard {
                    backend = backend.guarded(guard.clone());
                }
                backend
            }};
        }
        match self {
            Self::Anthropic => {
                let backend = made!(Anthropic::new(api_key.clone(), model));
                Arc::new(match price {
                    Some(price) => backend.price(price),
                    None => backend,
                })
            }
            Self::OpenAi | Self::OpenAiResponses => {
                let mut backend = made!(OpenAi::new(api_key.clone(), model));
                if self == Self::OpenAiResponses {
                    backend = backend.responses();
                }
                Arc::new(match price {
                    Some(price) => backend.price(price),
                    None => backend,
                })
            }
            Self::Ollama => {
                let backend = made!(Ollama::new(model));
                Arc::new(if api_key.is_empty() {
                    backend
                } else {
                    backend.api_key(api_key.clone())
                })
            }
        }
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [
            Self::Anthropic,
            Self::OpenAi,
            Self::OpenAiResponses,
            Self::Ollama,
        ]
        .into_iter()
        .find(|provider| provider.name() == name)
        .ok_or_else(|| {
            Error::invalid(
                "provider",
                "must be `anthropic`, `openai`, `openai_responses` or `ollama`",
            )
        })
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
