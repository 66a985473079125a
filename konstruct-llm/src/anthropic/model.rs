//! What is known of a model by its name.

use std::collections::BTreeSet;

use konstruct_core::llm::Ability;

/// A model of Claude's line, as far as its name tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    claude: bool,
    version: Option<(u32, u32)>,
    opus: bool,
    haiku: bool,
    /// Thinks whatever it is told.
    always: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinks {
    /// It cannot, or is not known to.
    No,
    /// By a number of tokens.
    Budget,
    /// As it sees fit, by an effort.
    Adaptive,
}

impl Line {
    /// Reads a name, also of gateways and clouds: `claude-3-5-sonnet-20241022`, `anthropic/claude-opus-4.5`,
    /// `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-fable-5`.
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
        let always = named("fable") || named("mythos");
        let version = numbers
            .next()
            .map(|major| (major, numbers.next().unwrap_or(0)));
        Self {
            claude: true,
            version: version.or(always.then_some((5, 0))),
            opus: named("opus"),
            haiku: named("haiku"),
            always,
        }
    }

    fn since(self, major: u32, minor: u32) -> bool {
        self.version
            .is_some_and(|version| version >= (major, minor))
    }

    pub(super) fn can(self) -> BTreeSet<Ability> {
        let mut can = BTreeSet::from([Ability::Tools]);
        if self.claude {
            can.insert(Ability::Images);
        }
        if self.since(3, 7) {
            can.insert(Ability::Reasoning);
        }
        if self.since(4, 5) || (self.opus && self.since(4, 1)) {
            can.insert(Ability::Schema);
        }
        can
    }

    pub(super) fn context_window(self) -> Option<u64> {
        self.version.map(|_| match self.since(4, 6) && !self.haiku {
            true => 1_000_000,
            false => 200_000,
        })
    }

    /// Returns how it is told to think. `known` says that it can, where the name does not tell how.
    pub(super) fn thinks(self, known: bool) -> Thinks {
        match self.version {
            None if known => Thinks::Adaptive,
            None => Thinks::No,
            Some(_) if self.since(4, 6) => Thinks::Adaptive,
            Some(_) if self.since(3, 7) => Thinks::Budget,
            Some(_) => Thinks::No,
        }
    }

    /// Returns whether it can be told not to think. Older ones do not unless told to.
    pub(super) fn can_rest(self) -> bool {
        !self.always
    }

    /// Returns whether it takes a temperature.
    pub(super) fn takes_temperature(self) -> bool {
        !self.since(4, 7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_versions() {
        let check = |model: &str, version, thinks, temperature| {
            let line = Line::of(model);
            assert_eq!(line.version, version, "{model}");
            assert_eq!(line.thinks(false), thinks, "{model}");
            assert_eq!(line.takes_temperature(), temperature, "{model}");
        };
        check("claude-3-haiku-20240307", Some((3, 0)), Thinks::No, true);
        check("claude-3-5-sonnet-20241022", Some((3, 5)), Thinks::No, true);
        check(
            "anthropic/claude-3.7-sonnet",
            Some((3, 7)),
            Thinks::Budget,
            true,
        );
        check(
            "claude-sonnet-4-20250514",
            Some((4, 0)),
            Thinks::Budget,
            true,
        );
        check("claude-opus-4@20250514", Some((4, 0)), Thinks::Budget, true);
        check(
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            Some((4, 5)),
            Thinks::Budget,
            true,
        );
        check("claude-opus-4-6", Some((4, 6)), Thinks::Adaptive, true);
        check("claude-opus-4-8", Some((4, 8)), Thinks::Adaptive, false);
        check("claude-sonnet-5-5", Some((5, 5)), Thinks::Adaptive, false);
        check(
            "claude-mythos-preview",
            Some((5, 0)),
            Thinks::Adaptive,
            false,
        );
        check("claude-latest", None, Thinks::No, true);
        check("m", None, Thinks::No, true);
        assert_eq!(Line::of("m").thinks(true), Thinks::Adaptive);
        assert!(!Line::of("claude-fable-5").can_rest());
        assert!(Line::of("claude-opus-5").can_rest());
    }

    #[test]
    fn lines_tell_abilities() {
        use Ability::{Images, Reasoning, Schema, Tools};
        let check = |model: &str, can: &[Ability], window| {
            let line = Line::of(model);
            assert_eq!(line.can(), can.iter().copied().collect(), "{model}");
            assert_eq!(line.context_window(), window, "{model}");
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
