//! What a model's name reveals about its abilities.

use std::collections::BTreeSet;

use konstruct_core::llm::{Ability, Effort};

/// An OpenAI model, as described by its name. A model with an unknown name is assumed to call tools and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Family {
    kind: Kind,
    /// Smaller or older than the rest of its family.
    mini: bool,
    chat: bool,
    codex: bool,
    pro: bool,
    audio: bool,
    turbo: bool,
    preview: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Unknown,
    /// `gpt-4.1` is (4, 1).
    Gpt(u32, u32),
    /// `gpt-4o`.
    Omni,
    /// `o3` is 3.
    O(u32),
    /// The open-weight models, which many servers offer.
    Oss,
}

impl Family {
    /// Parses a model name, including names used by routers, clouds and fine-tunes: `openai/gpt-5-mini`, `gpt-35-turbo`,
    /// `ft:gpt-4.1-mini-2025-04-14:acme::1`.
    pub(super) fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        let name = name.split(':').next().unwrap_or(name);
        let named = |word: &str| name.split('-').any(|part| part == word);
        Self {
            kind: kind(name),
            mini: named("mini"),
            chat: named("chat"),
            codex: named("codex"),
            pro: named("pro"),
            audio: named("audio"),
            turbo: named("turbo") || named("vision"),
            preview: named("preview"),
        }
    }

    /// Returns whether it is a reasoning model, which accepts no `max_tokens`, no temperature and no `stop`.
    pub(super) fn reasons(self) -> bool {
        matches!(self.kind, Kind::Gpt(5.., _) | Kind::O(_))
    }

    /// Returns whether the model accepts the `parallel_tool_calls` parameter.
    pub(super) fn takes_parallel(self) -> bool {
        !matches!(self.kind, Kind::O(_))
    }

    pub(super) fn can(self) -> BTreeSet<Ability> {
        use Ability::{Audio, Images, Reasoning, Schema, Tools};
        let can: &[Ability] = match self.kind {
            _ if self.audio => &[Tools, Audio],
            Kind::O(1) if self.mini || self.preview => &[Reasoning],
            Kind::O(3) if self.mini => &[Tools, Schema, Reasoning],
            Kind::Gpt(5.., _) if self.chat => &[Tools, Images, Schema],
            Kind::Gpt(5.., _) | Kind::O(_) => &[Tools, Images, Schema, Reasoning],
            Kind::Gpt(4, 1..) | Kind::Omni => &[Tools, Images, Schema],
            Kind::Gpt(4, 0) if self.turbo => &[Tools, Images],
            Kind::Oss => &[Tools, Reasoning],
            Kind::Gpt(..) | Kind::Unknown => &[Tools],
        };
        can.iter().copied().collect()
    }

    pub(super) fn context_window(self) -> Option<u64> {
        match self.kind {
            Kind::Gpt(3, _) => Some(16_385),
            Kind::Gpt(4, 0) if !self.turbo && !self.preview => Some(8_192),
            Kind::Gpt(4, 1) => Some(1_047_576),
            Kind::Gpt(4, _) | Kind::Omni => Some(128_000),
            Kind::Gpt(5, _) if self.chat => Some(128_000),
            Kind::Gpt(5, ..4) => Some(400_000),
            Kind::Gpt(5, _) => Some(1_050_000),
            Kind::O(1) if self.mini || self.preview => Some(128_000),
            Kind::O(_) => Some(200_000),
            Kind::Oss => Some(131_072),
            Kind::Gpt(..) | Kind::Unknown => None,
        }
    }

    /// Returns the API's name for an effort, or `None` if the model accepts no effort or none that low.
    pub(super) fn effort(self, effort: Effort) -> Option<&'static str> {
        Some(match effort {
            Effort::Off if self.pro => return None,
            Effort::Off => match self.kind {
                _ if self.codex => "low",
                Kind::Gpt(5, 0) => "minimal",
                Kind::Gpt(..) => "none",
                _ => "low",
            },
            Effort::Low | Effort::Medium if self.pro => return None,
            Effort::Low => "low",
            Effort::High => "high",
            _ => "medium",
        })
    }
}

fn kind(name: &str) -> Kind {
    let number = |text: &str| -> Option<(u32, usize)> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        Some((text[..end].parse().ok()?, end))
    };
    if let Some(rest) = name.strip_prefix("gpt-") {
        if rest.starts_with("oss") {
            return Kind::Oss;
        }
        if rest.starts_with("4o") {
            return Kind::Omni;
        }
        let Some((major, end)) = number(rest) else {
            return Kind::Unknown;
        };
        let minor = rest[end..].strip_prefix('.').and_then(number);
        return match major {
            // Azure's name has no dot.
            35 => Kind::Gpt(3, 5),
            // A longer number is not a version.
            100.. => Kind::Unknown,
            _ => Kind::Gpt(major, minor.map_or(0, |(minor, _)| minor)),
        };
    }
    match name.strip_prefix('o').and_then(number) {
        Some((series @ (1 | 3 | 4), _)) => Kind::O(series),
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reveal_families() {
        use Ability::{Audio, Images, Reasoning, Schema, Tools};
        let check = |model: &str, reasons, can: &[Ability], window| {
            let family = Family::of(model);
            assert_eq!(family.reasons(), reasons, "{model}");
            assert_eq!(family.can(), can.iter().copied().collect(), "{model}");
            assert_eq!(family.context_window(), window, "{model}");
        };
        let seeing = &[Tools, Images, Schema];
        let all = &[Tools, Images, Schema, Reasoning];
        check("llama-3.3-70b", false, &[Tools], None);
        check("openhermes", false, &[Tools], None);
        check("gpt-35-turbo", false, &[Tools], Some(16_385));
        check("gpt-4", false, &[Tools], Some(8_192));
        check("gpt-4-turbo", false, &[Tools, Images], Some(128_000));
        check("gpt-4o-2024-11-20", false, seeing, Some(128_000));
        check(
            "gpt-4o-audio-preview",
            false,
            &[Tools, Audio],
            Some(128_000),
        );
        check(
            "ft:gpt-4.1-mini-2025-04-14:acme::1",
            false,
            seeing,
            Some(1_047_576),
        );
        check("gpt-5-chat-latest", true, seeing, Some(128_000));
        check("openai/gpt-5-mini", true, all, Some(400_000));
        check("gpt-5.4", true, all, Some(1_050_000));
        check("gpt-6-sol", true, all, None);
        check("o1-mini", true, &[Reasoning], Some(128_000));
        check("o3-mini", true, &[Tools, Schema, Reasoning], Some(200_000));
        check("o4-mini-2025-04-16", true, all, Some(200_000));
        check("gpt-oss-120b", false, &[Tools, Reasoning], Some(131_072));
    }

    #[test]
    fn the_least_effort() {
        let check = |model: &str, word: Option<&str>| {
            assert_eq!(Family::of(model).effort(Effort::Off), word, "{model}");
        };
        check("gpt-5-mini", Some("minimal"));
        check("gpt-5.2", Some("none"));
        check("gpt-5-codex", Some("low"));
        check("gpt-5-pro", None);
        check("o3", Some("low"));
        assert_eq!(Family::of("o3").effort(Effort::High), Some("high"));
    }
}
