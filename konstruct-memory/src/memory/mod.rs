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
//! | `embedding` | what a store embeds with |
//! | `recall`, `rank`, `fuse` | questions, the order of hits, and how words and meaning are added up |
//! | `shown` | what a hit shows |
//! | `knowledge`, `fact`, `summary` | documents, facts, summaries |
//! | `forget`, `archive` | erasing; exporting and importing |
//! | `turns`, `fed` | whose index and whose vectors are brought up to date next |
//! | `settings` | what is kept of a tenant besides |
//! | `oracle` | a shelf in memory that searches everything, to compare stores with |

mod archive;
mod embedding;
mod fact;
#[cfg(any(feature = "redb", feature = "postgres"))]
mod fed;
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
mod shown;
mod space;
mod summary;
mod turns;
mod unit;

pub use self::knowledge::read_document;
#[cfg(feature = "testkit")]
pub use self::oracle::Oracle;
pub(crate) use self::{
    archive::{export, import},
    embedding::Embedding,
    fact::{facts, remember, supersede},
    follow::{catch_up, progress},
    forget::forget,
    knowledge::{delete_document, document, documents, put_document, unanswered},
    recall::recall,
    settings::{mark, rebuild, set_language, unknown_person},
    shown::fetch,
    summary::{put_summary, summary},
};

#[cfg(any(feature = "redb", feature = "postgres"))]
pub(crate) use self::{
    fed::Fed,
    follow::{embed_some, keep_up_some},
};

/// Gives a store the memory traits. It has a method `shelved`, which does something with its shelf, and may have another for what
/// only reads, and little at a time:
/// `async fn shelved<T>(&self, work: impl FnOnce(Arc<dyn Shelf>) -> BoxFuture<'static, Result<T>>) -> Result<T>`.
macro_rules! memory_store {
    ($store:ty) => {
        $crate::memory::memory_store!($store, shelved);
    };
    ($store:ty, $looked:ident) => {
        const _: () = {
            use async_trait::async_trait;
            use futures_util::stream::BoxStream;
            use konstruct_core::{
                ConversationId, Depth, Document, DocumentId, Erase, Hit, MemoryStore, NewDocument,
                Recall, Result, TenantId,
                id::FactId,
                memory::{
                    ErasureReceipt, Fact, FactStore, Facts, IndexProgress, KnowledgeStore,
                    Language, Mark, MemoryArchive, NewFact, NewSummary, Remembered, Source,
                    Summary, SummaryStore, Unanswered,
                },
            };

            use $crate::memory;

            #[async_trait]
            impl MemoryStore for $store {
                async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
                    self.$looked(move |shelf| {
                        Box::pin(async move { memory::recall(&*shelf, tenant, query).await })
                    })
                    .await
                }

                async fn fetch(
                    &self,
                    tenant: TenantId,
                    sources: &[Source],
                ) -> Result<Vec<Option<Hit>>> {
                    let sources = sources.to_vec();
                    self.$looked(move |shelf| {
                        Box::pin(async move { memory::fetch(&*shelf, tenant, &sources).await })
                    })
                    .await
                }

                async fn mark(&self, tenant: TenantId) -> Result<Mark> {
                    self.$looked(move |shelf| {
                        Box::pin(async move { memory::mark(&*shelf, tenant).await })
                    })
                    .await
                }

                async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
                    self.shelved(move |shelf| {
                        Box::pin(
                            async move { memory::set_language(&*shelf, tenant, language).await },
                        )
                    })
                    .await
                }

                async fn rebuild(&self, tenant: TenantId) -> Result<()> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::rebuild(&*shelf, tenant).await })
                    })
                    .await
                }

                async fn catch_up(&self, tenant: TenantId) -> Result<()> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::catch_up(&*shelf, tenant).await })
                    })
                    .await
                }

                async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
                    self.$looked(move |shelf| {
                        Box::pin(async move { memory::progress(&*shelf, tenant).await })
                    })
                    .await
                }
            }

            #[async_trait]
            impl MemoryArchive for $store {
                async fn forget(
                    &self,
                    tenant: TenantId,
                    what: Erase,
                    depth: Depth,
                ) -> Result<ErasureReceipt> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::forget(&*shelf, tenant, what, depth).await })
                    })
                    .await
                }

                async fn export_memory(
                    &self,
                    tenant: TenantId,
                ) -> Result<BoxStream<'static, Result<Remembered>>> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { Ok(memory::export(shelf, tenant)) })
                    })
                    .await
                }

                async fn import_memory(
                    &self,
                    tenant: TenantId,
                    items: Vec<Remembered>,
                ) -> Result<()> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::import(&*shelf, tenant, items).await })
                    })
                    .await
                }
            }

            #[async_trait]
            impl KnowledgeStore for $store {
                async fn put_document(
                    &self,
                    tenant: TenantId,
                    document: NewDocument,
                ) -> Result<Document> {
                    self.shelved(move |shelf| {
                        Box::pin(
                            async move { memory::put_document(&*shelf, tenant, document).await },
                        )
                    })
                    .await
                }

                async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::documents(&*shelf, tenant).await })
                    })
                    .await
                }

                async fn document(
                    &self,
                    tenant: TenantId,
                    id: DocumentId,
                    version: Option<u32>,
                ) -> Result<Option<(Document, String)>> {
                    self.shelved(move |shelf| {
                        Box::pin(
                            async move { memory::document(&*shelf, tenant, id, version).await },
                        )
                    })
                    .await
                }

                async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::delete_document(&*shelf, tenant, id).await })
                    })
                    .await
                }

                async fn unanswered(
                    &self,
                    tenant: TenantId,
                    limit: usize,
                ) -> Result<Vec<Unanswered>> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::unanswered(&*shelf, tenant, limit).await })
                    })
                    .await
                }
            }

            #[async_trait]
            impl FactStore for $store {
                async fn remember(&self, tenant: TenantId, fact: NewFact) -> Result<Fact> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::remember(&*shelf, tenant, fact).await })
                    })
                    .await
                }

                async fn supersede(
                    &self,
                    tenant: TenantId,
                    old: FactId,
                    new: Option<NewFact>,
                ) -> Result<Option<Fact>> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::supersede(&*shelf, tenant, old, new).await })
                    })
                    .await
                }

                async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::facts(&*shelf, tenant, query).await })
                    })
                    .await
                }
            }

            #[async_trait]
            impl SummaryStore for $store {
                async fn summary(
                    &self,
                    tenant: TenantId,
                    conversation: ConversationId,
                ) -> Result<Option<Summary>> {
                    self.$looked(move |shelf| {
                        Box::pin(
                            async move { memory::summary(&*shelf, tenant, conversation).await },
                        )
                    })
                    .await
                }

                async fn put_summary(&self, tenant: TenantId, summary: NewSummary) -> Result<bool> {
                    self.shelved(move |shelf| {
                        Box::pin(async move { memory::put_summary(&*shelf, tenant, summary).await })
                    })
                    .await
                }
            }
        };
    };
}
pub(crate) use memory_store;
