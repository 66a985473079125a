//! Documents: all versions are kept, and the newest is searched.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{
    super::{
        Candidate, Document, Hit, ItemChange, ItemKey, KnowledgeStore, NewDocument, Remembered,
        Section, Source, Unanswered,
    },
    ATTEMPTS, ScanMemory, busy, put,
};
use crate::{DocumentId, Result, TenantId};

#[async_trait]
impl KnowledgeStore for ScanMemory {
    async fn put_document(&self, tenant: TenantId, new: NewDocument) -> Result<Document> {
        let text = self.search.read(&new)?;
        for _ in 0..ATTEMPTS {
            let mark = self.items.mark(tenant).await?;
            let documents = self.newest(tenant).await?;
            let before = documents.iter().find(|(known, _)| match &new.key {
                None => known.key.is_none() && known.title == new.title.trim(),
                key => known.key == *key,
            });
            let mut document = new.version(before.map(|(known, _)| known), self.clock.now());
            let sections = self.search.split(&document, &text).len();
            document.chunks = u32::try_from(sections).unwrap_or(u32::MAX);
            let item = Remembered::Document {
                document: document.clone(),
                text: text.clone(),
            };
            if self.items.commit(tenant, put(mark, [item])).await? {
                return Ok(document);
            }
        }
        Err(busy())
    }

    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
        let newest = self.newest(tenant).await?.into_iter();
        let mut documents: Vec<Document> = newest.map(|(document, _)| document).collect();
        documents.sort_by_key(|document| std::cmp::Reverse((document.updated_at, document.id)));
        Ok(documents)
    }

    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>> {
        let keys = match version {
            Some(version) => {
                let key = ItemKey::Document { id, version };
                key..=key
            }
            None => ItemKey::versions(id),
        };
        let versions = self.items.items(tenant, keys).await?;
        Ok(versions.into_iter().filter_map(document).next_back())
    }

    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let after = self.items.mark(tenant).await?;
            let versions = self.items.items(tenant, ItemKey::versions(id)).await?;
            if versions.is_empty() {
                return Ok(false);
            }
            let change = ItemChange {
                after,
                remove: versions.iter().map(Remembered::key).collect(),
                ..ItemChange::default()
            };
            if self.items.commit(tenant, change).await? {
                return Ok(true);
            }
        }
        Err(busy())
    }

    async fn unanswered(&self, tenant: TenantId, limit: usize) -> Result<Vec<Unanswered>> {
        let mut found = self.conversations(tenant).await?.unanswered;
        found.truncate(limit);
        Ok(found)
    }
}

impl ScanMemory {
    /// Returns the newest version of each document with its text.
    pub(super) async fn newest(&self, tenant: TenantId) -> Result<Vec<(Document, String)>> {
        let versions = self.items.items(tenant, ItemKey::DOCUMENTS).await?;
        let versions = versions.into_iter().filter_map(document);
        // Versions are sorted, so the last one of a document remains.
        let newest: BTreeMap<DocumentId, (Document, String)> =
            versions.map(|version| (version.0.id, version)).collect();
        Ok(newest.into_values().collect())
    }

    /// Returns the passages of a document, in order.
    pub(super) fn passages(&self, document: &Document, text: &str) -> Vec<Candidate> {
        let sections = (0..).zip(self.search.split(document, text));
        let passage = |(chunk, section): (u32, Section)| {
            let source = Source::Document {
                id: document.id,
                version: document.version,
                chunk,
            };
            let headings = std::iter::once(&document.title).chain(&section.headings);
            let headings: Vec<&str> = headings.map(String::as_str).collect();
            Candidate {
                heading: headings.join("\n"),
                hit: Hit {
                    name: document.title.clone(),
                    title: section.title,
                    url: document.url.clone(),
                    ..Hit::new(source, section.text, document.updated_at)
                },
            }
        };
        sections.map(passage).collect()
    }
}

fn document(item: Remembered) -> Option<(Document, String)> {
    match item {
        Remembered::Document { document, text } => Some((document, text)),
        _ => None,
    }
}
