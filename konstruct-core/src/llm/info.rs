//! The model of a backend and its abilities.

use std::collections::BTreeSet;

use crate::money::Price;

/// A model and its abilities.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The provider's OpenTelemetry name: `openai`, `anthropic`, `ollama`, `extract`.
    pub provider: String,
    /// The provider's name of the model.
    pub model: String,
    /// The server as `host:port`; `None` if there is none.
    pub server: Option<String>,
    /// The provider's name and a fingerprint of the credential, such as `openai/1a2b3c4d`. Reasoning that was signed or encrypted
    /// for one origin cannot be used with another.
    pub origin: Option<String>,
    /// What the model can do.
    pub can: BTreeSet<Ability>,
    /// The maximum number of tokens of input and output together, if known.
    pub context_window: Option<u64>,
    /// The most passages of documents that the model is shown with a question.
    pub passages: usize,
    /// The price; `None` if unknown, which does not mean free.
    pub price: Option<Price>,
}

impl ModelInfo {
    /// Creates a model that can call tools and whose price is unknown.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            server: None,
            origin: None,
            can: BTreeSet::from([Ability::Tools]),
            context_window: None,
            passages: 8,
            price: None,
        }
    }

    /// Sets the price.
    #[must_use]
    pub fn with_price(mut self, price: Price) -> Self {
        self.price = Some(price);
        self
    }

    /// Sets the most passages that the model is shown. The default is 8.
    #[must_use]
    pub fn with_passages(mut self, passages: usize) -> Self {
        self.passages = passages;
        self
    }

    /// Sets the server, as `host:port`.
    #[must_use]
    pub fn with_server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Sets the origin of signed reasoning, see [`ModelInfo::origin`].
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Replaces all abilities.
    #[must_use]
    pub fn with_abilities(mut self, can: impl IntoIterator<Item = Ability>) -> Self {
        self.can = can.into_iter().collect();
        self
    }

    /// Sets the most tokens of input and output together.
    #[must_use]
    pub fn with_context_window(mut self, tokens: u64) -> Self {
        self.context_window = Some(tokens);
        self
    }
}

/// An ability that not every model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// The model calls tools.
    Tools,
    /// The model accepts images.
    Images,
    /// The model accepts audio.
    Audio,
    /// The model answers according to a JSON Schema.
    Schema,
    /// The model reasons before it answers.
    Reasoning,
}
