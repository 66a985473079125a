//! What a model's name reveals about its abilities.

use std::collections::BTreeSet;

use konstruct_core::llm::{Ability, Effort};

use super::wire::Think;

/// Families that accept images.
const VISION: &[&str] = &[
    "bakllava",
    "gemma3",
    "gemma4",
    "granite3.2-vision",
    "llama3.2-vision",
    "llama4",
    "llava",
    "minicpm-v",
    "mistral-small3.1",
    "mistral-small3.2",
    "moondream",
    "qwen2.5vl",
    "qwen3-vl",
];
/// Families that can think.
const THINKING: &[&str] = &[
    "deepseek-r1",
    "deepseek-v3.1",
    "gpt-oss",
    "magistral",
    "qwen3",
];
/// Members of these families that cannot think.
const NOT_THINKING: &[&str] = &["qwen3-coder", "qwen3-embedding"];

/// Returns a model's abilities by its name. All models support a schema, because Ollama enforces it on the tokens.
pub(super) fn can(model: &str) -> BTreeSet<Ability> {
    let mut can = BTreeSet::from([Ability::Tools, Ability::Schema]);
    if is_member(model, VISION) {
        can.insert(Ability::Images);
    }
    if is_member(model, THINKING) && !is_member(model, NOT_THINKING) {
        can.insert(Ability::Reasoning);
    }
    can
}

/// Returns the abilities that Ollama reports for a model.
pub(super) fn reported(capabilities: &[String]) -> BTreeSet<Ability> {
    let abilities = capabilities.iter().filter_map(|name| match name.as_str() {
        "tools" => Some(Ability::Tools),
        "vision" => Some(Ability::Images),
        "thinking" => Some(Ability::Reasoning),
        _ => None,
    });
    abilities.chain([Ability::Schema]).collect()
}

/// Returns the thinking setting for a model that thinks. GPT-OSS has three levels and cannot be switched off; others are only on
/// or off.
pub(super) fn think(model: &str, effort: Effort) -> Think {
    if !is_member(model, &["gpt-oss"]) {
        return Think::Whether(effort != Effort::Off);
    }
    Think::Level(match effort {
        Effort::Medium => "medium",
        Effort::High => "high",
        _ => "low",
    })
}

/// Returns whether a model belongs to one of these families: `library/qwen3:4b` belongs to `qwen3`.
fn is_member(model: &str, families: &[&str]) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    families.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reveal_abilities() {
        let check = |model: &str, images, thinks| {
            let can = can(model);
            assert!(can.contains(&Ability::Tools) && can.contains(&Ability::Schema));
            assert_eq!(can.contains(&Ability::Images), images, "{model}");
            assert_eq!(can.contains(&Ability::Reasoning), thinks, "{model}");
        };
        check("llama3.2", false, false);
        check("llama3.2-vision:11b", true, false);
        check("qwen3:4b", false, true);
        check("hf.co/someone/qwen3-vl:8b", true, true);
        check("qwen3-coder:30b", false, false);
        check("gpt-oss:20b", false, true);
    }
}
