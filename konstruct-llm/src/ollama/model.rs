//! What is known of a model by its name.

use std::collections::BTreeSet;

use konstruct_core::llm::{Ability, Effort};

use super::wire::Think;

/// Families that look at images.
const SEE: &[&str] = &[
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
/// Families that think.
const THINK: &[&str] = &[
    "deepseek-r1",
    "deepseek-v3.1",
    "gpt-oss",
    "magistral",
    "qwen3",
];
/// Members of these that do not.
const DO_NOT: &[&str] = &["qwen3-coder", "qwen3-embedding"];

/// Returns what a model can do by its name. A schema binds all of them: it is enforced on their tokens.
pub(super) fn can(model: &str) -> BTreeSet<Ability> {
    let mut can = BTreeSet::from([Ability::Tools, Ability::Schema]);
    if of(model, SEE) {
        can.insert(Ability::Images);
    }
    if of(model, THINK) && !of(model, DO_NOT) {
        can.insert(Ability::Reasoning);
    }
    can
}

/// Returns what Ollama itself says that a model can do.
pub(super) fn said(capabilities: &[String]) -> BTreeSet<Ability> {
    let told = capabilities.iter().filter_map(|name| match name.as_str() {
        "tools" => Some(Ability::Tools),
        "vision" => Some(Ability::Images),
        "thinking" => Some(Ability::Reasoning),
        _ => None,
    });
    told.chain([Ability::Schema]).collect()
}

/// Returns what to tell a model that thinks. GPT-OSS knows three levels and cannot be told not to; others only whether.
pub(super) fn think(model: &str, effort: Effort) -> Think {
    if !of(model, &["gpt-oss"]) {
        return Think::Whether(effort != Effort::Off);
    }
    Think::Level(match effort {
        Effort::Medium => "medium",
        Effort::High => "high",
        _ => "low",
    })
}

/// Returns whether a model is of one of these families: `library/qwen3:4b` is of `qwen3`.
fn of(model: &str, families: &[&str]) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    families.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_abilities() {
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
