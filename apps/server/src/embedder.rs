//! The embedder for semantic search: the built-in one, or one of a provider.

use std::sync::Arc;

use konstruct_core::{Embedder, Error, Result, embed::PaidEmbedder};
use konstruct_llm::{OllamaEmbedder, OpenAiEmbedder, PriceTable};
use konstruct_memory::StaticEmbedder;

use crate::config::{Config, named};

/// The default dimension of OpenAI's models that shorten their vectors on request.
const DEFAULT_OPENAI_DIM: usize = 512;

/// An embedder, and the wrapper through which its calls are paid, unless it is built in.
pub(crate) struct ChosenEmbedder {
    pub(crate) embedder: Option<Arc<dyn Embedder>>,
    pub(crate) paid: Option<Arc<PaidEmbedder>>,
}

/// Creates the configured embedder: `static`, `none`, `openai/MODEL` or `ollama/MODEL`, with the provider's configured URL.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the key, and the errors of an Ollama server
/// that is asked for the dimension.
pub(crate) async fn choose(config: &Config, prices: &PriceTable) -> Result<ChosenEmbedder> {
    let chosen = &config.embedder;
    let built_in = |embedder: Option<Arc<dyn Embedder>>| ChosenEmbedder {
        embedder,
        paid: None,
    };
    let (provider, model) = match &*chosen.model {
        "static" => return Ok(built_in(Some(Arc::new(StaticEmbedder::new())))),
        "none" => return Ok(built_in(None)),
        name => name.split_once('/').unwrap_or((name, "")),
    };
    let prefixes = (&*chosen.query_prefix, &*chosen.document_prefix);
    let embedder: Arc<dyn Embedder> = match provider {
        _ if model.is_empty() => return Err(unknown()),
        "openai" => {
            let key = &config.openai.api_key;
            if key.is_empty() {
                return Err(Error::invalid(
                    "OPENAI_API_KEY",
                    "must be set for the embedder",
                ));
            }
            let dim = match chosen.dim {
                0 if model.starts_with("text-embedding-3") => DEFAULT_OPENAI_DIM,
                0 => {
                    return Err(Error::invalid(
                        &named("embedder.dim"),
                        "must be set in the configuration file for this model",
                    ));
                }
                dim => dim,
            };
            let embedder = OpenAiEmbedder::new(key.clone(), model, dim)
                .base_url(&config.openai.base_url)
                .prefixes(prefixes.0, prefixes.1);
            Arc::new(match prices.price("openai", model) {
                Some(price) => embedder.price(price),
                None => embedder,
            })
        }
        "ollama" => {
            let embedder = OllamaEmbedder::new(model, chosen.dim)
                .base_url(&config.ollama.host)
                .prefixes(prefixes.0, prefixes.1);
            Arc::new(if chosen.dim == 0 {
                embedder.measured().await.map_err(|error| {
                    let problem = "could not ask Ollama for the dimension; start Ollama, or set the dimension here";
                    Error::invalid(&named("embedder.dim"), problem).with_source(error)
                })?
            } else {
                embedder
            })
        }
        _ => return Err(unknown()),
    };
    let paid = Arc::new(PaidEmbedder::new(embedder));
    Ok(ChosenEmbedder {
        embedder: Some(Arc::clone(&paid) as Arc<dyn Embedder>),
        paid: Some(paid),
    })
}

fn unknown() -> Error {
    Error::invalid(
        &named("embedder.model"),
        "must be `static`, `none`, `openai/MODEL` or `ollama/MODEL`",
    )
}
