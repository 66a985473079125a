//! The transcribers of voice messages: those of the configuration, preceded by a tenant's own key.

use std::sync::Arc;

use konstruct_core::{Error, Result, Secret, Transcriber, http::Guard};
use konstruct_llm::{OpenAiTranscriber, TranscriberPool, WhisperCpp};

use crate::{
    config::{self, Config},
    model::OwnModel,
};

/// The transcribers of all employees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcribers {
    shared: Option<Arc<dyn Transcriber>>,
    /// The model at OpenAI itself, for tenants with a key of their own.
    openai: Option<String>,
}

impl Transcribers {
    /// Creates the transcribers in `transcriber.model`, in order of preference.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for an unknown provider, or one without its settings.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let chosen = &config.transcriber;
        let (key, url) = if chosen.base_url.is_empty() {
            (&config.openai.api_key, &config.openai.base_url)
        } else {
            (&chosen.api_key, &chosen.base_url)
        };
        let mut openai = None;
        let mut members: Vec<Box<dyn Transcriber>> = Vec::new();
        for name in chosen.model.split(',').map(str::trim) {
            match name.split_once('/').unwrap_or((name, "")) {
                ("", "") => {}
                ("openai", model) if !model.is_empty() => {
                    if key.is_empty() && chosen.base_url.is_empty() {
                        return Err(Error::invalid(
                            "OPENAI_API_KEY",
                            "must be set for the transcriber",
                        ));
                    }
                    if url.contains("//api.openai.com") {
                        openai = openai.or(Some(model.to_owned()));
                    }
                    let member = OpenAiTranscriber::new(key.clone(), model).base_url(url);
                    members.push(Box::new(member));
                }
                ("whisper.cpp", model) => {
                    let member = WhisperCpp::new(&chosen.whisper_cpp_host);
                    members.push(Box::new(match model {
                        "" => member,
                        model => member.model(model),
                    }));
                }
                _ => {
                    return Err(Error::invalid(
                        &config::named("transcriber.model"),
                        "must be `openai/MODEL`, such as `openai/whisper-1`, or `whisper.cpp`; several are separated by commas",
                    ));
                }
            }
        }
        let shared: Option<Arc<dyn Transcriber>> = if members.is_empty() {
            None
        } else {
            Some(Arc::new(TranscriberPool::new(members)?))
        };
        Ok(Self { shared, openai })
    }

    /// Returns the transcriber of a tenant: with its own key for OpenAI if it has one, and then the shared ones.
    ///
    /// # Errors
    /// Those of the pool.
    pub(crate) fn of(
        &self,
        own: &[OwnModel],
        guard: &Guard,
    ) -> Result<Option<Arc<dyn Transcriber>>> {
        let key = own.iter().find_map(OwnModel::openai_key);
        let (Some(shared), Some(model), Some(key)) = (&self.shared, &self.openai, key) else {
            return Ok(self.shared.clone());
        };
        let own = own_transcriber(key, model, guard);
        let both: Vec<Box<dyn Transcriber>> = vec![Box::new(own), Box::new(Arc::clone(shared))];
        Ok(Some(Arc::new(TranscriberPool::new(both)?)))
    }
}

fn own_transcriber(key: &Secret, model: &str, guard: &Guard) -> OpenAiTranscriber {
    OpenAiTranscriber::new(key.clone(), model).guarded(guard.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_key_comes_first() {
        let open = |model: &str, url: &str| {
            let value = |name: &str| match name {
                "KONSTRUCT_TRANSCRIBER" => Some(model.to_owned()),
                "OPENAI_API_KEY" => Some("sk-1".to_owned()),
                "OPENAI_BASE_URL" => Some(url.to_owned()).filter(|url| !url.is_empty()),
                _ => None,
            };
            Transcribers::open(&Config::load(None, value).unwrap()).unwrap()
        };
        let own = serde_json::json!({
            "name": "own", "provider": "openai", "model": "gpt", "api_key": "sk-2", "base_url": null, "purpose": null, "version": 1,
        });
        let own: Vec<OwnModel> = vec![serde_json::from_value(own).unwrap()];
        let check = |list: &str, url: &str, own: &[OwnModel], expected: Option<(&str, usize)>| {
            let found = open(list, url).of(own, &Guard::new()).unwrap();
            let found = found.map(|it| {
                let members = format!("{it:?}").matches("OpenAiTranscriber {").count();
                (it.describe().provider.clone(), members)
            });
            let expected = expected.map(|(provider, members)| (provider.to_owned(), members));
            assert_eq!(found, expected, "{list}");
        };
        check("", "", &own, None);
        check("whisper.cpp", "", &own, Some(("whisper.cpp", 0)));
        check(
            "whisper.cpp/base, openai/whisper-1",
            "",
            &[],
            Some(("whisper.cpp", 1)),
        );
        check("openai/whisper-1", "", &own, Some(("openai", 2)));
        // A key for OpenAI is not sent to another server.
        check(
            "openai/whisper-1",
            "http://127.0.0.1:9/v1",
            &own,
            Some(("openai", 1)),
        );
    }
}
