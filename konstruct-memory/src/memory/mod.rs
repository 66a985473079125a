//! The memory, written once over a [`MemoryBackend`](backend::MemoryBackend): what is indexed, who may see it, how hits are
//! ranked, and what an erasure removes.
//!
//! | file | what |
//! |---|---|
//! | `backend` | the interface that a store implements |
//! | `space` | access control: who may see what |
//! | `messages` | the messages at and around a place in a log |
//! | `unit` | turns texts into units of the index |
//! | `follow` | indexes the feed, and embeds what is indexed |
//! | `embedder` | the embedder of a store |
//! | `recall`, `rank`, `fuse` | search, ranking, and combining lexical and semantic scores |
//! | `hits` | loads the text of hits |
//! | `knowledge`, `fact`, `summary` | documents, facts, summaries |
//! | `forget`, `archive` | erasing; exporting and importing |
//! | `tenant_queue`, `round_robin` | which tenant is indexed or embedded next |
//! | `settings` | a tenant's settings, optimistic retries, and reading and writing rows |
//! | `oracle` | a reference in memory with exhaustive search, to compare stores with |

mod archive;
pub(crate) mod backend;
mod embedder;
mod fact;
mod follow;
mod forget;
pub(crate) mod fuse;
mod hits;
mod knowledge;
mod messages;
#[cfg(feature = "testkit")]
mod oracle;
mod rank;
mod recall;
mod relevance;
mod round_robin;
mod settings;
mod space;
mod summary;
#[cfg(any(feature = "redb", feature = "postgres"))]
mod tenant_queue;
mod unit;

pub use self::knowledge::read_document;
#[cfg(feature = "testkit")]
pub use self::oracle::Oracle;
pub(crate) use self::{
    archive::{export, import},
    embedder::MemoryEmbedder,
    fact::{facts, remember, supersede},
    follow::{catch_up, progress},
    forget::forget,
    hits::fetch,
    knowledge::{delete_document, document, documents, put_document, unanswered},
    recall::recall,
    settings::{mark, rebuild, set_language, unknown_person},
    summary::{put_summary, summary},
};

#[cfg(any(feature = "redb", feature = "postgres"))]
pub(crate) use self::{
    follow::{embed_some, keep_up_some},
    tenant_queue::TenantQueue,
};

/// Implements the memory traits for a store. The store has a method `with_backend`, and may have another one for short reads:
/// `async fn with_backend<T>(&self, work: impl FnOnce(Arc<dyn MemoryBackend>) -> BoxFuture<'static, Result<T>>) -> Result<T>`.
macro_rules! memory_store {
    ($store:ty) => {
        $crate::memory::memory_store!($store, with_backend);
    };
    ($store:ty, $reading:ident) => {
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
                    self.$reading(move |backend| {
                        Box::pin(async move { memory::recall(&*backend, tenant, query).await })
                    })
                    .await
                }

                async fn fetch(
                    &self,
                    tenant: TenantId,
                    sources: &[Source],
                ) -> Result<Vec<Option<Hit>>> {
                    let sources = sources.to_vec();
                    self.$reading(move |backend| {
                        Box::pin(async move { memory::fetch(&*backend, tenant, &sources).await })
                    })
                    .await
                }

                async fn mark(&self, tenant: TenantId) -> Result<Mark> {
                    self.$reading(move |backend| {
                        Box::pin(async move { memory::mark(&*backend, tenant).await })
                    })
                    .await
                }

                async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
                    self.with_backend(move |backend| {
                        Box::pin(
                            async move { memory::set_language(&*backend, tenant, language).await },
                        )
                    })
                    .await
                }

                async fn rebuild(&self, tenant: TenantId) -> Result<()> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { memory::rebuild(&*backend, tenant).await })
                    })
                    .await
                }

                async fn catch_up(&self, tenant: TenantId) -> Result<()> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { memory::catch_up(&*backend, tenant).await })
                    })
                    .await
                }

                async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
                    self.$reading(move |backend| {
                        Box::pin(async move { memory::progress(&*backend, tenant).await })
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
                    self.with_backend(move |backend| {
                        Box::pin(
                            async move { memory::forget(&*backend, tenant, what, depth).await },
                        )
                    })
                    .await
                }

                async fn export_memory(
                    &self,
                    tenant: TenantId,
                ) -> Result<BoxStream<'static, Result<Remembered>>> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { Ok(memory::export(backend, tenant)) })
                    })
                    .await
                }

                async fn import_memory(
                    &self,
                    tenant: TenantId,
                    items: Vec<Remembered>,
                ) -> Result<()> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { memory::import(&*backend, tenant, items).await })
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
                    self.with_backend(move |backend| {
                        Box::pin(
                            async move { memory::put_document(&*backend, tenant, document).await },
                        )
                    })
                    .await
                }

                async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { memory::documents(&*backend, tenant).await })
                    })
                    .await
                }

                async fn document(
                    &self,
                    tenant: TenantId,
                    id: DocumentId,
                    version: Option<u32>,
                ) -> Result<Option<(Document, String)>> {
                    self.with_backend(move |backend| {
                        Box::pin(
                            async move { memory::document(&*backend, tenant, id, version).await },
                        )
                    })
                    .await
                }

                async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
                    self.with_backend(move |backend| {
                        Box::pin(
                            async move { memory::delete_document(&*backend, tenant, id).await },
                        )
                    })
                    .await
                }

                async fn unanswered(
                    &self,
                    tenant: TenantId,
                    limit: usize,
                ) -> Result<Vec<Unanswered>> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { memory::unanswered(&*backend, tenant, limit).await })
                    })
                    .await
                }
            }

            #[async_trait]
            impl FactStore for $store {
                async fn remember(&self, tenant: TenantId, fact: NewFact) -> Result<Fact> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { memory::remember(&*backend, tenant, fact).await })
                    })
                    .await
                }

                async fn supersede(
                    &self,
                    tenant: TenantId,
                    old: FactId,
                    new: Option<NewFact>,
                ) -> Result<Option<Fact>> {
                    self.with_backend(move |backend| {
                        Box::pin(
                            async move { memory::supersede(&*backend, tenant, old, new).await },
                        )
                    })
                    .await
                }

                async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
                    self.with_backend(move |backend| {
                        Box::pin(async move { memory::facts(&*backend, tenant, query).await })
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
                    self.$reading(move |backend| {
                        Box::pin(
                            async move { memory::summary(&*backend, tenant, conversation).await },
                        )
                    })
                    .await
                }

                async fn put_summary(&self, tenant: TenantId, summary: NewSummary) -> Result<bool> {
                    self.with_backend(move |backend| {
                        Box::pin(
                            async move { memory::put_summary(&*backend, tenant, summary).await },
                        )
                    })
                    .await
                }
            }
        };
    };
}
pub(crate) use memory_store;
