//! A memory without an index, on a database of your own.
//!
//! | file | what |
//! |---|---|
//! | `recall` | queries, and who may see their hits |
//! | `knowledge`, `fact`, `summary` | documents, facts, summaries |
//! | `archive` | export, import and erasure |

mod archive;
mod fact;
mod knowledge;
mod recall;
mod summary;

use std::{ops::RangeInclusive, sync::Arc};

use super::{
    Conversations, Fact, ItemChange, ItemKey, ItemStore, Language, Mark, PassageSearch, Remembered,
    rules,
};
use crate::{Clock, ConversationId, Error, ErrorKind, PersonId, Result, TenantId, store::Store};

/// How often a change is recomputed because another one was committed meanwhile.
const ATTEMPTS: u32 = 64;

/// A memory without an index, which reads all conversations and items of a tenant for every query.
///
/// It is complete: it decides who may see what, keeps versions, supersedes facts and erases. You provide the storage of its items
/// (an [`ItemStore`]) and the ranking of passages (a [`PassageSearch`]). The time of a query is proportional to the tenant's
/// conversations, which is fine for some thousands of messages; larger tenants need a memory with an index.
///
/// [`MemoryArchive::forget`](super::MemoryArchive::forget) erases the conversations first and then the items. If it fails in
/// between, it must be called again.
#[derive(Clone, Debug)]
pub struct ScanMemory {
    store: Arc<dyn Store>,
    items: Arc<dyn ItemStore>,
    search: Arc<dyn PassageSearch>,
    clock: Arc<dyn Clock>,
}

impl ScanMemory {
    /// Creates a memory of the conversations in a store.
    pub fn new(
        store: Arc<dyn Store>,
        items: Arc<dyn ItemStore>,
        search: Arc<dyn PassageSearch>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            items,
            search,
            clock,
        }
    }

    async fn conversations(&self, tenant: TenantId) -> Result<Conversations> {
        Conversations::read(&*self.store, tenant).await
    }

    async fn item(&self, tenant: TenantId, key: ItemKey) -> Result<Option<Remembered>> {
        Ok(self.items.items(tenant, key..=key).await?.pop())
    }

    async fn facts_of(&self, tenant: TenantId, keys: RangeInclusive<ItemKey>) -> Result<Vec<Fact>> {
        let items = self.items.items(tenant, keys).await?.into_iter();
        let facts = items.filter_map(|item| match item {
            Remembered::Fact { fact } => Some(fact),
            _ => None,
        });
        Ok(facts.collect())
    }

    async fn language(&self, tenant: TenantId) -> Result<Language> {
        Ok(match self.item(tenant, ItemKey::Language).await? {
            Some(Remembered::Language { language }) => language,
            _ => Language::default(),
        })
    }

    /// Returns whether something derived from these conversations and persons after `mark` may be stored: all persons are known,
    /// and nothing of the conversations or persons was erased since.
    async fn may_store(
        &self,
        (tenant, all): (TenantId, &Conversations),
        (conversations, persons): (&[ConversationId], &[PersonId]),
        mark: Mark,
    ) -> Result<bool> {
        let erased = self.items.erased(tenant, mark).await?;
        let unaffected = |erase: &_| !rules::concerns(erase, conversations, persons);
        Ok(persons.iter().all(|person| all.knows(*person)) && erased.iter().all(unaffected))
    }
}

/// Returns a change after a mark that only adds or replaces items.
fn put(after: Mark, items: impl IntoIterator<Item = Remembered>) -> ItemChange {
    ItemChange {
        after,
        put: items.into_iter().collect(),
        ..ItemChange::default()
    }
}

/// Returns the error for a change that failed too many times.
fn busy() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "too many concurrent changes to the memory; try again",
    )
}

/// Returns the error for an item that names an unknown person.
fn unknown_person() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "persons: contains a person who is unknown or was erased since the sources were read",
    )
}
