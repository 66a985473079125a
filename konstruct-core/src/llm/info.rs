//! Which model a backend is, and what it can do.

use std::collections::BTreeSet;

use crate::money::Price;

/// Which model, and what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The provider, by its OpenTelemetry name: `openai`, `anthropic`, `ollama`, `extract`.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// Where it is asked, as `host:port`; `None` where nothing is asked.
    pub server: Option<String>,
    /// Who is asked with which credential: the provider's name and a fingerprint, such as `openai/1a2b3c4d`. Reasoning that was signed or
    /// encrypted for one origin means nothing to another.
    pub origin: Option<String>,
    /// What it can do.
    pub can: BTreeSet<Ability>,
    /// The most tokens of input and output together, if that is known.
    pub context_window: Option<u64>,
    /// What it costs. `None`: unknown, which is not free.
    pub price: Option<Price>,
}

impl ModelInfo {
    /// A model that calls tools and whose price is unknown.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            server: None,
            origin: None,
            can: BTreeSet::from([Ability::Tools]),
            context_window: None,
            price: None,
        }
    }

    /// Says what it costs.
    #[must_use]
    pub fn with_price(mut self, price: Price) -> Self {
        self.price = Some(price);
        self
    }

    /// Says where it is asked, as `host:port`.
    #[must_use]
    pub fn with_server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Says who signs its reasoning, see [`ModelInfo::origin`].
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Says all that it can do.
    #[must_use]
    pub fn with_abilities(mut self, can: impl IntoIterator<Item = Ability>) -> Self {
        self.can = can.into_iter().collect();
        self
    }

    /// Says how many tokens input and output may have together.
    #[must_use]
    pub fn with_context_window(mut self, tokens: u64) -> Self {
        self.context_window = Some(tokens);
        self
    }
}

/// Something that not every model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// Calls tools.
    Tools,
    /// Takes images.
    Images,
    /// Takes audio.
    Audio,
    /// Answers by a JSON Schema.
    Schema,
    /// Thinks before it answers.
    Reasoning,
}
