//! What is remembered, as items that a database of your own keeps.

use std::{fmt, ops::RangeInclusive};

use async_trait::async_trait;

use super::{Erase, Mark, Remembered};
use crate::{ConversationId, DocumentId, PersonId, Result, TenantId, id::FactId};

/// Keeps the items that are remembered of tenants: what a database of your own has to do for a
/// [`ScanMemory`](super::ScanMemory).
///
/// Three tables are enough: the items under their keys, the erasures under their marks, and one mark for each tenant.
/// [`Remembered`] is serialisable, and [`ItemKey::to_bytes`] returns a key for a column. A store that encrypts an item per person
/// finds them in [`Remembered::persons`].
///
/// # Contract
/// * Nothing of one tenant is returned for another.
/// * A commit is atomic and durable when it returns, and is visible to every call that begins afterwards.
/// * What a commit removed or replaced is not returned again.
#[async_trait]
pub trait ItemStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the number of the tenant's last commit; 0 before the first. It never decreases, also not by erasing the tenant.
    ///
    /// # Errors
    /// Those of the database.
    async fn mark(&self, tenant: TenantId) -> Result<Mark>;

    /// Returns the items whose keys are in a range, in the order of their keys.
    ///
    /// # Errors
    /// Those of the database.
    async fn items(
        &self,
        tenant: TenantId,
        keys: RangeInclusive<ItemKey>,
    ) -> Result<Vec<Remembered>>;

    /// Returns the erasures that were committed after a mark, in their order.
    ///
    /// # Errors
    /// Those of the database.
    async fn erased(&self, tenant: TenantId, since: Mark) -> Result<Vec<Erase>>;

    /// Commits all of a change, and returns `true`. It changes nothing and returns `false` if the tenant's mark is not
    /// [`ItemChange::after`] any more.
    ///
    /// # Errors
    /// Those of the database; nothing was changed then.
    async fn commit(&self, tenant: TenantId, change: ItemChange) -> Result<bool>;
}

/// A change of a tenant's items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemChange {
    /// The mark that the change was computed from. The change gets the next number.
    pub after: Mark,
    /// The items to add or to replace, each under its [key](Remembered::key).
    pub put: Vec<Remembered>,
    /// The keys of the items to remove. One that is not there is ignored.
    pub remove: Vec<ItemKey>,
    /// The erasure that the change belongs to, to be returned by [`ItemStore::erased`] under the change's number.
    pub erase: Option<Erase>,
}

/// What an item is kept under. Keys are ordered as an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ItemKey {
    /// The tenant's language.
    Language,
    /// A version of a document.
    Document {
        /// The document.
        id: DocumentId,
        /// Which version, from 1.
        version: u32,
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
    },
}

const FIRST: [u8; 16] = [0; 16];
const LAST: [u8; 16] = [u8::MAX; 16];

impl ItemKey {
    /// The keys of all items.
    pub const ALL: RangeInclusive<Self> = Self::Language..=Self::Summary {
        conversation: ConversationId::from_bytes(LAST),
    };
    /// The keys of all versions of all documents.
    pub const DOCUMENTS: RangeInclusive<Self> = Self::Document {
        id: DocumentId::from_bytes(FIRST),
        version: 0,
    }..=Self::Document {
        id: DocumentId::from_bytes(LAST),
        version: u32::MAX,
    };
    /// The keys of all facts.
    pub const FACTS: RangeInclusive<Self> = Self::Fact {
        id: FactId::from_bytes(FIRST),
    }..=Self::Fact {
        id: FactId::from_bytes(LAST),
    };

    /// Returns the keys of all versions of a document.
    pub fn versions(id: DocumentId) -> RangeInclusive<Self> {
        let version = |version| Self::Document { id, version };
        version(0)..=version(u32::MAX)
    }

    /// Returns bytes that are ordered as the keys are.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Language => vec![0],
            Self::Document { id, version } => {
                [&[1][..], id.as_bytes(), &version.to_be_bytes()].concat()
            }
            Self::Fact { id } => [&[2][..], id.as_bytes()].concat(),
            Self::Summary { conversation } => [&[3][..], conversation.as_bytes()].concat(),
        }
    }
}

impl Remembered {
    /// Returns what the item is kept under.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::Language { .. } => ItemKey::Language,
            Self::Document { document, .. } => ItemKey::Document {
                id: document.id,
                version: document.version,
            },
            Self::Fact { fact } => ItemKey::Fact { id: fact.id },
            Self::Summary { summary } => ItemKey::Summary {
                conversation: summary.conversation,
            },
        }
    }

    /// Returns everyone whose words the item may hold.
    pub fn persons(&self) -> &[PersonId] {
        match self {
            Self::Fact { fact } => &fact.persons,
            Self::Summary { summary } => &summary.persons,
            Self::Language { .. } | Self::Document { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_keys_are_ordered_as_the_keys_are() {
        let (one, two) = ([1; 16], [2; 16]);
        let document = |id, version| ItemKey::Document {
            id: DocumentId::from_bytes(id),
            version,
        };
        let keys = [
            ItemKey::Language,
            document(one, 1),
            document(one, 256),
            document(two, 2),
            ItemKey::Fact {
                id: FactId::from_bytes(one),
            },
            ItemKey::Fact {
                id: FactId::from_bytes(LAST),
            },
            ItemKey::Summary {
                conversation: ConversationId::from_bytes(FIRST),
            },
        ];
        assert!(keys.is_sorted() && keys.iter().all(|key| ItemKey::ALL.contains(key)));
        assert!(keys.map(|key| key.to_bytes()).is_sorted());
        let among = |range: RangeInclusive<ItemKey>| keys.map(|key| range.contains(&key));
        let versions = ItemKey::versions(DocumentId::from_bytes(one));
        assert_eq!(
            among(versions),
            [false, true, true, false, false, false, false]
        );
        assert_eq!(
            among(ItemKey::DOCUMENTS),
            [false, true, true, true, false, false, false]
        );
        assert_eq!(
            among(ItemKey::FACTS),
            [false, false, false, false, true, true, false]
        );
    }
}
