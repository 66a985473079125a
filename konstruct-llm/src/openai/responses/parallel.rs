//! A call of `parallel`, a tool that no one offered: models that were trained with one wrap several calls in it now and then.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct Wrapper {
    tool_uses: Vec<Use>,
}

#[derive(Debug, Deserialize)]
struct Use {
    recipient_name: String,
    #[serde(default)]
    parameters: Value,
}

/// Returns whether a call may be a wrapper, by its name.
pub(super) fn is_wrapper(name: &str) -> bool {
    matches!(name, "parallel" | "multi_tool_use.parallel")
}

/// Returns the names and arguments of the calls in a wrapper. `None`: it is none, for all of a wrapper's name functions.
pub(super) fn unwrap(arguments: &str) -> Option<Vec<(String, String)>> {
    let wrapper: Wrapper = serde_json::from_str(arguments).ok()?;
    let calls: Option<Vec<_>> = wrapper
        .tool_uses
        .into_iter()
        .map(|call| {
            let name = call.recipient_name.strip_prefix("functions.")?;
            let parameters = match call.parameters {
                Value::Null => "{}".into(),
                parameters => parameters.to_string(),
            };
            Some((name.to_owned(), parameters))
        })
        .collect();
    calls.filter(|calls| !calls.is_empty())
}
