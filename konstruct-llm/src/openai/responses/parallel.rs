//! Unwraps calls of `parallel`, a tool that is not in the request. Models trained with such a tool occasionally wrap several
//! calls in it.

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

/// Returns whether a call may be a wrapper, judged by its name.
pub(super) fn is_wrapper(name: &str) -> bool {
    matches!(name, "parallel" | "multi_tool_use.parallel")
}

/// Returns the names and arguments of the wrapped calls, or `None` if the call is not a wrapper, because a wrapper names only
/// functions.
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
