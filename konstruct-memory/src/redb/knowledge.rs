//! What a tenant's employee knows: documents, their versions and their passages.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use konstruct_core::{
    Audience, ConversationId, Document, DocumentId, Error, Hit, MemoryStore, NewDocument, Recall,
    Result, Scope, Source, TenantId,
};
use serde::{Deserialize, Serialize};

use super::{
    Inner, Redb, Shared, blocking,
    head::corrupt,
    index::{self, Found, Space, Unit},
    keys::{self, CHUNKS, DOCUMENTS, TEXTS, TITLES},
    snapshot::Rows,
    writer::{Batch, Operation},
};
use crate::chunk::{Chunk, chunks};

/// The most characters of a title.
const TITLE: usize = 200;
/// The most bytes of a text.
const TEXT: usize = 1 << 20;
/// How many steps a recall of history lets the index catch up, lest it hold up a reply.
const CATCH_UP: usize = 8;

#[async_trait]
impl MemoryStore for Redb {
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
        let inner = Arc::clone(&self.inner);
        match (query.scope, query.audience) {
            (Scope::Knowledge, _) => {
                blocking(move || recall_knowledge(&inner.shared, tenant, &query)).await
            }
            (Scope::History, Audience::Conversation(id)) => {
                blocking(move || recall_history(&inner, tenant, id, &query)).await
            }
            // What was said belongs to those who were there.
            _ => Ok(Vec::new()),
        }
    }

    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>> {
        let shared = &self.inner.shared;
        let mut snapshot = shared.snapshot()?;
        sources
            .iter()
            .map(|source| match *source {
                Source::Document { id, version, chunk } => {
                    shared.passage(&mut snapshot, tenant, (id, version, chunk))
                }
                Source::Message {
                    conversation,
                    index,
                } => shared.message(&mut snapshot, tenant, conversation, index),
                _ => Ok(None),
            })
            .collect()
    }

    async fn put_document(&self, tenant: TenantId, document: NewDocument) -> Result<Document> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let put = PutDocument::prepare(&inner.shared, tenant, document)?;
            inner.writer()?.submit_blocking(put)
        })
        .await
    }

    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            let mut documents = shared.document_list(&mut shared.snapshot()?, tenant)?;
            documents.sort_by_key(|document| std::cmp::Reverse((document.updated_at, document.id)));
            Ok(documents)
        })
        .await
    }

    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>> {
        let shared = &self.inner.shared;
        let mut snapshot = shared.snapshot()?;
        let Some(newest) = shared.document(&mut snapshot, tenant, id)? else {
            return Ok(None);
        };
        let version = version.unwrap_or(newest.version);
        let key = keys::of(tenant, &[id.as_bytes(), &version.to_be_bytes()]);
        let Some(row) = snapshot.get(TEXTS, &key)? else {
            return Ok(None);
        };
        let kept: Option<Version> = shared.unseal(tenant, (TEXTS, &key), &row)?;
        Ok(kept.map(|kept| (kept.document, kept.text)))
    }

    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
        self.inner
            .writer()?
            .submit(DeleteDocument { tenant, id })
            .await
    }
}

/// One version of a document.
#[derive(Debug, Serialize, Deserialize)]
struct Version {
    document: Document,
    text: String,
}

/// A passage, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Passage {
    name: String,
    title: String,
    /// What is searched besides the text: the document's title and the headings.
    heading: String,
    text: String,
}

