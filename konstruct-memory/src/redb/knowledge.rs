//! What a tenant's employee knows: documents, their versions and their passages.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use konstruct_core::{
    Audience, ConversationId, Depth, Document, DocumentId, Erase, ErasureReceipt, Error, ErrorKind,
    Fact, FactId, FactStore, Facts, Hit, IndexProgress, KnowledgeStore, Language, MemoryStore,
    NewDocument, NewFact, Recall, Remembered, Result, Scope, Source, Summary, SummaryStore,
    TenantId, Timestamp, Unanswered, turn::Journal,
};
use serde::{Deserialize, Serialize};

use super::{
    Inner, Redb, Shared, blocking,
    head::corrupt,
    index::{self, Found, Space, Unit},
    keys::{self, CHUNKS, DOCUMENTS, TEXTS, TITLES},
    snapshot::Rows,
    vault::{MakeKeys, Vault},
    writer::{Batch, Operation},
};
use crate::{
    chunk::{Chunk, chunks},
    seal::TenantKey,
};

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
            (Scope::KNOWLEDGE, _) => {
                blocking(move || recall_knowledge(&inner.shared, tenant, &query)).await
            }
            (
                Scope::HISTORY,
                Audience::Conversation { conversation } | Audience::Channel { conversation },
            ) => blocking(move || recall_history(&inner, tenant, conversation, &query)).await,
            // What was said belongs to those who were there.
            _ => Ok(Vec::new()),
        }
    }

    async fn set_language(&self, _: TenantId, _: Language) -> Result<()> {
        Err(not_yet())
    }

    async fn catch_up(&self, _: TenantId) -> Result<()> {
        Err(not_yet())
    }

    async fn progress(&self, _: TenantId) -> Result<IndexProgress> {
        Err(not_yet())
    }

    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        Journal::erase(self, tenant, what, depth).await
    }

    async fn export_memory(&self, _: TenantId) -> Result<BoxStream<'static, Result<Remembered>>> {
        Err(not_yet())
    }

    async fn import_memory(&self, _: TenantId, _: Vec<Remembered>) -> Result<()> {
        Err(not_yet())
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
}

fn not_yet() -> Error {
    Error::new(ErrorKind::Unsupported, "this store does not do that yet")
}

#[async_trait]
impl FactStore for Redb {
    async fn remember(&self, _: TenantId, _: NewFact) -> Result<Fact> {
        Err(not_yet())
    }

    async fn supersede(&self, _: TenantId, _: FactId, _: Option<NewFact>) -> Result<Option<Fact>> {
        Err(not_yet())
    }

    async fn facts(&self, _: TenantId, _: Facts) -> Result<Vec<Fact>> {
        Err(not_yet())
    }
}

#[async_trait]
impl SummaryStore for Redb {
    async fn summary(&self, _: TenantId, _: ConversationId) -> Result<Option<Summary>> {
        Ok(None)
    }

    async fn put_summary(&self, _: TenantId, _: Summary) -> Result<bool> {
        Err(not_yet())
    }
}

#[async_trait]
impl KnowledgeStore for Redb {
    async fn unanswered(&self, _: TenantId, _: usize) -> Result<Vec<Unanswered>> {
        Err(not_yet())
    }

    async fn put_document(&self, tenant: TenantId, document: NewDocument) -> Result<Document> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let put = PutDocument::prepare(&inner, tenant, document)?;
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
        let Some(mut vault) = shared.vault(&mut snapshot, tenant)? else {
            return Ok(None);
        };
        let Some(newest) = vault.document(&mut snapshot, id)? else {
            return Ok(None);
        };
        let version = version.unwrap_or(newest.version);
        let key = keys::of(tenant, &[id.as_bytes(), &version.to_be_bytes()]);
        let Some(row) = snapshot.get(TEXTS, &key)? else {
            return Ok(None);
        };
        let kept: Option<Version> = vault.open(&mut snapshot, (TEXTS, &key), &row)?;
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
            name: self.name,
            title: self.title,
            ..Hit::new(source, self.text, Timestamp::from_micros(0))
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

impl Vault {
    fn document(&mut self, rows: &mut dyn Rows, id: DocumentId) -> Result<Option<Document>> {
        let key = keys::of(self.tenant(), &[id.as_bytes()]);
        match rows.get(DOCUMENTS, &key)? {
            Some(row) => self.open(rows, (DOCUMENTS, &key), &row),
            None => Ok(None),
        }
    }

    fn title_key(&self, title: &str) -> Vec<u8> {
        self.named("title", title.as_bytes())
    }
}

impl Shared {
    /// Lists the documents by id.
    pub(super) fn document_list(
        &self,
        rows: &mut dyn Rows,
        tenant: TenantId,
    ) -> Result<Vec<Document>> {
        let Some(mut vault) = self.vault(rows, tenant)? else {
            return Ok(Vec::new());
        };
        rows.all(DOCUMENTS, tenant.as_bytes())?
            .iter()
            .filter_map(|(key, row)| vault.open(rows, (DOCUMENTS, key), row).transpose())
            .collect()
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
        let Some(mut vault) = self.vault(rows, tenant)? else {
            return Ok(None);
        };
        let passage: Option<Passage> = vault.open(rows, (CHUNKS, &key), &row)?;
        Ok(passage.map(|passage| passage.hit(Source::Document { id, version, chunk })))
    }

