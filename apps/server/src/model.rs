//! The shared model: which provider the configuration asks for.

use std::sync::Arc;

use konstruct_core::{Error, LlmBackend, Result};
use konstruct_llm::{Anthropic, Extract, Ollama, OpenAi, probe};

use crate::config::{Config, Provider};

/// Chooses the model: the one that `model` names, else the first that is configured, else `extract`.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a provider that there is not, or that is not set up.
pub(crate) async fn choose(config: &Config) -> Result<Arc<dyn LlmBackend>> {
    if config.model.is_empty() {
        return Ok(first_configured(config).await);
    }
    let (provider, model) = config.model.split_once('/').unwrap_or((&config.model, ""));
    match provider {
        "anthropic" => anthropic(&config.anthropic, model),
        "openai" => openai(&config.openai, model),
        "ollama" => {
            let named = [model, &config.ollama.default_model]
                .into_iter()
                .find(|name| !name.is_empty());
            let named =
                named.ok_or_else(|| Error::invalid("model", "name the model: `ollama/NAME`"))?;
            Ok(Arc::new(Ollama::new(named).base_url(host(config))))
        }
        "extract" => Ok(Arc::new(Extract::new())),
        _ => Err(Error::invalid(
            "model",
            "must begin with `anthropic/`, `openai/`, `ollama/` or be `extract`",
        )),
    }
}

async fn first_configured(config: &Config) -> Arc<dyn LlmBackend> {
    if let Ok(model) = anthropic(&config.anthropic, "") {
        return model;
    }
    if let Ok(model) = openai(&config.openai, "") {
        return model;
    }
    let models = probe(host(config)).await.unwrap_or_default();
    let wanted = Some(config.ollama.default_model.clone()).filter(|name| !name.is_empty());
    match wanted.or_else(|| models.first().cloned()) {
        Some(model) if !models.is_empty() => Arc::new(Ollama::new(model).base_url(host(config))),
        _ => Arc::new(Extract::new()),
    }
}

fn anthropic(provider: &Provider, model: &str) -> Result<Arc<dyn LlmBackend>> {
    let model = ready("ANTHROPIC_API_KEY", provider, model)?;
    Ok(Arc::new(
        Anthropic::new(provider.api_key.clone(), model).base_url(&provider.base_url),
    ))
}

fn openai(provider: &Provider, model: &str) -> Result<Arc<dyn LlmBackend>> {
    let model = ready("OPENAI_API_KEY", provider, model)?;
    Ok(Arc::new(
        OpenAi::new(provider.api_key.clone(), model).base_url(&provider.base_url),
    ))
}

fn ready<'a>(variable: &str, provider: &'a Provider, model: &'a str) -> Result<&'a str> {
    if provider.api_key.is_empty() {
        return Err(Error::invalid(variable, "must be set for this model"));
    }
    Ok(if model.is_empty() {
        &provider.default_model
    } else {
        model
    })
}

/// `OLLAMA_HOST` is often given without a scheme.
fn host(config: &Config) -> String {
    let host = &config.ollama.host;
    if host.contains("://") {
        host.clone()
    } else {
        format!("http://{host}")
    }
}
