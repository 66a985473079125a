//! What a stream yields, and how it ends.

use serde::{Deserialize, Serialize};

use crate::money::Usage;

/// What a stream yields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// The provider has begun.
    Start {
        /// The provider's id of the answer.
        id: String,
        /// The model that answers, by the provider's name.
        model: String,
    },
    /// A block begins.
    BlockStart {
        /// Its index in this answer.
        index: u32,
        /// What it is.
        kind: BlockKind,
    },
    /// More of a text block.
    Text {
        /// Which block.
        index: u32,
        /// What is added.
        delta: String,
    },
    /// More of a reasoning block.
    Reasoning {
        /// Which block.
        index: u32,
        /// What is added.
        delta: String,
    },
    /// The signature of a reasoning block.
    Signature {
        /// Which block.
        index: u32,
        /// The whole signature.
        signature: String,
        /// Who signed it, see [`ModelInfo::origin`](super::ModelInfo::origin).
        origin: Option<String>,
    },
    /// More of a tool call's arguments.
    ToolArguments {
        /// Which block.
        index: u32,
        /// What is added to the JSON text.
        delta: String,
    },
    /// A block is complete.
    BlockEnd {
        /// Which block.
        index: u32,
    },
    /// The tokens so far; replaces what was reported before.
    Usage(Usage),
    /// The connection is alive.
    Heartbeat,
    /// All that was yielded is void: the answer begins anew. A pool says this when it turns to another provider, and a
    /// provider's codec where the provider itself starts over; either only before any text was shown.
    Restart,
    /// The answer is complete.
    Finish(Finish),
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockKind {
    /// Text for the person.
    Text,
    /// What the model thinks.
    Reasoning,
    /// A tool call.
    ToolCall {
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
    },
    /// A block that this version does not know, by the provider's name.
    Other(String),
}

/// Why an answer is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finish {
    /// The model was done.
    Stop,
    /// The model said one of the texts at which it stops.
    StopSequence,
    /// The token limit was reached.
    Length,
    /// The model wants tools to run.
    ToolCalls,
    /// A filter cut it.
    ContentFilter,
    /// The model declines.
    Refusal,
    /// The provider paused a long answer: asked again with what there is, it goes on.
    Pause,
    /// The context is full.
    ContextWindow,
    /// Anything else, by the provider's name.
    Other(String),
}

impl Finish {
    /// Returns whether the answer stops before its end because there was no more room: its last sentence or tool call is cut.
    ///
    /// ```
    /// use konstruct_core::llm::Finish;
    ///
    /// assert!(Finish::Length.is_cut());
    /// assert!(!Finish::Stop.is_cut());
    /// ```
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Length | Self::ContextWindow)
    }
}
