//! The memory, written once over a [`Shelf`]: what is indexed, who may see it, how hits are ranked, and what an erasure takes
//! along.
//!
//! | file | what |
//! |---|---|
//! | `shelf` | what a store must offer |
//! | `space` | who may see what |
//! | `said` | what a record of a log says |
//! | `unit` | texts into the words of an index |
//! | `follow` | the index follows the feed, and vectors follow the index |
//! | `recall`, `rank`, `fuse` | questions, the order of hits, and how words and meaning are added up |
//! | `knowledge`, `fact`, `summary` | documents, facts, summaries |
//! | `forget`, `archive` | erasing; exporting and importing |
//! | `settings` | what is kept of a tenant besides |
//! | `oracle` | a shelf in memory that searches everything, to compare stores with |

mod archive;
mod fact;
mod follow;
mod forget;
pub(crate) mod fuse;
mod knowledge;
#[cfg(feature = "testkit")]
mod oracle;
mod rank;
mod recall;
mod said;
mod settings;
pub(crate) mod shelf;
mod space;
mod summary;
mod unit;

#[cfg(feature = "testkit")]
pub use self::oracle::Oracle;
pub(crate) use self::{
    archive::{export, import},
    fact::{facts, remember, supersede},
    follow::{catch_up, follow, progress},
    forget::forget,
    knowledge::{delete_document, document, documents, put_document, unanswered},
    recall::{fetch, recall},
    settings::set_language,
    summary::{put_summary, summary},
};

/// Gives a store that is a `Shelf` and `Clone` the memory traits.
macro_rules! memory_store {
    ($store:ty) => {
        const _: () = {
            use std::sync::Arc;

            use async_trait::async_trait;
            use futures_util::stream::BoxStream;
            use konstruct_core::{
                ConversationId, Depth, Document, DocumentId, Erase, ErasureReceipt, Fact, FactId,
                FactStore, Facts, Hit, IndexProgress, KnowledgeStore, Language, MemoryStore,
                NewDocument, NewFact, Recall, Remembered, Result, Source, Summary, SummaryStore,
                TenantId, Unanswered,
            };

            use $crate::memory;

            #[async_trait]
            impl MemoryStore for $store {
                async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
                    memory::recall(self, tenant, query).await
                }

                async fn fetch(
                    &self,
                    tenant: TenantId,
                    sources: &[Source],
                ) -> Result<Vec<Option<Hit>>> {
                    memory::fetch(self, tenant, sources).await
                }

                async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
                    memory::set_language(self, tenant, language).await
                }

                async fn catch_up(&self, tenant: TenantId) -> Result<()> {
                    memory::catch_up(self, tenant).await
                }

                async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
                    memory::progress(self, tenant).await
                }

                async fn forget(
                    &self,
                    tenant: TenantId,
                    what: Erase,
                    depth: Depth,
                ) -> Result<ErasureReceipt> {
                    memory::forget(self, tenant, what, depth).await
                }

                async fn export_memory(
                    &self,
                    tenant: TenantId,
                ) -> Result<BoxStream<'static, Result<Remembered>>> {
                    Ok(memory::export(Arc::new(self.clone()), tenant))
                }

                async fn import_memory(
                    &self,
                    tenant: TenantId,
                    items: Vec<Remembered>,
                ) -> Result<()> {
                    memory::import(self, tenant, items).await
                }
            }

            #[async_trait]
            impl KnowledgeStore for $store {
                async fn put_document(
                    &self,
                    tenant: TenantId,
                    document: NewDocument,
                ) -> Result<Document> {
                    memory::put_document(self, tenant, document).await
                }

                async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
                    memory::documents(self, tenant).await
                }

                async fn document(
                    &self,
                    tenant: TenantId,
                    id: DocumentId,
                    version: Option<u32>,
                ) -> Result<Option<(Document, String)>> {
                    memory::document(self, tenant, id, version).await
                }

                async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
                    memory::delete_document(self, tenant, id).await
                }

                async fn unanswered(
                    &self,
                    tenant: TenantId,
                    limit: usize,
                ) -> Result<Vec<Unanswered>> {
                    memory::unanswered(self, tenant, limit).await
                }
            }

            #[async_trait]
            impl FactStore for $store {
                async fn remember(&self, tenant: TenantId, fact: NewFact) -> Result<Fact> {
                    memory::remember(self, tenant, fact).await
                }

                async fn supersede(
                    &self,
                    tenant: TenantId,
                    old: FactId,
                    new: Option<NewFact>,
                ) -> Result<Option<Fact>> {
                    memory::supersede(self, tenant, old, new).await
                }

                async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
                    memory::facts(self, tenant, query).await
                }
            }

            #[async_trait]
            impl SummaryStore for $store {
                async fn summary(
                    &self,
                    tenant: TenantId,
                    conversation: ConversationId,
                ) -> Result<Option<Summary>> {
                    memory::summary(self, tenant, conversation).await
                }

                async fn put_summary(&self, tenant: TenantId, summary: Summary) -> Result<bool> {
                    memory::put_summary(self, tenant, summary).await
                }
            }
        };
    };
}
pub(crate) use memory_store;
