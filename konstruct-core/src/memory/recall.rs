//! Queries to a memory, and their hits.

use std::ops::{BitOr, Range};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ConnectionId, ConversationId, ConversationRef, DocumentId, PersonId, Timestamp, id::FactId,
};

/// A query to a memory, and its audience.
///
/// ```
/// use konstruct_core::{Audience, Recall, memory::Scope};
///
/// let query = Recall::new("opening hours", Audience::Tenant, Scope::KNOWLEDGE)
///     .with_limit(3)
///     .and(Scope::FACTS, 6);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recall {
    /// The text of the query.
    pub text: String,
    /// Who will see the hits.
    pub audience: Audience,
    /// The scopes to search, each with its maximum number of hits. Scopes are searched and ranked independently of each other.
    pub scopes: Vec<(Scope, usize)>,
    /// Returns only messages and facts from this time range. Documents are not filtered.
    pub when: Option<Range<Timestamp>>,
    /// Whether each hit explains its score.
    pub explain: bool,
    /// The ledger key of the request that embeds the query, if it is paid for. Must stay the same when the same query is repeated
    /// after a crash. A random key by default.
    pub call: String,
}

impl Recall {
    /// Creates a query in one scope, with at most 8 hits.
    pub fn new(text: impl Into<String>, audience: Audience, scope: Scope) -> Self {
        Self {
            text: text.into(),
            audience,
            scopes: vec![(scope, 8)],
            when: None,
            explain: false,
            call: format!("embed.{}", Uuid::now_v7()),
        }
    }

    /// Applies changes to the fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sets the maximum number of hits of the last scope.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        if let Some((_, last)) = self.scopes.last_mut() {
            *last = limit;
        }
        self
    }

    /// Adds a scope with its maximum number of hits.
    #[must_use]
    pub fn and(mut self, scope: Scope, limit: usize) -> Self {
        self.scopes.push((scope, limit));
        self
    }
}

/// A channel: all conversations with the same connection and the same [`ConversationRef::id`], regardless of their threads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelRef {
    /// The connection.
    pub connection: ConnectionId,
    /// The provider's id of the channel, as in [`ConversationRef::id`].
    pub place: String,
}

impl ChannelRef {
    /// Returns the channel of a conversation.
    pub fn of(connection: ConnectionId, conversation: &ConversationRef) -> Self {
        Self {
            connection,
            place: conversation.id.clone(),
        }
    }
}

/// Who will see the hits of a query. Hits are limited to what this audience may see.
///
/// An audience names the channel by the provider's id. The first message of a thread therefore sees its channel, and no log has
/// to be read to determine what is visible. A channel is *direct* for a person if all of its conversations are one-to-one and no
/// other human has written in it.
///
/// ```
/// use konstruct_core::{Audience, PersonId, Recall, memory::Scope};
///
/// // What everybody may see, for example to test a document.
/// let public = Recall::new("When are you open?", Audience::Tenant, Scope::KNOWLEDGE);
/// assert_eq!(public.scopes.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Audience {
    /// One person. They see their own facts, messages and facts of channels that are direct for them, and what the tenant shares
    /// with everyone.
    Person {
        /// The person.
        person: PersonId,
    },
    /// The participants of one conversation. They see its messages and facts, and what the tenant shares with everyone.
    Conversation {
        /// The channel of the conversation.
        channel: ChannelRef,
        /// The conversation.
        conversation: ConversationId,
    },
    /// Everyone in a channel. They see the messages and facts of all of its conversations, and what the tenant shares with
    /// everyone.
    Channel {
        /// The channel.
        channel: ChannelRef,
    },
    /// Everyone. They see only what the tenant shares with everyone.
    Tenant,
}

/// What to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Search the documents.
    pub knowledge: bool,
    /// Search the messages.
    pub history: bool,
    /// Search the facts.
    pub facts: bool,
}

impl Scope {
    /// Only documents.
    pub const KNOWLEDGE: Self = Self {
        knowledge: true,
        history: false,
        facts: false,
    };
    /// Only messages.
    pub const HISTORY: Self = Self {
        knowledge: false,
        history: true,
        facts: false,
    };
    /// Only facts.
    pub const FACTS: Self = Self {
        knowledge: false,
        history: false,
        facts: true,
    };
    /// Documents, messages and facts.
    pub const ALL: Self = Self {
        knowledge: true,
        history: true,
        facts: true,
    };
}

impl BitOr for Scope {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            knowledge: self.knowledge || other.knowledge,
            history: self.history || other.history,
            facts: self.facts || other.facts,
        }
    }
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hit {
    /// Where the passage is stored.
    pub source: Source,
    /// The name of the source: the document's title and the section's heading, or the sender of the message.
    pub name: String,
    /// The heading or question above the passage; empty if there is none.
    pub title: String,
    /// The text.
    pub text: String,
    /// The score, comparable only within one recall.
    pub score: f32,
    /// The share of the query's weight that the passage covers by words, from 0 to 1. Comparable between recalls.
    pub coverage: f32,
    /// When the message was sent, the fact was learned or the document was added.
    pub at: Timestamp,
    /// Who sent the message, if the passage is from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_by: Option<SaidBy>,
    /// The persons whose words the passage may contain. Content that is derived from it is encrypted for them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// The sources of a fact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned_from: Vec<Source>,
    /// The address of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The passages directly before and after this one, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// How the score was computed, if the query asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<Signals>,
}

impl Hit {
    /// Applies changes to the fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Creates a hit with only a source, a text and a time.
    pub fn new(source: Source, text: impl Into<String>, at: Timestamp) -> Self {
        Self {
            source,
            name: String::new(),
            title: String::new(),
            text: text.into(),
            score: 0.0,
            coverage: 0.0,
            at,
            said_by: None,
            persons: Vec::new(),
            learned_from: Vec::new(),
            url: None,
            neighbours: Vec::new(),
            signals: None,
        }
    }
}

/// A passage next to a hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Where the passage is stored.
    pub source: Source,
    /// The text.
    pub text: String,
}

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SaidBy {
    /// A person who talks to the employee.
    Person,
    /// The employee.
    Employee,
}

/// The parts of a hit's score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// The BM25 score.
    pub lexical: f32,
    /// The number of the query's words that the passage contains.
    pub terms: u32,
    /// The cosine similarity to the query; `None` if the passage has no vector yet or there is no embedder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f32>,
    /// The combined score of words and meaning, in standard deviations.
    pub fused: f32,
    /// The contribution of the sender, the time and the neighbours, in standard deviations.
    pub context: f32,
}

/// The location of a passage. Records store this instead of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// A chunk of a document.
    Document {
        /// The document.
        id: DocumentId,
        /// The version, from 1.
        version: u32,
        /// The chunk, from 0.
        chunk: u32,
    },
    /// A message in a conversation's log.
    Message {
        /// The conversation.
        conversation: ConversationId,
        /// The index of the record.
        index: u64,
    },
    /// A fact.
    Fact {
        /// The fact.
        id: FactId,
    },
    /// The summary of a conversation.
    Summary {
        /// The conversation.
        conversation: ConversationId,
        /// The index of the first record that it does not cover.
        to: u64,
    },
}
