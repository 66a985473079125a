//! The events of a model's stream.

use serde::{Deserialize, Serialize};

use crate::{money::Usage, outgoing::Choices};

/// An event of a model's stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// The provider started the answer.
    Start {
        /// The provider's id of the answer.
        id: String,
        /// The provider's name of the model that answers.
        model: String,
    },
    /// A block starts.
    BlockStart {
        /// The block's index in this answer.
        index: u32,
        /// The kind of block.
        kind: BlockKind,
    },
    /// A piece of a text block.
    Text {
        /// The block's index.
        index: u32,
        /// The text to append.
        delta: String,
    },
    /// A piece of a reasoning block.
    Reasoning {
        /// The block's index.
        index: u32,
        /// The text to append.
        delta: String,
    },
    /// The signature of a reasoning block.
    Signature {
        /// The block's index.
        index: u32,
        /// The complete signature.
        signature: String,
        /// Where it was signed, see [`ModelInfo::origin`](super::ModelInfo::origin).
        origin: Option<String>,
    },
    /// A piece of a tool call's arguments.
    ToolArguments {
        /// The block's index.
        index: u32,
        /// The JSON text to append.
        delta: String,
    },
    /// A block is complete.
    BlockEnd {
        /// The block's index.
        index: u32,
    },
    /// The token counts so far. Replaces earlier counts.
    Usage(Usage),
    /// A sign that the connection is alive.
    Heartbeat,
    /// Discards everything that was yielded; the answer starts over. A pool sends this when it switches to another provider, and a
    /// provider's codec when the provider itself starts over. Both do so only before any text was shown.
    Restart,
    /// The answer is complete.
    Finish(Finish),
}

/// The kind of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockKind {
    /// Text for the reader.
    Text,
    /// Reasoning of the model.
    Reasoning,
    /// A tool call.
    ToolCall {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// Options that are offered with the text. The last of an answer count.
    Choices(Choices),
    /// An unknown kind of block, by the provider's name.
    Other(String),
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finish {
    /// The model was done.
    Stop,
    /// The model generated one of the stop texts.
    StopSequence,
    /// The token limit was reached.
    Length,
    /// The model requests tool calls.
    ToolCalls,
    /// A content filter stopped the answer.
    ContentFilter,
    /// The model refused to answer.
    Refusal,
    /// The provider paused a long answer. It continues when the request is repeated with the partial answer.
    Pause,
    /// The context window is full.
    ContextWindow,
    /// Another reason, by the provider's name.
    Other(String),
}

impl Finish {
    /// Returns whether the answer is truncated because it reached a limit. Its last sentence or tool call may be incomplete.
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
