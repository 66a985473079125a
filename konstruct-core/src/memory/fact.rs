//! Facts: what was learned from what was said, each with the words that it stands on.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Audience, Mark};
use crate::{ConversationId, PersonId, Result, TenantId, Timestamp, id::FactId};

/// Keeps facts.
///
/// # Contract
/// A fact is never changed in silence: it is superseded, and stays to be seen as of an earlier time. It is gone with the last of
/// its sources.
#[async_trait]
pub trait FactStore: fmt::Debug + Send + Sync + 'static {
    /// Remembers a fact.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that names the field: no text, no source, a quote that does not
    /// stand in its source, or a source that the fact's owner may not see. [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for a
    /// fact that names a person who was never heard or was erased, or whose sources or persons something was erased of since its
    /// [`mark`](NewFact::mark). Nothing is stored then.
    async fn remember(&self, tenant: TenantId, fact: NewFact) -> Result<Fact>;

    /// Ends a fact, and puts another in its place if there is one. Returns the new one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such fact, [`ErrorKind::Conflict`](crate::ErrorKind::Conflict)
    /// when it was superseded before, and those of [`FactStore::remember`].
    async fn supersede(
        &self,
        tenant: TenantId,
        old: FactId,
        new: Option<NewFact>,
    ) -> Result<Option<Fact>>;

    /// Lists facts, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>>;
}

/// Which facts to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who will see them.
    pub audience: Audience,
    /// Only those about this person.
    pub about: Option<PersonId>,
    /// As of when: those that held then and were known then. `None`: now.
    pub as_of: Option<Timestamp>,
}

/// A fact to remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewFact {
    /// What is so, 1 to 1,000 characters.
    pub text: String,
    /// What it is about, in a few words, such as `home city`. A fact that is learned of the same topic, person and owner
    /// supersedes this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Whose it is, and so who may see it.
    pub owner: FactOwner,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<PersonId>,
    /// The words that it is based on: at least one.
    pub sources: Vec<Quote>,
    /// Everyone else whose words its maker was shown: it is sealed to them as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<PersonId>,
    /// The moment before its maker read what it is made from. `None`: it is made from its sources as they are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// From when on it holds. `None`: from the time of the first source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// From when on it is not recalled any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl NewFact {
    /// Makes a fact of its sources.
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

/// Whose a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FactOwner {
    /// A person: it is seen by no one else.
    Person {
        /// The person.
        person: PersonId,
    },
    /// The one conversation that all of its sources are in.
    Conversation,
    /// The channel that all of its sources are in.
    Channel,
}

/// Words that stand in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the record.
    pub index: u64,
    /// The words, as they stand there; white space and case may differ.
    pub quote: String,
}

/// A fact, current or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Its id.
    pub id: FactId,
    /// What is so.
    pub text: String,
    /// What it is about, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Whose it is, and so who may see it.
    pub owner: FactOwner,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<PersonId>,
    /// What it stands on. A source that was erased is gone from here.
    pub sources: Vec<Quote>,
    /// Everyone whose words it may hold: it is sealed to all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persons: Vec<PersonId>,
    /// When it was remembered.
    pub known_from: Timestamp,
    /// From when on it holds.
    pub valid_from: Timestamp,
    /// When it was superseded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// From when on it is not recalled any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What stands in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<FactId>,
}

impl Fact {
    /// Returns whether it was known and held at a time.
    pub fn holds_at(&self, when: Timestamp) -> bool {
        self.known_from <= when
            && self.valid_from <= when
            && self.valid_to.is_none_or(|end| when < end)
            && self.expires_at.is_none_or(|end| when < end)
    }
}
