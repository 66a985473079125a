//! A memory without an index, on a database of your own.
//!
//! | file | what |
//! |---|---|
//! | `recall` | questions, and who may see what is found |
//! | `knowledge`, `fact`, `summary` | documents, facts, summaries |
//! | `archive` | exporting, importing and erasing |

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

/// How often a change is computed again because another one was committed meanwhile.
const TRIES: u32 = 64;

/// A memory without an index: it reads a tenant's conversations and items for every question.
///
/// It is complete: it decides who may see what, keeps versions, supersedes facts and forgets. You provide where items are kept (an
/// [`ItemStore`]) and how passages are ranked (a [`PassageSearch`]). A question costs as much time as the tenant has conversations,
/// which is fine for some thousands of messages; beyond that, a memory with an index is needed.
///
/// [`MemoryArchive::forget`](super::MemoryArchive::forget) erases from the conversations first, and then from the items. If it
/// fails in between, it is to be called again.
#[derive(Clone, Debug)]
pub struct ScanMemory {
    store: Arc<dyn Store>,
    items: Arc<dyn ItemStore>,
    search: Arc<dyn PassageSearch>,
    clock: Arc<dyn Clock>,
}

impl ScanMemory {
    /// Makes a memory of the conversations of a store.
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

    /// Whether something may be kept that was made of these conversations and persons after `mark`: all of the persons are known,
    /// and nothing of any of them was erased since.
    async fn may_keep(
        &self,
        (tenant, talk): (TenantId, &Conversations),
        (conversations, persons): (&[ConversationId], &[PersonId]),
        mark: Mark,
    ) -> Result<bool> {
        let erased = self.items.erased(tenant, mark).await?;
        let fine = |erase: &_| !rules::concerns(erase, conversations, persons);
        Ok(persons.iter().all(|person| talk.knows(*person)) && erased.iter().all(fine))
    }
}

/// A change after a mark that only adds or replaces.
fn put(after: Mark, items: impl IntoIterator<Item = Remembered>) -> ItemChange {
    ItemChange {
        after,
        put: items.into_iter().collect(),
        ..ItemChange::default()
    }
}

/// The refusal of a change after too many tries.
fn busy() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "too many changes of the memory at the same time; try again",
    )
}

/// The refusal of something that names a person who is not known.
fn unknown_person() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "persons: names a person who was never heard, or was erased since it was read",
    )
}
