//! A memory that does one thing wrong, so that the suite can be seen to bite.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{
    Audience, ConversationId, Depth, Document, DocumentId, Erase, Hit, MemoryStore, NewDocument,
    Recall, Result, TenantId, Timestamp,
    id::FactId,
    memory::{
        ErasureReceipt, Fact, FactStore, Facts, IndexProgress, KnowledgeStore, Language, Mark,
        MemoryArchive, NewFact, NewSummary, Remembered, Source, Summary, SummaryStore, Unanswered,
    },
};

/// What is wrong with a [`BrokenMemory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryFlaw {
    /// Nothing: the wrapper itself is right.
    Nothing,
    /// One audience sees what another one may see.
    SharesAudiences,
    /// One tenant sees what another one has.
    SharesTenants,
    /// The time is looked at after the best were chosen.
    FiltersLate,
    /// What is deleted stays.
    KeepsDeleted,
    /// What is to be forgotten stays.
    KeepsForgotten,
    /// What was made before an erasure is stored after it.
    TakesLateWrites,
    /// A superseded fact stays current.
    KeepsSuperseded,
}

/// A memory with a flaw.
#[derive(Clone, Debug)]
pub struct BrokenMemory {
    inner: Arc<dyn MemoryStore>,
    flaw: MemoryFlaw,
    asked: Arc<Mutex<Vec<(TenantId, Audience)>>>,
}

impl BrokenMemory {
    /// Breaks a memory.
    pub fn new(inner: Arc<dyn MemoryStore>, flaw: MemoryFlaw) -> Self {
        Self {
            inner,
            flaw,
            asked: Arc::default(),
        }
    }

    /// Notes who asks, and returns who asked before.
    fn note(&self, tenant: TenantId, audience: Audience) -> Vec<(TenantId, Audience)> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.contains(&(tenant, audience.clone())) {
            asked.push((tenant, audience.clone()));
        }
        asked.clone()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MemoryStore for BrokenMemory {
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
        let others = self.note(tenant, query.audience.clone());
        let when = query.when.clone();
        let mut own = query.clone();
        if self.flaw == MemoryFlaw::FiltersLate {
            own.when = None;
        }
        let mut hits = self.inner.recall(tenant, own).await?;
        for (other, audience) in others {
            let leaks = match self.flaw {
                MemoryFlaw::SharesAudiences => other == tenant && audience != query.audience,
                MemoryFlaw::SharesTenants => other != tenant,
                _ => false,
            };
            if leaks {
                let query = Recall {
                    audience,
                    ..query.clone()
                };
                hits.extend(self.inner.recall(other, query).await?);
            }
        }
        if let Some(when) = when.filter(|_| self.flaw == MemoryFlaw::FiltersLate) {
            hits.retain(|hit| when.contains(&hit.at));
        }
        Ok(hits)
    }

    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>> {
        self.inner.fetch(tenant, sources).await
    }

    async fn mark(&self, tenant: TenantId) -> Result<Mark> {
        self.inner.mark(tenant).await
    }

    async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
        self.inner.set_language(tenant, language).await
    }

    async fn rebuild(&self, tenant: TenantId) -> Result<()> {
        self.inner.rebuild(tenant).await
    }

    async fn catch_up(&self, tenant: TenantId) -> Result<()> {
        self.inner.catch_up(tenant).await
    }

    async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
        self.inner.progress(tenant).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MemoryArchive for BrokenMemory {
    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        if self.flaw == MemoryFlaw::KeepsForgotten {
            return Ok(ErasureReceipt::new(what, depth, Timestamp::from_micros(0)));
        }
        self.inner.forget(tenant, what, depth).await
    }

    async fn export_memory(
        &self,
        tenant: TenantId,
    ) -> Result<BoxStream<'static, Result<Remembered>>> {
        self.inner.export_memory(tenant).await
    }

    async fn import_memory(&self, tenant: TenantId, items: Vec<Remembered>) -> Result<()> {
        self.inner.import_memory(tenant, items).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KnowledgeStore for BrokenMemory {
    async fn put_document(&self, tenant: TenantId, document: NewDocument) -> Result<Document> {
        self.inner.put_document(tenant, document).await
    }

    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
        self.inner.documents(tenant).await
    }

    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>> {
        self.inner.document(tenant, id, version).await
    }

    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
        if self.flaw == MemoryFlaw::KeepsDeleted {
            return Ok(true);
        }
        self.inner.delete_document(tenant, id).await
    }

    async fn unanswered(&self, tenant: TenantId, limit: usize) -> Result<Vec<Unanswered>> {
        self.inner.unanswered(tenant, limit).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FactStore for BrokenMemory {
    async fn remember(&self, tenant: TenantId, mut fact: NewFact) -> Result<Fact> {
        if self.flaw == MemoryFlaw::TakesLateWrites {
            fact.mark = None;
        }
        self.inner.remember(tenant, fact).await
    }

    async fn supersede(
        &self,
        tenant: TenantId,
        old: FactId,
        new: Option<NewFact>,
    ) -> Result<Option<Fact>> {
        if let Some(new) = new.clone()
            && self.flaw == MemoryFlaw::KeepsSuperseded
        {
            return self.inner.remember(tenant, new).await.map(Some);
        }
        self.inner.supersede(tenant, old, new).await
    }

    async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
        self.inner.facts(tenant, query).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SummaryStore for BrokenMemory {
    async fn summary(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<Summary>> {
        self.inner.summary(tenant, conversation).await
    }

    async fn put_summary(&self, tenant: TenantId, mut summary: NewSummary) -> Result<bool> {
        if self.flaw == MemoryFlaw::TakesLateWrites {
            summary.mark = Mark(u64::MAX);
        }
        self.inner.put_summary(tenant, summary).await
    }
}
