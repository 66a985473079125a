//! Questions and answers that a page states for search engines: JSON-LD of the type `FAQPage`.

use serde_json::Value;

use super::{
    Block, Kind, blocks,
    dom::{Dom, ROOT},
};

/// Appends the pairs that the visible text lacks.
pub(super) fn append(dom: &Dom, visible: &mut Vec<Block>) {
    let mut pairs = Vec::new();
    for id in dom.descendants(ROOT) {
        let is_data = dom.name(id) == "script"
            && dom
                .attribute(id, "type")
                .is_some_and(|kind| kind.eq_ignore_ascii_case("application/ld+json"));
        if is_data && let Ok(data) = serde_json::from_str(&dom.text_as_it_is(id)) {
            find(&data, &mut pairs);
        }
    }
    if pairs.is_empty() {
        return;
    }
    let seen: String = visible.iter().map(|block| letters(&block.text)).collect();
    for (question, answer) in pairs {
        // The answer may be HTML. It cannot state pairs itself.
        let answer = blocks(&answer, true);
        let text: String = answer.iter().map(|block| letters(&block.text)).collect();
        if seen.contains(&letters(&question)) && seen.contains(&text) {
            continue;
        }
        visible.push(Block::new(Kind::Heading(7), question));
        visible.extend(answer);
    }
}

/// Returns what two versions of the same text have in common.
fn letters(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Collects the pairs of a value.
fn find(value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| find(value, pairs)),
        Value::Object(fields) => {
            let is_question = value["@type"] == "Question";
            let answer = &value["acceptedAnswer"];
            let answer = answer.get(0).unwrap_or(answer);
            let text = value["name"].as_str().zip(answer["text"].as_str());
            if let Some((question, answer)) = text.filter(|_| is_question) {
                let question = question.split_whitespace().collect::<Vec<_>>().join(" ");
                pairs.push((question, answer.to_owned()));
            } else {
                let parts = ["@graph", "mainEntity", "hasPart", "itemListElement"];
                let parts = parts.iter().filter_map(|name| fields.get(*name));
                parts.for_each(|value| find(value, pairs));
            }
        }
        _ => {}
    }
}
