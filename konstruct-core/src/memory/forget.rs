//! Forgetting: what can be erased, how thoroughly, and the receipt.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ConversationId, PersonId, Timestamp};

/// What to erase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Erase {
    /// One record of a conversation's log, and what was derived from it. The record keeps its index and reads as `None`.
    Message {
        /// The conversation.
        conversation: ConversationId,
        /// The index of the record.
        index: u64,
    },
    /// One conversation.
    Conversation {
        /// The conversation.
        conversation: ConversationId,
    },
    /// A person: every record that may hold their words, whoever else's it holds. The records keep their indexes and read as
    /// `None`. Late deliveries of what the person said before are dropped; what they say from now on is a new person's.
    Person {
        /// The person.
        person: PersonId,
    },
    /// All that is kept of the tenant.
    Tenant,
}

/// How thoroughly to erase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Depth {
    /// Nothing of it can be reached through the store. Destroyed keys make a person's bytes unreadable wherever they are.
    #[default]
    Logical,
    /// Its bytes are gone from the store's own files too.
    Physical,
}

/// What was erased, and what remains where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureReceipt {
    /// What was erased.
    pub what: Erase,
    /// How thoroughly.
    pub depth: Depth,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// How many records of logs, and events that were not worked yet, can no longer be read.
    pub records: u64,
    /// How many passages are no longer found.
    pub passages: u64,
    /// How many facts went with their last source or their person.
    pub facts: u64,
    /// How many keys were destroyed.
    pub keys: u64,
    /// What remains, and until when.
    pub remains: Vec<Remains>,
}

impl ErasureReceipt {
    /// Makes a receipt that counts nothing.
    pub fn new(what: Erase, depth: Depth, at: Timestamp) -> Self {
        Self {
            what,
            depth,
            at,
            records: 0,
            passages: 0,
            facts: 0,
            keys: 0,
            remains: Vec::new(),
        }
    }
}

/// Something that an erasure leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// What.
    pub what: Remnant,
    /// How many. `None`: not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Until when.
    pub until: Until,
}

/// What an erasure may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remnant {
    /// Sealed bytes that no key opens any more.
    SealedRecords,
    /// The destroyed key itself, wrapped, in old copies of the store: it opens only with the key ring of that time.
    WrappedKeys,
    /// Keyed hashes of word stems.
    TermHashes,
    /// Vectors.
    Vectors,
    /// Keyed hashes of event ids, so that a late delivery does not bring it back.
    EventHashes,
    /// Rows of the ledger, which is the invoice: they hold no words.
    Ledger,
}

/// Until when something remains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Until {
    /// Until the store's files are rewritten: a physical erasure of redb, or `VACUUM` of PostgreSQL.
    Rewritten,
    /// Until the write-ahead log and the backups of that time are gone.
    BackupsExpire,
    /// Until this key of the ring is retired.
    RingKeyRetired {
        /// The key's id.
        key: String,
    },
    /// For as long as the tenant is kept.
    TenantErased,
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewritten => f.write_str("until the store's files are rewritten"),
            Self::BackupsExpire => {
                f.write_str("until the write-ahead log and the backups of that time are gone")
            }
            Self::RingKeyRetired { key } => write!(f, "until key `{key}` of the ring is retired"),
            Self::TenantErased => f.write_str("for as long as the tenant is kept"),
        }
    }
}
