//! Facts learned from messages, each with quotes of its sources.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Audience, Mark};
use crate::{ConversationId, PersonId, Result, TenantId, Timestamp, id::FactId};

/// Stores facts.
///
/// # Contract
/// A fact is never modified. It can be superseded, and remains visible in queries as of an earlier time. It is deleted together
/// with the last of its sources.
#[async_trait]
pub trait FactStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a fact.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with the field's name, for an empty text, a missing source, a
    /// quote that is not in its source, or a source that the fact's owner may not see.
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for a fact that names an unknown or erased person, or if anything of
    /// its sources or persons was erased since its [`mark`](NewFact::mark). Nothing is stored then.
    async fn remember(&self, tenant: TenantId, fact: NewFact) -> Result<Fact>;

    /// Ends the validity of a fact, and replaces it with a new fact if one is given. Returns the new fact.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the fact does not exist,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it was superseded before, and those of [`FactStore::remember`].
    async fn supersede(
        &self,
        tenant: TenantId,
        old: FactId,
        new: Option<NewFact>,
    ) -> Result<Option<Fact>>;

    /// Lists facts, newest first.
    ///
    /// # Errors
    /// Any error of the store.
    async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>>;
}

/// A query for facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who will see the facts.
    pub audience: Audience,
    /// Returns only facts about this person.
    pub about: Option<PersonId>,
    /// Returns the facts that were known and valid at this time; `None` for now.
    pub as_of: Option<Timestamp>,
}

/// A fact to store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewFact {
    /// The statement, 1 to 1,000 characters.
    pub text: String,
    /// The topic in a few words, such as `home city`. A fact that is learned later with the same topic, person and owner
    /// supersedes this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The owner, which determines who may see the fact.
    pub owner: FactOwner,
    /// The person that the fact is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<PersonId>,
    /// Quotes of the messages that the fact is based on; at least one.
    pub sources: Vec<Quote>,
    /// Other persons whose words the author of the fact was shown. The fact is encrypted for them as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<PersonId>,
    /// The mark from before the author read the sources. `None`: the fact is based on the current sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// When the fact becomes valid; `None` for the time of the first source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// When the fact is no longer recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl NewFact {
    /// Creates a fact from its sources.
    pub fn new(text: impl Into<String>, owner: FactOwner, sources: Vec<Quote>) -> Self {
        Self {
            text: text.into(),
            topic: None,
            owner,
            about: None,
            sources,
            shown: Vec::new(),
            mark: None,
            valid_from: None,
            expires_at: None,
        }
    }
}

/// The owner of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FactOwner {
    /// A person. Only this person may see the fact.
    Person {
        /// The person.
        person: PersonId,
    },
    /// The conversation that contains all sources.
    Conversation,
    /// The channel that contains all sources.
    Channel,
}

/// A quote of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the record.
    pub index: u64,
    /// The quoted words. White space and case may differ from the message.
    pub quote: String,
}

/// A stored fact, which may be superseded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Its id.
    pub id: FactId,
    /// The statement.
    pub text: String,
    /// The topic in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The owner, which determines who may see the fact.
    pub owner: FactOwner,
    /// The person that the fact is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<PersonId>,
    /// The quotes that the fact is based on. Erased sources are removed from the list.
    pub sources: Vec<Quote>,
    /// The persons whose words the fact may contain. It is encrypted for all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// When the fact was stored.
    pub known_from: Timestamp,
    /// When the fact becomes valid.
    pub valid_from: Timestamp,
    /// When it was superseded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// When the fact is no longer recalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The fact that superseded this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<FactId>,
}

impl Fact {
    /// Returns whether the fact was known and valid at a time.
    pub fn holds_at(&self, when: Timestamp) -> bool {
        self.known_from <= when
            && self.valid_from <= when
            && self.valid_to.is_none_or(|end| when < end)
            && self.expires_at.is_none_or(|end| when < end)
    }
}
