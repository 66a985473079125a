//! What a model's name reveals about its abilities.

use std::collections::BTreeSet;

use konstruct_core::llm::Ability;

/// A Claude model, as described by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClaudeModel {
    claude: bool,
    version: Option<(u32, u32)>,
    opus: bool,
    haiku: bool,
    /// Thinking cannot be disabled.
    always_thinks: bool,
}

/// How thinking is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingMode {
    /// The model does not think, or is not known to.
    No,
    /// By a token budget.
    Budget,
    /// Adaptive thinking, with an effort.
    Adaptive,
}

impl ClaudeModel {
    /// Parses a model name, including names used by gateways and clouds: `claude-3-5-sonnet-20241022`,
    /// `anthropic/claude-opus-4.5`, `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-fable-5`.
    pub(super) fn of(model: &str) -> Self {
        let Some(at) = model.find("claude") else {
            return Self::default();
        };
        let words = || model[at..].split(|c: char| !c.is_ascii_alphanumeric());
        let named = |name: &str| words().any(|word| word == name);
        // A date is a number too, but a long one.
        let number = |word: &str| word.parse::<u32>().ok().filter(|_| word.len() <= 2);
        let mut numbers = words()
            .map(number)
            .skip_while(Option::is_none)
            .map_while(|number| number);
        let always_thinks = named("fable") || named("mythos");
        let version = numbers
            .next()
            .map(|major| (major, numbers.next().unwrap_or(0)));
        Self {
            claude: true,
            version: version.or(always_thinks.then_some((5, 0))),
            opus: named("opus"),
            haiku: named("haiku"),
            always_thinks,
        }
    }

    fn since(self, major: u32, minor: u32) -> bool {
        self.version
            .is_some_and(|version| version >= (major, minor))
    }

    pub(super) fn abilities(self) -> BTreeSet<Ability> {
        let mut abilities = BTreeSet::from([Ability::Tools]);
        if self.claude {
            abilities.insert(Ability::Images);
        }
        if self.since(3, 7) {
            abilities.insert(Ability::Reasoning);
        }
        if self.since(4, 5) || (self.opus && self.since(4, 1)) {
            abilities.insert(Ability::Schema);
        }
        abilities
    }

    pub(super) fn context_window(self) -> Option<u64> {
        self.version.map(|_| match self.since(4, 6) && !self.haiku {
            true => 1_000_000,
            false => 200_000,
        })
    }

    /// Returns how thinking is requested. `known` states that the model thinks, for names that reveal no version.
    pub(super) fn thinking_mode(self, known: bool) -> ThinkingMode {
        match self.version {
            None if known => ThinkingMode::Adaptive,
            None => ThinkingMode::No,
            Some(_) if self.since(4, 6) => ThinkingMode::Adaptive,
            Some(_) if self.since(3, 7) => ThinkingMode::Budget,
            Some(_) => ThinkingMode::No,
        }
    }

    /// Returns whether thinking can be disabled. Older models think only on request.
    pub(super) fn can_disable_thinking(self) -> bool {
        !self.always_thinks
    }

    /// Returns whether the model accepts a temperature.
    pub(super) fn takes_temperature(self) -> bool {
        !self.since(4, 7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reveal_versions() {
        let check = |model: &str, version, thinking_mode, temperature| {
            let claude = ClaudeModel::of(model);
            assert_eq!(claude.version, version, "{model}");
            assert_eq!(claude.thinking_mode(false), thinking_mode, "{model}");
            assert_eq!(claude.takes_temperature(), temperature, "{model}");
        };
        check(
            "claude-3-haiku-20240307",
            Some((3, 0)),
            ThinkingMode::No,
            true,
        );
        check(
            "claude-3-5-sonnet-20241022",
            Some((3, 5)),
            ThinkingMode::No,
            true,
        );
        check(
            "anthropic/claude-3.7-sonnet",
            Some((3, 7)),
            ThinkingMode::Budget,
            true,
        );
        check(
            "claude-sonnet-4-20250514",
            Some((4, 0)),
            ThinkingMode::Budget,
            true,
        );
        check(
            "claude-opus-4@20250514",
            Some((4, 0)),
            ThinkingMode::Budget,
            true,
        );
        check(
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            Some((4, 5)),
            ThinkingMode::Budget,
            true,
        );
        check(
            "claude-opus-4-6",
            Some((4, 6)),
            ThinkingMode::Adaptive,
            true,
        );
        check(
            "claude-opus-4-8",
            Some((4, 8)),
            ThinkingMode::Adaptive,
            false,
        );
        check(
            "claude-sonnet-5-5",
            Some((5, 5)),
            ThinkingMode::Adaptive,
            false,
        );
        check(
            "claude-mythos-preview",
            Some((5, 0)),
            ThinkingMode::Adaptive,
            false,
        );
        check("claude-latest", None, ThinkingMode::No, true);
        check("m", None, ThinkingMode::No, true);
        assert_eq!(
            ClaudeModel::of("m").thinking_mode(true),
            ThinkingMode::Adaptive
        );
        assert!(!ClaudeModel::of("claude-fable-5").can_disable_thinking());
        assert!(ClaudeModel::of("claude-opus-5").can_disable_thinking());
    }

    #[test]
    fn names_reveal_abilities() {
        use Ability::{Images, Reasoning, Schema, Tools};
        let check = |model: &str, abilities: &[Ability], window| {
            let claude = ClaudeModel::of(model);
            assert_eq!(
                claude.abilities(),
                abilities.iter().copied().collect(),
                "{model}"
            );
            assert_eq!(claude.context_window(), window, "{model}");
        };
        check("m", &[Tools], None);
        check("claude-3-haiku-20240307", &[Tools, Images], Some(200_000));
        check(
            "claude-sonnet-4-20250514",
            &[Tools, Images, Reasoning],
            Some(200_000),
        );
        let all = &[Tools, Images, Reasoning, Schema];
        check("claude-opus-4-1-20250805", all, Some(200_000));
        check("claude-haiku-4-5", all, Some(200_000));
        check("claude-sonnet-4-6", all, Some(1_000_000));
    }
}
