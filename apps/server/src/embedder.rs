//! What the index finds things by their meaning with: the built-in table, or a model that is paid for.

use std::sync::Arc;

use konstruct_core::{Embedder, Error, Result, embed::PaidEmbedder};
use konstruct_llm::{OllamaEmbedder, OpenAiEmbedder, PriceTable};
use konstruct_memory::StaticEmbedder;

use crate::config::{Config, named};

/// The dimension of OpenAI's models that shorten their vectors on request.
const SHORTENED: usize = 512;

/// An embedder, and whom to tell from where it is paid, if it is not built in.
pub(crate) struct Chosen {
    pub(crate) embedder: Option<Arc<dyn Embedder>>,
    pub(crate) paid: Option<Arc<PaidEmbedder>>,
}

/// Makes the embedder that the configuration names: `static`, `none`, or `openai/MODEL` or `ollama/MODEL` at the provider's place.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the key; those of an Ollama that is asked for the
/// dimension.
pub(crate) async fn choose(config: &Config, prices: &PriceTable) -> Result<Chosen> {
    let chosen = &config.embedder;
    let built_in = |embedder: Option<Arc<dyn Embedder>>| Chosen {
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
                0 if model.starts_with("text-embedding-3") => SHORTENED,
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
                    let problem = "the Ollama cannot be asked for it: start it, or set it here";
                    Error::invalid(&named("embedder.dim"), problem).with_source(error)
                })?
            } else {
                embedder
            })
        }
        _ => return Err(unknown()),
    };
    let paid = Arc::new(PaidEmbedder::new(embedder));
    Ok(Chosen {
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