impl Passage {
    fn of(document: &str, chunk: Chunk) -> Self {
        let title = chunk.title().to_owned();
        let name = if title.is_empty() || title == document {
            document.to_owned()
        } else {
            format!("{document} › {title}")
        };
        let heading = [document]
            .into_iter()
            .chain(chunk.path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("\n");
        Self {
            name,
            title,
            heading,
            text: chunk.text,
        }
    }

    fn hit(self, source: Source) -> Hit {
        Hit {
            source,
            name: self.name,
            title: self.title,
            text: self.text,
            score: 0.0,
            coverage: 0.0,
        }
    }
}

fn recall_knowledge(shared: &Shared, tenant: TenantId, query: &Recall) -> Result<Vec<Hit>> {
    let mut snapshot = shared.snapshot()?;
    let found = shared.search(
        &mut snapshot,
        tenant,
        Space::KNOWLEDGE,
        &query.text,
        query.limit,
    )?;
    let mut hits = Vec::with_capacity(found.len());
    for found in found {
        let id = DocumentId::from_bytes(found.unit);
        let place = (id, found.version, found.chunk);
        hits.extend(scored(
            shared.passage(&mut snapshot, tenant, place)?,
            &found,
        ));
    }
    Ok(hits)
}

fn recall_history(
    inner: &Inner,
    tenant: TenantId,
    conversation: ConversationId,
    query: &Recall,
) -> Result<Vec<Hit>> {
    let (shared, writer) = (&inner.shared, inner.writer()?);
    for _ in 0..CATCH_UP {
        if !shared.index_step(writer, tenant, false)? {
            break;
        }
    }
    let mut snapshot = shared.snapshot()?;
    let space = Space::conversation(conversation);
    let found = shared.search(&mut snapshot, tenant, space, &query.text, query.limit)?;
    let mut hits = Vec::with_capacity(found.len());
    for found in found {
        let index = keys::number(&found.unit, 8).ok_or_else(corrupt)?;
        hits.extend(scored(
            shared.message(&mut snapshot, tenant, conversation, index)?,
            &found,
        ));
    }
    Ok(hits)
}

fn scored(hit: Option<Hit>, found: &Found) -> Option<Hit> {
    hit.map(|hit| Hit {
        score: found.score,
        coverage: found.coverage,
        ..hit
    })
}

impl Shared {
    fn document(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        id: DocumentId,
    ) -> Result<Option<Document>> {
        let key = keys::of(tenant, &[id.as_bytes()]);
        match rows.get(DOCUMENTS, &key)? {
            Some(row) => self.unseal(tenant, (DOCUMENTS, &key), &row),
            None => Ok(None),
        }
    }

    /// Lists the documents by id.
    pub(super) fn document_list(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
    ) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        rows.scan_prefix(DOCUMENTS, tenant.as_bytes(), &mut |key, row| {
            documents.extend(self.unseal::<Document>(tenant, (DOCUMENTS, key), row)?);
            Ok(())
        })?;
        Ok(documents)
    }

    fn passage(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
        (id, version, chunk): (DocumentId, u32, u32),
    ) -> Result<Option<Hit>> {
        let key = chunk_key(tenant, id, version, chunk);
        let Some(row) = rows.get(CHUNKS, &key)? else {
            return Ok(None);
        };
        let passage: Option<Passage> = self.unseal(tenant, (CHUNKS, &key), &row)?;
        Ok(passage.map(|passage| passage.hit(Source::Document { id, version, chunk })))
    }

    /// Analyses the newest version of every document anew.
    pub(super) fn knowledge_units(&self, tenant: TenantId) -> Result<HashMap<DocumentId, Unit>> {
        let mut snapshot = self.snapshot()?;
        let mut units = HashMap::new();
        for document in self.document_list(&mut snapshot, tenant)? {
            let prefix = version_key(tenant, document.id, document.version);
            let mut passages = Vec::new();
            snapshot.scan_prefix(CHUNKS, &prefix, &mut |key, row| {
                passages.extend(self.unseal::<Passage>(tenant, (CHUNKS, key), row)?);
                Ok(())
            })?;
            let mut unit = Unit::analyse(self, tenant, Space::KNOWLEDGE, &searched(&passages));
            unit.place(*document.id.as_bytes(), document.version);
            units.insert(document.id, unit);
        }
        Ok(units)
    }

    fn title_key(&self, tenant: TenantId, title: &str) -> Vec<u8> {
        keys::of(
            tenant,
            &[&self.sealer.hash(tenant, "title", title.as_bytes())],
        )
    }
}

/// What is searched of passages: heading and text.
fn searched(passages: &[Passage]) -> Vec<(&str, &str)> {
    passages
        .iter()
        .map(|passage| (passage.heading.as_str(), passage.text.as_str()))
        .collect()
}

fn version_key(tenant: TenantId, id: DocumentId, version: u32) -> Vec<u8> {
    keys::of(tenant, &[id.as_bytes(), &version.to_be_bytes()])
}

