//! Recognises messages that are not questions: a greeting, thanks, yes, no, and the wish to talk to a person.

use std::sync::LazyLock;

use konstruct_core::memory::Language;

use super::phrases;

/// What a message is, if it is not a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    Greeting,
    Thanks,
    Yes,
    No,
    /// The wish to talk to a person of the business.
    Person,
}

/// The words of a language for each kind.
struct Lists {
    language: Language,
    lists: Vec<(Talk, Vec<String>)>,
}

static LISTS: LazyLock<Vec<Lists>> = LazyLock::new(|| {
    // In this order: "no, thanks" is a no, and "yes, thanks" is a yes.
    let kinds = [
        (Talk::Person, "words-person"),
        (Talk::Greeting, "words-greeting"),
        (Talk::No, "words-no"),
        (Talk::Yes, "words-yes"),
        (Talk::Thanks, "words-thanks"),
    ];
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    phrases::languages()
        .map(|language| Lists {
            language,
            lists: kinds
                .map(|(talk, id)| (talk, words(phrases::phrase(language, id))))
                .into(),
        })
        .collect()
});

/// Recognises a message that consists only of such words, or contains a phrase of the wish for a person. Returns the language
/// too.
pub(super) fn read(text: &str) -> Option<(Talk, Language)> {
    let words = words(text);
    if words.is_empty() {
        return None;
    }
    let joined = format!("_{}_", words.join("_"));
    LISTS.iter().find_map(|Lists { language, lists }| {
        let is = |(talk, list): &(Talk, Vec<String>)| match talk {
            Talk::Person => list.iter().any(|phrase| {
                let single = !phrase.contains('_');
                joined.contains(&format!("_{phrase}_")) && (!single || words.len() <= 5)
            }),
            Talk::Thanks if text.contains('?') => false,
            // The first word decides: a list also contains words that only accompany it.
            Talk::Greeting | Talk::Yes | Talk::No => {
                list.iter().take(LEADING).any(|word| *word == words[0])
                    && words.iter().all(|word| list.contains(word))
            }
            Talk::Thanks => words.iter().all(|word| list.contains(word)),
        };
        let (talk, _) = lists.iter().find(|list| is(list))?;
        Some((*talk, *language))
    })
}

/// Of a list of words, this many may begin the message.
const LEADING: usize = 12;

fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace(['\'', '’'], "")
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk() {
        let check = |text, expected: Option<Talk>| {
            assert_eq!(read(text).map(|(talk, _)| talk), expected, "{text}");
        };
        check("Hi there!", Some(Talk::Greeting));
        check("good morning", Some(Talk::Greeting));
        check("hello, are you open today?", None);
        check("Thanks a lot!", Some(Talk::Thanks));
        check("yes please", Some(Talk::Yes));
        check("Sure, go ahead", Some(Talk::Yes));
        check("Yes, and when do you open?", None);
        check("No, thank you", Some(Talk::No));
        check("no refund?", None);
        check("", None);
        check("Guten Tag", Some(Talk::Greeting));
        check("ja bitte", Some(Talk::Yes));
        check("vielen dank!", Some(Talk::Thanks));
        check("¿sí, por favor?", Some(Talk::Yes));
        check("non merci", Some(Talk::No));
        check("grazie mille", Some(Talk::Thanks));
        check("can i talk to a human", Some(Talk::Person));
        check("ich möchte mit jemandem sprechen", Some(Talk::Person));
        check("human please", Some(Talk::Person));
        check("quiero hablar con una persona", Some(Talk::Person));
    }

    #[test]
    fn talk_has_a_language() {
        let language = |text| read(text).map(|(_, language)| language);
        assert_eq!(language("danke schön"), Some(Language::German));
        assert_eq!(language("merci beaucoup"), Some(Language::French));
    }
}
