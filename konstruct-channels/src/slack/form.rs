//! What a person entered into a form, as they saw it: the labels of the fields and the titles of the selected options.

use serde_json::Value;

use super::blocks;
use crate::lenient_json::{LenientJson as _, scalar};

/// A submitted form.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The title.
    pub(super) title: Option<String>,
    /// The answers, one a line, each after its label.
    pub(super) answers: Option<String>,
}

/// Reads a form; an empty one if the payload is not a submission.
pub(super) fn read(payload: &Value, action: &Value) -> Form {
    let mut lines = Vec::new();
    if let Some(fields) = action.at("submission").as_object() {
        // A dialog of the older format reports only the names of its fields.
        for (name, value) in fields {
            lines.extend(scalar(value).map(|value| format!("{name}: {value}")));
        }
    } else if payload.text("type").as_deref() == Some("view_submission") {
        let blocks = payload.items("view.blocks");
        let position = |id: &str| {
            let mut ids = blocks.iter().map(|block| block.text("block_id"));
            ids.position(|block| block.as_deref() == Some(id))
        };
        let values = payload.at("view.state.values").as_object();
        let mut values: Vec<_> = values.into_iter().flatten().collect();
        values.sort_by_key(|(block, _)| position(block));
        for (block, state) in values {
            let label = label(payload, block).unwrap_or_else(|| block.clone());
            let elements = state.as_object().into_iter().flatten();
            let answers = elements.filter_map(|(_, element)| answer(element));
            lines.extend(answers.map(|answer| format!("{label}: {answer}")));
        }
    }
    Form {
        title: payload.text("view.title.text"),
        answers: (!lines.is_empty()).then(|| lines.join("\n")),
    }
}

/// Returns the label of the input block.
fn label(payload: &Value, block: &str) -> Option<String> {
    let blocks = payload.items("view.blocks").iter();
    let mut same = blocks.filter(|it| it.text("block_id").as_deref() == Some(block));
    same.find_map(|block| block.first(&["label.text", "text.text"]))
}

/// Returns the answer in an element: a text, or the title of each selected option.
fn answer(element: &Value) -> Option<String> {
    const ONE: &[&str] = &[
        "value",
        "selected_option.text.text",
        "selected_option.value",
        "selected_user",
        "selected_channel",
        "selected_conversation",
        "selected_date",
        "selected_time",
        "selected_date_time",
    ];
    const SEVERAL: &[&str] = &[
        "selected_options",
        "selected_users",
        "selected_channels",
        "selected_conversations",
    ];
    if let Some(one) = element.first(ONE) {
        return Some(one);
    }
    if element.at("rich_text_value").is_object() {
        let rich = serde_json::json!({ "blocks": [element.at("rich_text_value")] });
        return Some(blocks::text_of(&rich, &[])).filter(|text| !text.is_empty());
    }
    let files = element
        .items("files")
        .iter()
        .filter_map(|file| file.first(&["name", "title", "id"]));
    let chosen = SEVERAL.iter().flat_map(|list| element.items(list));
    let chosen = chosen
        .filter_map(|it| it.first(&["text.text", "value"]).or_else(|| scalar(it)))
        .chain(files);
    let chosen: Vec<_> = chosen.collect();
    (!chosen.is_empty()).then(|| chosen.join(", "))
}
