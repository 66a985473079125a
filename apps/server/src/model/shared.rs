//! The shared pool: the models selected by the configuration.

use std::sync::Arc;

use konstruct_core::{Error, Result, Secret, llm::Purpose};
use konstruct_llm::{CallMetrics, Deployment, Extract, Pool, PoolBuilder, PriceTable, probe};
use konstruct_memory::StaticEmbedder;

use super::Provider;
use crate::config::{self, Config};

/// Creates the pool: the models in `model`, in order of preference. Without it, all configured providers in the order Anthropic,
/// OpenAI and Ollama, or else `extract`. The models in `fast_model` are used for summaries and facts.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for an unknown provider, or one without its settings.
pub(super) async fn pool(
    config: &Config,
    prices: &PriceTable,
    metrics: &Arc<CallMetrics>,
) -> Result<Pool> {
    let builder = Pool::builder().metrics(Arc::clone(metrics));
    let mut models = named("model", config, &config.model)?;
    if models.is_empty() {
        models = configured(config).await;
    }
    let fast = named("fast_model", config, &config.fast_model)?;
    let mut purposes = vec![];
    if !fast.is_empty() {
        purposes.push(Purpose::Quality);
    }
    let builder = add(builder, (&models, &purposes, ""), config, prices);
    let builder = add(
        builder,
        (&fast, &[Purpose::Fast], " (fast)"),
        config,
        prices,
    );
    builder.build()
}

/// A model from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NamedModel {
    Extract,
    Of(Provider, String),
}

fn add(
    builder: PoolBuilder,
    (models, purposes, mark): (&[NamedModel], &[Purpose], &str),
    config: &Config,
    prices: &PriceTable,
) -> PoolBuilder {
    (0..).zip(models).fold(builder, |builder, (place, model)| {
        let deployment = match model {
            NamedModel::Extract => {
                // Always the built-in embedder: it embeds single words, and its figures are those that the backend is calibrated for.
                let extract = Extract::new().with_embedder(Arc::new(StaticEmbedder::new()));
                Deployment::new(format!("extract{mark}"), extract)
            }
            NamedModel::Of(provider, model) => {
                let (key, url) = credential(*provider, config);
                let asked = (model.as_str(), &key, Some(url.as_str()));
                let backend = provider.backend(asked, prices, None);
                Deployment::shared(format!("{provider}/{model}{mark}"), backend)
            }
        };
        let deployment = purposes
            .iter()
            .fold(deployment.fallback(place), |deployment, purpose| {
                deployment.for_purpose(*purpose)
            });
        builder.deployment(deployment)
    })
}

/// Parses a list of `provider/model`, in order of preference.
fn named(key: &str, config: &Config, list: &str) -> Result<Vec<NamedModel>> {
    let names = list.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(|name| {
            if name == "extract" {
                return Ok(NamedModel::Extract);
            }
            let (provider, model) = name.split_once('/').unwrap_or((name, ""));
            let provider: Provider = provider.parse().map_err(|_| {
                Error::invalid(
                    &config::named(key),
                    "must begin with `anthropic/`, `openai/`, `openai_responses/`, `ollama/` or be `extract`",
                )
            })?;
            let (api_key, _) = credential(provider, config);
            if provider != Provider::Ollama && api_key.is_empty() {
                return Err(Error::invalid(
                    variable(provider),
                    "must be set for this model",
                ));
            }
            let model = if model.is_empty() {
                default_model(provider, config)
            } else {
                model
            };
            if model.is_empty() {
                return Err(Error::invalid(
                    &config::named(key),
                    "name the model: `ollama/NAME`",
                ));
            }
            Ok(NamedModel::Of(provider, model.to_owned()))
        })
        .collect()
}

/// Returns all configured providers; Ollama counts if it responds.
async fn configured(config: &Config) -> Vec<NamedModel> {
    let keyed = [Provider::Anthropic, Provider::OpenAi];
    let mut models: Vec<NamedModel> = keyed
        .into_iter()
        .filter(|provider| !credential(*provider, config).0.is_empty())
        .map(|provider| NamedModel::Of(provider, default_model(provider, config).to_owned()))
        .collect();
    // If a provider with a key is configured, a local Ollama server is probably not meant for this purpose.
    if models.is_empty() {
        let there = probe(&host(config)).await.unwrap_or_default();
        let wanted = Some(config.ollama.default_model.clone()).filter(|name| !name.is_empty());
        if let Some(first) = there.first() {
            models.push(NamedModel::Of(
                Provider::Ollama,
                wanted.unwrap_or_else(|| first.clone()),
            ));
        }
    }
    if models.is_empty() {
        models.push(NamedModel::Extract);
    }
    models
}

fn credential(provider: Provider, config: &Config) -> (Secret, String) {
    let of = |provider: &config::Provider| (provider.api_key.clone(), provider.base_url.clone());
    match provider {
        Provider::Anthropic => of(&config.anthropic),
        Provider::OpenAi | Provider::OpenAiResponses => of(&config.openai),
        Provider::Ollama => (Secret::new(""), host(config)),
    }
}

fn default_model(provider: Provider, config: &Config) -> &str {
    match provider {
        Provider::Anthropic => &config.anthropic.default_model,
        Provider::OpenAi | Provider::OpenAiResponses => &config.openai.default_model,
        Provider::Ollama => &config.ollama.default_model,
    }
}

fn variable(provider: Provider) -> &'static str {
    match provider {
        Provider::Anthropic => "ANTHROPIC_API_KEY",
        Provider::OpenAi | Provider::OpenAiResponses => "OPENAI_API_KEY",
        Provider::Ollama => "OLLAMA_HOST",
    }
}

/// `OLLAMA_HOST` is often set without a scheme.
fn host(config: &Config) -> String {
    let host = &config.ollama.host;
    if host.contains("://") {
        host.clone()
    } else {
        format!("http://{host}")
    }
}
