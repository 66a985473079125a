//! Recall with synonyms for the extractive backend.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use konstruct_core::{
    ConversationId, Depth, Document, DocumentId, Erase, Hit, MemoryStore, NewDocument, Recall,
    Result, TenantId,
    id::FactId,
    memory::{
        ErasureReceipt, Fact, FactStore, Facts, IndexProgress, KnowledgeStore, Language, Mark,
        MemoryArchive, NewFact, NewSummary, Remembered, Scope, Source, Summary, SummaryStore,
        Unanswered,
    },
};
use konstruct_llm::extract;

/// A memory for the extractive backend: it searches documents with a question's words and their synonyms.
#[derive(Debug)]
pub(crate) struct SynonymMemory(pub(crate) Arc<dyn MemoryStore>);

fn uses_synonyms(scope: Scope) -> bool {
    scope == Scope::KNOWLEDGE
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MemoryStore for SynonymMemory {
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        // Only documents are searched with synonyms; other scopes get a separate query each.
        for scopes in query
            .scopes
            .chunk_by(|(a, _), (b, _)| uses_synonyms(*a) == uses_synonyms(*b))
        {
            let mut part = query.clone().with(|it| it.scopes = scopes.to_vec());
            if scopes.iter().any(|(scope, _)| uses_synonyms(*scope)) {
                part.text = extract::expand(&query.text).join(" ");
            }
            hits.extend(self.0.recall(tenant, part).await?);
        }
        Ok(hits)
    }

    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>> {
        self.0.fetch(tenant, sources).await
    }

    async fn mark(&self, tenant: TenantId) -> Result<Mark> {
        self.0.mark(tenant).await
    }

    async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
        self.0.set_language(tenant, language).await
    }

    async fn rebuild(&self, tenant: TenantId) -> Result<()> {
        self.0.rebuild(tenant).await
    }

    async fn catch_up(&self, tenant: TenantId) -> Result<()> {
        self.0.catch_up(tenant).await
    }

    async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
        self.0.progress(tenant).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MemoryArchive for SynonymMemory {
    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        self.0.forget(tenant, what, depth).await
    }

    async fn export_memory(
        &self,
        tenant: TenantId,
    ) -> Result<BoxStream<'static, Result<Remembered>>> {
        self.0.export_memory(tenant).await
    }

    async fn import_memory(&self, tenant: TenantId, items: Vec<Remembered>) -> Result<()> {
        self.0.import_memory(tenant, items).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KnowledgeStore for SynonymMemory {
    async fn put_document(&self, tenant: TenantId, document: NewDocument) -> Result<Document> {
        self.0.put_document(tenant, document).await
    }

    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
        self.0.documents(tenant).await
    }

    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>> {
        self.0.document(tenant, id, version).await
    }

    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
        self.0.delete_document(tenant, id).await
    }

    async fn unanswered(&self, tenant: TenantId, limit: usize) -> Result<Vec<Unanswered>> {
        self.0.unanswered(tenant, limit).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FactStore for SynonymMemory {
    async fn remember(&self, tenant: TenantId, fact: NewFact) -> Result<Fact> {
        self.0.remember(tenant, fact).await
    }

    async fn supersede(
        &self,
        tenant: TenantId,
        old: FactId,
        new: Option<NewFact>,
    ) -> Result<Option<Fact>> {
        self.0.supersede(tenant, old, new).await
    }

    async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
        self.0.facts(tenant, query).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SummaryStore for SynonymMemory {
    async fn summary(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Option<Summary>> {
        self.0.summary(tenant, conversation).await
    }

    async fn put_summary(&self, tenant: TenantId, summary: NewSummary) -> Result<bool> {
        self.0.put_summary(tenant, summary).await
    }
}
