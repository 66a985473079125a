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

/// Reads a submitted form, or the inputs of the message whose button was pressed. It is empty if there are none.
pub(super) fn read(payload: &Value, action: &Value) -> Form {
    let lines = match payload.text("type").as_deref() {
        Some("view_submission") => {
            let inputs = (
                payload.at("view.state.values"),
                payload.items("view.blocks"),
            );
            answers(inputs, &Value::Null)
        }
        Some("block_actions") => {
            let inputs = (payload.at("state.values"), payload.items("message.blocks"));
            answers(inputs, action)
        }
        // A dialog of the older format reports only the names of its fields.
        _ => {
            let fields = action.at("submission").as_object();
            let line =
                |(name, value): (&String, &Value)| Some(format!("{name}: {}", scalar(value)?));
            fields.into_iter().flatten().filter_map(line).collect()
        }
    };
    Form {
        title: payload.text("view.title.text"),
        answers: (!lines.is_empty()).then(|| lines.join("\n")),
    }
}

/// Returns the answers in the order of their blocks, without that of the pressed element.
fn answers((values, blocks): (&Value, &[Value]), pressed: &Value) -> Vec<String> {
    let position = |id: &str| {
        let mut ids = blocks.iter().map(|block| block.text("block_id"));
        ids.position(|block| block.as_deref() == Some(id))
    };
    let mut values: Vec<_> = values.as_object().into_iter().flatten().collect();
    values.sort_by_key(|(id, _)| position(id));
    let mut lines = Vec::new();
    for (id, elements) in values {
        let block = position(id).map_or(&Value::Null, |at| &blocks[at]);
        let label = block.first(&["label.text", "text.text"]);
        let label = label.unwrap_or_else(|| id.clone());
        for (name, element) in elements.as_object().into_iter().flatten() {
            let own = pressed.text("block_id").as_ref() == Some(id)
                && pressed.text("action_id").as_ref() == Some(name);
            let answer = answer(element).filter(|_| !own);
            lines.extend(answer.map(|answer| format!("{label}: {answer}")));
        }
    }
    lines
}

/// Where an element has its one value.
pub(super) const ONE: &[&str] = &[
    "value",
    "selected_option.value",
    "selected_user",
    "selected_channel",
    "selected_conversation",
    "selected_date",
    "selected_time",
    "selected_date_time",
];
/// Where an element has its selected values.
pub(super) const SEVERAL: &[&str] = &[
    "selected_options",
    "selected_users",
    "selected_channels",
    "selected_conversations",
];

/// Returns the answer in an element: a text, or the title of each selected option.
fn answer(element: &Value) -> Option<String> {
    let shown = element.first(&["value", "selected_option.text.text"]);
    if let Some(one) = shown.or_else(|| element.first(ONE)) {
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
