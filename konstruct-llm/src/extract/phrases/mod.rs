//! The fixed phrases in the person's language, from Fluent files.

use std::sync::LazyLock;

use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};
use konstruct_core::memory::Language;
use unic_langid::langid;

type Bundle = FluentBundle<FluentResource>;

static BUNDLES: LazyLock<Vec<(Language, Bundle)>> = LazyLock::new(|| {
    [
        (Language::English, langid!("en"), include_str!("en.ftl")),
        (Language::German, langid!("de"), include_str!("de.ftl")),
        (Language::Spanish, langid!("es"), include_str!("es.ftl")),
        (Language::French, langid!("fr"), include_str!("fr.ftl")),
        (Language::Italian, langid!("it"), include_str!("it.ftl")),
        (Language::Portuguese, langid!("pt"), include_str!("pt.ftl")),
        (Language::Dutch, langid!("nl"), include_str!("nl.ftl")),
    ]
    .into_iter()
    .map(|(language, id, text)| {
        let mut bundle = Bundle::new_concurrent(vec![id]);
        bundle.set_use_isolating(false);
        // A file with errors still contains its correct messages; a test checks that there are none.
        let file = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(file, _)| file);
        bundle.add_resource_overriding(file);
        (language, bundle)
    })
    .collect()
});

/// Returns a phrase; in English, if the language is not translated.
pub(super) fn phrase(language: Language, id: &str) -> String {
    format(language, id, None)
}

/// Returns the line that names the source of an answer.
pub(super) fn source(language: Language, source: &str) -> String {
    let mut arguments = FluentArgs::new();
    arguments.set("source", source);
    format(language, "source", Some(&arguments))
}

/// Returns a phrase in every language.
pub(super) fn everywhere(id: &str) -> impl Iterator<Item = (Language, String)> {
    languages().map(move |language| (language, phrase(language, id)))
}

/// Returns the languages of the phrases.
pub(super) fn languages() -> impl Iterator<Item = Language> {
    BUNDLES.iter().map(|(language, _)| *language)
}

fn format(language: Language, id: &str, arguments: Option<&FluentArgs<'_>>) -> String {
    let of = |wanted| BUNDLES.iter().find(|(language, _)| *language == wanted);
    let bundle = of(language).or_else(|| of(Language::English));
    let message = bundle.and_then(|(_, bundle)| {
        let pattern = bundle.get_message(id)?.value()?;
        let text = bundle.format_pattern(pattern, arguments, &mut Vec::new());
        Some(text.into_owned())
    });
    message.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_phrase() {
        let english = include_str!("en.ftl");
        let ids = english.lines().filter_map(|line| line.split_once(" = "));
        for (id, _) in ids {
            for (language, text) in everywhere(id) {
                assert!(!text.is_empty(), "{language:?} lacks {id}");
            }
        }
        assert_eq!(
            source(Language::German, "FAQ › \"A\""),
            "Quelle: FAQ › \"A\""
        );
    }
}
