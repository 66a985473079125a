//! Erasure: what can be erased, how thoroughly, and the receipt.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ConversationId, PersonId, Timestamp};

/// What to erase.
///
/// ```
/// # use std::sync::Arc;
/// use konstruct_core::{ChannelKind, Depth, Erase};
/// # use konstruct_core::{Employee, SystemClock, Workforce, testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let workforce = Workforce::builder_without_memory(ReferenceStore::new(Arc::new(SystemClock)))
/// #     .model(ScriptedModel::new(|_| ScriptedAnswer::text("Hi.")))
/// #     .hire(Employee::builder("Ava").build()?)
/// #     .build()?;
/// workforce.ask("user-7", "My address is 4 Mill Lane.").await?;
/// let person = workforce.person(&ChannelKind::APP, "user-7").await?.expect("they wrote");
/// let receipt = workforce.erase(Erase::Person { person }, Depth::Logical).await?;
/// assert!(receipt.records > 0);
/// assert_eq!(workforce.person(&ChannelKind::APP, "user-7").await?, None);
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
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
    /// A person: every record that may contain their words, even together with those of others. The records keep their indices
    /// and read as `None`. Late deliveries of earlier messages are dropped; later messages belong to a new person.
    Person {
        /// The person.
        person: PersonId,
    },
    /// All data of the tenant.
    Tenant,
}

/// How thoroughly to erase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Depth {
    /// The data can no longer be read through the store. Destroyed keys make a person's bytes unreadable in all copies.
    #[default]
    Logical,
    /// The bytes are also removed from the store's own files.
    Physical,
}

/// A receipt of what was erased and what remains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureReceipt {
    /// What was erased.
    pub what: Erase,
    /// How thoroughly.
    pub depth: Depth,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// The number of log records and unprocessed events that can no longer be read.
    pub records: u64,
    /// The number of passages that can no longer be found.
    pub passages: u64,
    /// The number of facts that were erased with their last source or their person.
    pub facts: u64,
    /// The number of keys that were destroyed.
    pub keys: u64,
    /// The data that remains, and until when.
    pub remains: Vec<Remains>,
}

impl ErasureReceipt {
    /// Creates a receipt with zero counts.
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

/// Data that remains after an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// The kind of data.
    pub what: Remnant,
    /// The count; `None` if not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When the data disappears.
    pub until: Until,
}

/// A kind of data that an erasure may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remnant {
    /// Sealed bytes whose key was destroyed.
    SealedRecords,
    /// The destroyed key itself, wrapped, in old copies of the store. Only the key ring of that time can open it.
    WrappedKeys,
    /// Keyed hashes of word stems.
    TermHashes,
    /// Vectors.
    Vectors,
    /// Keyed hashes of event ids, which prevent a late delivery from restoring the data.
    EventHashes,
    /// Rows of the ledger, which the invoice is made from. They contain no message text.
    Ledger,
}

/// When remaining data disappears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Until {
    /// When the store's files are rewritten: by a physical erasure of redb, or by `VACUUM` of PostgreSQL.
    Rewritten,
    /// When the write-ahead log and the backups of that time are deleted.
    BackupsExpire,
    /// When this key of the key ring is retired.
    RingKeyRetired {
        /// The key's id.
        key: String,
    },
    /// When the tenant is erased.
    TenantErased,
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewritten => f.write_str("until the store's files are rewritten"),
            Self::BackupsExpire => {
                f.write_str("until the write-ahead log and the backups of that time are deleted")
            }
            Self::RingKeyRetired { key } => write!(f, "until key `{key}` of the ring is retired"),
            Self::TenantErased => f.write_str("for as long as the tenant is kept"),
        }
    }
}