fn chunk_key(tenant: TenantId, id: DocumentId, version: u32, chunk: u32) -> Vec<u8> {
    let mut key = version_key(tenant, id, version);
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// Adds a document, or a new version of one.
struct PutDocument {
    tenant: TenantId,
    document: NewDocument,
    passages: Vec<Passage>,
    unit: Unit,
}

impl PutDocument {
    /// Checks a document, parts it and analyses it: all that can be done before the writer has it.
    fn prepare(shared: &Shared, tenant: TenantId, mut document: NewDocument) -> Result<Self> {
        document.title = document.title.trim().to_owned();
        if !(1..=TITLE).contains(&document.title.chars().count()) {
            return Err(Error::invalid(
                "title",
                format!("must be 1 to {TITLE} characters"),
            ));
        }
        if document.text.trim().is_empty() {
            return Err(Error::invalid("text", "must not be empty"));
        }
        if document.text.len() > TEXT {
            return Err(Error::invalid(
                "text",
                format!("must be at most {TEXT} bytes"),
            ));
        }
        let passages: Vec<_> = chunks(document.format, &document.text)
            .into_iter()
            .map(|chunk| Passage::of(&document.title, chunk))
            .collect();
        let unit = Unit::analyse(shared, tenant, Space::KNOWLEDGE, &searched(&passages));
        Ok(Self {
            tenant,
            document,
            passages,
            unit,
        })
    }
}

impl Operation for PutDocument {
    type Answer = Document;

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<Document> {
        let tenant = self.tenant;
        let title = shared.title_key(tenant, &self.document.title);
        let id = match batch.get(TITLES, &title)? {
            Some(row) => DocumentId::from_bytes(keys::id(&row, 0).ok_or_else(corrupt)?),
            None => DocumentId::new(),
        };
        let before = shared.document(batch, tenant, id)?;
        let document = Document {
            id,
            title: self.document.title.clone(),
            format: self.document.format,
            version: before.map_or(0, |before| before.version) + 1,
            chunks: u32::try_from(self.passages.len()).unwrap_or(u32::MAX),
            updated_at: shared.clock.now(),
        };
        index::remove(batch, tenant, (Space::KNOWLEDGE, *id.as_bytes()))?;
        self.unit.place(*id.as_bytes(), document.version);
        self.unit.put(batch, tenant, true);
        index::grow(batch, tenant, Space::KNOWLEDGE, self.unit.size())?;
        for (chunk, passage) in (0..).zip(&self.passages) {
            let key = chunk_key(tenant, id, document.version, chunk);
            let sealed = shared.seal(tenant, &[], (CHUNKS, &key), passage)?;
            batch.put(CHUNKS, key, sealed);
        }
        let kept = Version {
            document,
            text: self.document.text.clone(),
        };
        let key = version_key(tenant, id, kept.document.version);
        let sealed = shared.seal(tenant, &[], (TEXTS, &key), &kept)?;
        batch.put(TEXTS, key, sealed);
        let key = keys::of(tenant, &[id.as_bytes()]);
        let sealed = shared.seal(tenant, &[], (DOCUMENTS, &key), &kept.document)?;
        batch.put(DOCUMENTS, key, sealed);
        batch.put(TITLES, title, *id.as_bytes());
        Ok(kept.document)
    }
}

/// Removes a document with all of its versions.
struct DeleteDocument {
    tenant: TenantId,
    id: DocumentId,
}

impl Operation for DeleteDocument {
    type Answer = bool;

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<bool> {
        let (tenant, id) = (self.tenant, self.id);
        let Some(document) = shared.document(batch, tenant, id)? else {
            return Ok(false);
        };
        index::remove(batch, tenant, (Space::KNOWLEDGE, *id.as_bytes()))?;
        let key = keys::of(tenant, &[id.as_bytes()]);
        batch.clear(TEXTS, key.clone());
        batch.clear(CHUNKS, key.clone());
        batch.delete(TITLES, shared.title_key(tenant, &document.title));
        batch.delete(DOCUMENTS, key);
        Ok(true)
    }
}
