//! The toolbox: the registry of all tools.

use std::{collections::BTreeMap, sync::Arc};

use super::Tool;
use crate::{Error, ErrorKind, Result, llm::ToolSpec};

/// All tools by name. Each employee has a list of the tools that it may use.
///
/// ```
/// use konstruct_core::tool::{Effect, ToolContext, ToolError, Toolbox, function};
/// # #[derive(serde::Deserialize, schemars::JsonSchema)]
/// # struct Nothing {}
/// # async fn hours(_: ToolContext, _: Nothing) -> Result<String, ToolError> { Ok("ten to six".into()) }
///
/// let hours = function("hours", "Returns the opening hours.", Effect::Read, hours);
/// let tools = Toolbox::builder().tool(hours).build()?;
/// assert_eq!(tools.names().collect::<Vec<_>>(), ["hours"]);
/// // An employee may use only what is granted to it.
/// assert!(tools.granted(&[], "hours").is_none());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Toolbox {
    tools: BTreeMap<String, Arc<dyn Tool>>,
}

impl Toolbox {
    /// Starts building a toolbox.
    pub fn builder() -> ToolboxBuilder {
        ToolboxBuilder::default()
    }

    /// Returns the tool with a name, if it exists and is granted.
    pub fn granted(&self, grants: &[String], name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools
            .get(name)
            .filter(|_| grants.iter().any(|grant| grant == name))
    }

    /// Returns the specs of the granted tools, sorted by name.
    pub fn specs(&self, grants: &[String]) -> Vec<ToolSpec> {
        self.tools
            .iter()
            .filter(|(name, _)| grants.contains(name))
            .map(|(_, tool)| tool.spec().clone())
            .collect()
    }

    /// Returns the names of all tools.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.keys().map(String::as_str)
    }
}

/// Builds a [`Toolbox`].
#[derive(Debug, Default)]
pub struct ToolboxBuilder {
    tools: Vec<Arc<dyn Tool>>,
}

impl ToolboxBuilder {
    /// Returns whether no tool was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Adds a tool.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Builds the toolbox.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name that providers do not accept, [`ErrorKind::Conflict`] for a duplicate name.
    pub fn build(self) -> Result<Toolbox> {
        let mut tools = BTreeMap::new();
        for tool in self.tools {
            let name = tool.spec().name.clone();
            let fits = (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
            if !fits {
                return Err(Error::invalid(
                    "tool.name",
                    format!("`{name}` must be 1 to 64 letters, digits, `_` or `-`"),
                ));
            }
            if tools.insert(name.clone(), tool).is_some() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("tool.name: `{name}` exists twice"),
                ));
            }
        }
        Ok(Toolbox { tools })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Effect, ToolContext, ToolError, function};
    use super::*;

    fn tool(name: &str) -> impl Tool + use<> {
        function(name, "", Effect::Read, |_: ToolContext, (): ()| async {
            Ok::<_, ToolError>(1)
        })
    }

    #[test]
    fn names_are_checked_and_grants_decide() {
        assert_eq!(
            Toolbox::builder()
                .tool(tool("no spaces"))
                .build()
                .unwrap_err()
                .kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            Toolbox::builder()
                .tool(tool("a"))
                .tool(tool("a"))
                .build()
                .unwrap_err()
                .kind(),
            ErrorKind::Conflict
        );
        let toolbox = Toolbox::builder()
            .tool(tool("a"))
            .tool(tool("b"))
            .build()
            .unwrap();
        assert!(toolbox.granted(&["a".into()], "a").is_some());
        assert!(
            toolbox.granted(&["a".into()], "b").is_none(),
            "a tool that was not granted does not run"
        );
        assert_eq!(toolbox.specs(&["b".into(), "c".into()]).len(), 1);
    }
}