    /// Analyses the newest version of every document anew.
    pub(super) fn knowledge_units(&self, tenant: TenantId) -> Result<HashMap<DocumentId, Unit>> {
        let mut snapshot = self.snapshot()?;
        let mut units = HashMap::new();
        let Some(mut vault) = self.vault(&mut snapshot, tenant)? else {
            return Ok(units);
        };
        for document in self.document_list(&mut snapshot, tenant)? {
            let prefix = version_key(tenant, document.id, document.version);
            let mut passages: Vec<Passage> = Vec::new();
            for (key, row) in snapshot.all(CHUNKS, &prefix)? {
                passages.extend(vault.open(&mut snapshot, (CHUNKS, &key), &row)?);
            }
            let mut unit = Unit::analyse(&vault.key, Space::KNOWLEDGE, &searched(&passages));
            unit.place(*document.id.as_bytes(), document.version);
            units.insert(document.id, unit);
        }
        Ok(units)
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
    /// What it was analysed with.
    key: Arc<TenantKey>,
    document: NewDocument,
    passages: Vec<Passage>,
    unit: Unit,
}

impl PutDocument {
    /// Checks a document, parts it and analyses it: all that can be done before the writer has it.
    fn prepare(inner: &Inner, tenant: TenantId, mut document: NewDocument) -> Result<Self> {
        document.title = document.title.trim().to_owned();
        if !(1..=TITLE).contains(&document.title.chars().count()) {
            return Err(Error::invalid(
                "title",
                format!("must be 1 to {TITLE} characters"),
            ));
        }
        if document.content.trim_ascii().is_empty() {
            return Err(Error::invalid("text", "must not be empty"));
        }
        if document.content.len() > TEXT {
            return Err(Error::invalid(
                "text",
                format!("must be at most {TEXT} bytes"),
            ));
        }
        let passages: Vec<_> = chunks(document.format, &String::from_utf8_lossy(&document.content))
            .into_iter()
            .map(|chunk| Passage::of(&document.title, chunk))
            .collect();
        let key = loop {
            match inner.shared.vault(&mut inner.shared.snapshot()?, tenant)? {
                Some(vault) => break vault.key,
                None => inner.writer()?.submit_blocking(MakeKeys(tenant))?,
            }
        };
        let unit = Unit::analyse(&key, Space::KNOWLEDGE, &searched(&passages));
        Ok(Self {
            tenant,
            key,
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
        let mut vault = shared.vault_or_new(batch, tenant)?;
        if vault.key != self.key {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the tenant was erased meanwhile",
            ));
        }
        let title = vault.title_key(&self.document.title);
        let id = match batch.get(TITLES, &title)? {
            Some(row) => DocumentId::from_bytes(keys::id(&row, 0).ok_or_else(corrupt)?),
            None => DocumentId::new(),
        };
        let before = vault.document(batch, id)?;
        let document = Document {
            id,
            title: self.document.title.clone(),
            format: self.document.format,
            version: before.map_or(0, |before| before.version) + 1,
            chunks: u32::try_from(self.passages.len()).unwrap_or(u32::MAX),
            updated_at: shared.clock.now(),
            url: None,
            expires_at: None,
        };
        index::remove(batch, tenant, (Space::KNOWLEDGE, *id.as_bytes()))?;
        self.unit.place(*id.as_bytes(), document.version);
        self.unit.put(batch, tenant, true);
        index::grow(batch, tenant, Space::KNOWLEDGE, self.unit.size())?;
        for (chunk, passage) in (0..).zip(&self.passages) {
            let key = chunk_key(tenant, id, document.version, chunk);
            let sealed = vault.seal(batch, &[], (CHUNKS, &key), passage)?;
            batch.put(CHUNKS, key, sealed);
        }
        let kept = Version {
            document,
            text: String::from_utf8_lossy(&self.document.content).into_owned(),
        };
        let key = version_key(tenant, id, kept.document.version);
        let sealed = vault.seal(batch, &[], (TEXTS, &key), &kept)?;
        batch.put(TEXTS, key, sealed);
        let key = keys::of(tenant, &[id.as_bytes()]);
        let sealed = vault.seal(batch, &[], (DOCUMENTS, &key), &kept.document)?;
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
        let Some(mut vault) = shared.vault(batch, tenant)? else {
            return Ok(false);
        };
        let Some(document) = vault.document(batch, id)? else {
            return Ok(false);
        };
        index::remove(batch, tenant, (Space::KNOWLEDGE, *id.as_bytes()))?;
        let key = keys::of(tenant, &[id.as_bytes()]);
        batch.clear(TEXTS, key.clone());
        batch.clear(CHUNKS, key.clone());
        batch.delete(TITLES, vault.title_key(&document.title));
        batch.delete(DOCUMENTS, key);
        Ok(true)
    }
}
