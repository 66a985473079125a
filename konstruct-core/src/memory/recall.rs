//! The question to a memory, and what is found.

use std::ops::{BitOr, Range};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ConnectionId, ConversationId, ConversationRef, DocumentId, PersonId, Timestamp, id::FactId,
};

/// What to recall, and for whom.
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
    /// The question.
    pub text: String,
    /// Who will see what is found.
    pub audience: Audience,
    /// Where to look, each with the most hits. Each is searched and ranked by itself: what one scope holds changes nothing in another.
    pub scopes: Vec<(Scope, usize)>,
    /// Only what was said, or learned, at such a time; documents are of every time.
    pub when: Option<Range<Timestamp>>,
    /// Whether each hit tells how it came to its score.
    pub explain: bool,
    /// What the ledger calls the request that embeds the question, where that is paid for: a key that stays the same when the same question
    /// is asked again after a crash. A new one by default.
    pub call: String,
}

impl Recall {
    /// Makes a question in one scope, with at most 8 hits.
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

    /// Returns it with changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sets the most hits of the scope that was added last.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        if let Some((_, last)) = self.scopes.last_mut() {
            *last = limit;
        }
        self
    }

    /// Adds a scope.
    #[must_use]
    pub fn and(mut self, scope: Scope, limit: usize) -> Self {
        self.scopes.push((scope, limit));
        self
    }
}

/// A channel: what conversations are parts of that have an equal connection and an equal [`ConversationRef::id`], whatever their
/// thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelRef {
    /// The connection.
    pub connection: ConnectionId,
    /// What the vendor calls it: [`ConversationRef::id`].
    pub place: String,
}

impl ChannelRef {
    /// The channel of a conversation.
    pub fn of(connection: ConnectionId, conversation: &ConversationRef) -> Self {
        Self {
            connection,
            place: conversation.id.clone(),
        }
    }
}

/// Who will see what is recalled: never more than they may.
///
/// It names the channel as the vendor does, so that the first message of a thread sees its channel: no log has to be read to know
/// who may see what. A channel is *direct* for a person when every conversation in it is one-to-one and that person is the only
/// human who was heard there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Audience {
    /// Only one person. They see what is theirs, what was said and learned in channels that are direct for them, and what
    /// the tenant shares with everyone.
    Person {
        /// The person.
        person: PersonId,
    },
    /// Those who take part in one conversation. They see what was said and learned in it, and what the tenant shares with
    /// everyone.
    Conversation {
        /// The channel that it is part of.
        channel: ChannelRef,
        /// The conversation.
        conversation: ConversationId,
    },
    /// Everyone in a channel. They see what was said and learned in all of its conversations, and what the tenant shares with
    /// everyone.
    Channel {
        /// The channel.
        channel: ChannelRef,
    },
    /// Everyone: they see what the tenant shares.
    Tenant,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// In knowledge documents.
    pub knowledge: bool,
    /// In what was said.
    pub history: bool,
    /// In facts.
    pub facts: bool,
}

impl Scope {
    /// In knowledge documents.
    pub const KNOWLEDGE: Self = Self {
        knowledge: true,
        history: false,
        facts: false,
    };
    /// In what was said.
    pub const HISTORY: Self = Self {
        knowledge: false,
        history: true,
        facts: false,
    };
    /// In facts.
    pub const FACTS: Self = Self {
        knowledge: false,
        history: false,
        facts: true,
    };
    /// Everywhere.
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

/// Something found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hit {
    /// Where it stands.
    pub source: Source,
    /// The name of where it stands: the document's title and the heading within, or who said it.
    pub name: String,
    /// The heading or question that it stands under, if any.
    pub title: String,
    /// The text.
    pub text: String,
    /// The score, comparable only within one recall.
    pub score: f32,
    /// How much of the question's weight it covers by its words, from 0 to 1: comparable between recalls.
    pub coverage: f32,
    /// When it was said, learned or added.
    pub at: Timestamp,
    /// Who said it, for what was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_by: Option<SaidBy>,
    /// Everyone whose words it may hold: what is made of it is sealed to them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// What it was learned from, for a fact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned_from: Vec<Source>,
    /// Where the document is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What stands right before and after it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// How it came to its score, if that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<Signals>,
}

impl Hit {
    /// Returns it with changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Makes a hit that has only a place, a name, a title, a text and a time.
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

/// What stands beside a hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Where it stands.
    pub source: Source,
    /// The text.
    pub text: String,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SaidBy {
    /// Somebody who talks with the employee.
    Person,
    /// The employee.
    Employee,
}

/// How a hit came to its score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// The score by its words: BM25.
    pub lexical: f32,
    /// How many of the question's words it holds.
    pub terms: u32,
    /// The cosine to the question. `None`: it has no vector yet, or there is no embedder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f32>,
    /// What the two give together, in standard deviations.
    pub fused: f32,
    /// What who said it, when, and what stands beside it add, in standard deviations.
    pub context: f32,
}

/// Where a hit stands. A record keeps this, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// In a version of a document.
    Document {
        /// The document.
        id: DocumentId,
        /// Which version, from 1.
        version: u32,
        /// Which chunk of it, from 0.
        chunk: u32,
    },
    /// In a conversation's log.
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
