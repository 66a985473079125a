//! Memory: its progress, facts, and erasure.

use konstruct_core::{ConversationId, PersonId, id::FactId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of the export of a person's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PersonalData {
    /// What the person wrote, or what the employee wrote with their words in view.
    Message {
        /// The conversation.
        #[schemars(with = "String")]
        conversation: ConversationId,
        /// The index of the record in its log.
        record: u64,
        /// When, RFC 3339.
        at: String,
        /// `person` or `employee`.
        from: String,
        /// The text.
        text: String,
    },
    /// What the employee remembers about the person.
    Fact {
        /// The fact.
        text: String,
        /// Since when it has been true, RFC 3339.
        valid_from: String,
    },
}

/// Statistics about a tenant's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryStatus {
    /// The number of conversation records.
    pub records: u64,
    /// The number of records in the full-text index.
    pub indexed: u64,
    /// The number of passages of messages, facts and documents.
    pub passages: u64,
    /// The number of passages in the semantic index.
    pub embedded: u64,
}

/// A question without an answer in the documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unanswered {
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The index of the record with the question.
    pub index: u64,
    /// The question.
    pub text: String,
    /// When it was asked, RFC 3339.
    pub at: String,
}

/// A learned fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    /// Its id.
    #[schemars(with = "String")]
    pub id: FactId,
    /// The fact.
    pub text: String,
    /// Its topic, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The quotes that support the fact.
    pub sources: Vec<FactSource>,
    /// The time from which it is valid, RFC 3339.
    pub valid_from: String,
}

/// A quote that supports a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactSource {
    /// The conversation.
    #[schemars(with = "String")]
    pub conversation: ConversationId,
    /// The index of the record.
    pub index: u64,
    /// The quote.
    pub quote: String,
}

/// An erasure to perform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewErasure {
    /// The data to erase.
    pub what: Erase,
    /// Whether to remove the data from the store's own files too, which takes as long as copying them.
    #[serde(default)]
    pub physical: bool,
}

/// The data to erase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Erase {
    /// One message.
    Message {
        /// The conversation.
        #[schemars(with = "String")]
        conversation: ConversationId,
        /// The index of the record.
        index: u64,
    },
    /// One conversation.
    Conversation {
        /// The conversation.
        #[schemars(with = "String")]
        conversation: ConversationId,
    },
    /// A person: all data that contains their words.
    Person {
        /// The person.
        #[schemars(with = "String")]
        person: PersonId,
    },
}

/// The result of an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erasure {
    /// The time of the erasure, RFC 3339.
    pub at: String,
    /// The number of records and waiting events that can no longer be read.
    pub records: u64,
    /// The number of passages that are no longer found.
    pub passages: u64,
    /// The number of erased facts.
    pub facts: u64,
    /// The number of destroyed keys.
    pub keys: u64,
    /// The data that remains, with its number and expiry.
    pub remains: Vec<Remains>,
}

/// Data that remains after an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remains {
    /// The kind of data, such as `sealed_records`, `wrapped_keys` or `vectors`.
    pub what: String,
    /// The number, if it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When it expires.
    pub until: String,
}
