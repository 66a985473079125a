//! A tenant's own model at a provider.

use konstruct_core::{
    Error, ErrorKind, Result, Secret,
    llm::{ModelInfo, Purpose},
};
use konstruct_llm::{Deployment, Pool};
use serde::{Deserialize, Serialize};

use super::{Models, Provider};

/// A tenant's own model, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnModel {
    pub(crate) name: String,
    pub(crate) provider: Provider,
    pub(crate) model: String,
    #[serde(serialize_with = "crate::secrets::seal")]
    pub(crate) api_key: Secret,
    pub(crate) base_url: Option<String>,
    /// `quality` or `fast`; both if absent.
    pub(crate) purpose: Option<Use>,
    /// Counts its changes, from 1.
    pub(crate) version: u32,
}

impl OwnModel {
    /// Returns the key if it is one for OpenAI itself.
    pub(crate) fn openai_key(&self) -> Option<&Secret> {
        let openai = matches!(self.provider, Provider::OpenAi | Provider::OpenAiResponses);
        (openai && self.base_url.is_none()).then_some(&self.api_key)
    }
}

/// The purpose of a tenant's own model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Use {
    Quality,
    Fast,
}

impl Use {
    pub(crate) fn read(text: &str) -> Result<Self> {
        match text {
            "quality" => Ok(Self::Quality),
            "fast" => Ok(Self::Fast),
            _ => Err(Error::invalid("purpose", "must be `quality` or `fast`")),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Fast => "fast",
        }
    }
}

impl Models {
    /// Validates a model before it is stored, without calling the provider.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the field.
    pub(crate) async fn check(&self, own: &OwnModel) -> Result<()> {
        let name = &own.name;
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=40).contains(&name.len()) || !name.bytes().all(sign) {
            return Err(Error::invalid(
                "name",
                "must have 1 to 40 letters, digits, `-`, `_` or `.`",
            ));
        }
        if !(1..=200).contains(&own.model.trim().len()) {
            return Err(Error::invalid("model", "must have 1 to 200 characters"));
        }
        match (&own.base_url, own.provider) {
            (Some(url), _) => self.guard.check(url).await.map_err(|error| {
                let problem = match error.kind() {
                    ErrorKind::InvalidInput => "must be a URL",
                    ErrorKind::Unavailable => "has an unknown host; check the name",
                    _ => "must begin with https:// and have a host on the public internet",
                };
                Error::invalid("base_url", problem).with_source(error)
            })?,
            (None, Provider::Ollama) => {
                return Err(Error::invalid(
                    "base_url",
                    "must be set for an Ollama server",
                ));
            }
            (None, _) => {}
        }
        if own.api_key.is_empty() && own.provider != Provider::Ollama {
            return Err(Error::invalid("api_key", "must not be empty"));
        }
        if !own
            .api_key
            .expose()
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
        {
            return Err(Error::invalid(
                "api_key",
                "contains characters that are not allowed in a key",
            ));
        }
        Ok(())
    }

    /// Describes a model as the pool will use it.
    pub(crate) fn describe(&self, own: &OwnModel) -> ModelInfo {
        self.deployment(own).describe().clone()
    }

    fn deployment(&self, own: &OwnModel) -> Deployment {
        let asked = (own.model.trim(), &own.api_key, own.base_url.as_deref());
        let backend = own.provider.backend(asked, &self.prices, Some(&self.guard));
        let deployment = Deployment::shared(format!("own/{}", own.name), backend);
        match own.purpose {
            None => deployment,
            Some(Use::Quality) => deployment.for_purpose(Purpose::Quality),
            Some(Use::Fast) => deployment.for_purpose(Purpose::Fast),
        }
    }

    /// Creates a tenant's pool, with its own models first and the shared ones as their fallback; `None` if it has no own models.
    pub(super) fn pool_of(&self, models: &[OwnModel]) -> Result<Option<Pool>> {
        if models.is_empty() {
            return Ok(None);
        }
        let own = models.iter().map(|own| self.deployment(own));
        own.fold(self.shared.extend(), |pool, own| pool.deployment(own))
            .build()
            .map(Some)
    }
}
