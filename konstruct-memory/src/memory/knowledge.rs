//! Documents, their versions and their passages.

use konstruct_core::{
    Document, DocumentId, Error, Hit, NewDocument, Result, TenantId,
    memory::{Language, SaidBy, Source, Unanswered},
    text::language_of,
};
use serde::{Deserialize, Serialize};

use super::{
    backend::{
        Group, MemoryBackend, Plan, ReadRequest, RowKind, Unit, UnitInfo, UnitKey, UnitKind,
    },
    hits::Fetched,
    messages,
    settings::{Retries, row, rows, settings},
    space::{Owner, space},
    unit,
};
use crate::{
    chunk::{Chunk, chunks},
    extract::{Extracted, extract},
    seal::TenantKey,
};

/// The most characters of a title, and the most bytes of a URL and of a key.
const TITLE: usize = 200;
const URL: usize = 2000;
/// The most bytes of a document.
const CONTENT: usize = 10 << 20;

/// The number of passages from which a document's language is recognised.
const LANGUAGE: usize = 10;

/// One version of a document.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) document: Document,
    pub(super) text: String,
}

/// A stored passage.
#[derive(Debug, Serialize, Deserialize)]
struct Passage {
    name: String,
    title: String,
    /// Text that is indexed with the passage: the document's title and the headings.
    heading: String,
    text: String,
}

impl Passage {
    fn of(document: &str, chunk: Chunk) -> Self {
        let (title, name) = (chunk.title().to_owned(), chunk.source(document));
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
}

impl Passage {
    /// Returns the text to embed. The heading counts twice, because it states the topic. The document's title is the same for all
    /// passages and says little about one that has a heading.
    fn to_embed(&self) -> String {
        match self.heading.split_once('\n') {
            Some((_, headings)) => format!("{headings}\n{}\n{}", self.title, self.text),
            None => format!("{}\n{}", self.heading, self.text),
        }
    }
}

fn passages(document: &Document, text: &str) -> Vec<Passage> {
    chunks(document.format, text)
        .into_iter()
        .map(|chunk| Passage::of(&document.title, chunk))
        .collect()
}

fn passage_key(id: DocumentId, version: u32, chunk: u32) -> Vec<u8> {
    [
        id.as_bytes().as_slice(),
        &version.to_be_bytes(),
        &chunk.to_be_bytes(),
    ]
    .concat()
}

fn text_key(id: DocumentId, version: u32) -> Vec<u8> {
    [id.as_bytes().as_slice(), &version.to_be_bytes()].concat()
}

/// Returns the row key that identifies a document by its own key, or by its title.
fn title_key(key: &TenantKey, own: Option<&str>, title: &str) -> Vec<u8> {
    match own {
        Some(own) => key.hash("document", own.as_bytes()).to_vec(),
        None => key.hash("title", title.as_bytes()).to_vec(),
    }
}

fn unit_key(key: &TenantKey, id: DocumentId) -> UnitKey {
    UnitKey {
        space: space(key, UnitKind::Knowledge, Owner::Tenant),
        group: Group::NONE,
        item: *id.as_bytes(),
    }
}

fn unit(key: &TenantKey, language: Language, document: &Document, passages: &[Passage]) -> Unit {
    let begin = passages.iter().take(LANGUAGE);
    let begin: Vec<&str> = begin.flat_map(|it| [&*it.heading, &*it.text]).collect();
    let language = language_of(&begin.join("\n"), language);
    Unit {
        key: unit_key(key, document.id),
        about: UnitInfo {
            what: UnitKind::Knowledge,
            version: document.version,
            at: document.updated_at,
            said_by: None,
            persons: Vec::new(),
            expires_at: document.expires_at,
            before: None,
        },
        passages: passages
            .iter()
            .map(|passage| unit::passage(key, language, &passage.heading, &passage.text))
            .collect(),
    }
}

/// Adds a document, or a new version of it.
pub(crate) async fn put_document(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    new: NewDocument,
) -> Result<Document> {
    let Extracted { text, warnings } = read_document(&new)?;
    let key = backend.tenant_key(tenant).await?;
    let title = title_key(&key, new.key.as_deref(), new.title.trim());
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        let known: Option<DocumentId> = row(backend, tenant, RowKind::Title, &title).await?;
        let before: Option<Document> = match known {
            Some(id) => row(backend, tenant, RowKind::Document, id.as_bytes()).await?,
            None => None,
        };
        let mut document = new.version(before.as_ref(), backend.now().await?);
        document.warnings.clone_from(&warnings);
        write(
            backend,
            tenant,
            &mut plan,
            (&key, &mut document),
            &text,
            true,
        )
        .await?;
        if backend.commit(tenant, plan).await? {
            return Ok(document);
        }
        tries.again().await?;
    }
}

/// Adds a version of a document to the plan. With `newest`, it is the version that is found.
pub(super) async fn write(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    plan: &mut Plan,
    (key, document): (&TenantKey, &mut Document),
    text: &str,
    newest: bool,
) -> Result<()> {
    let passages = passages(document, text);
    document.chunks = u32::try_from(passages.len()).unwrap_or(u32::MAX);
    let id = document.id;
    for (chunk, passage) in (0..).zip(&passages) {
        let at = passage_key(id, document.version, chunk);
        plan.put_row(RowKind::Passage, at, passage, &[])?;
    }
    let version = Version {
        document: document.clone(),
        text: text.to_owned(),
    };
    plan.put_row(RowKind::Text, text_key(id, document.version), &version, &[])?;
    if newest {
        let language = settings(backend, tenant).await?.language;
        let title = title_key(key, document.key.as_deref(), &document.title);
        plan.put_row(RowKind::Title, title, &id, &[])?;
        plan.put_row(RowKind::Document, id.as_bytes().to_vec(), document, &[])?;
        plan.add_units
            .push(unit(key, language, document, &passages));
    }
    Ok(())
}

/// Checks a new document, and returns its text and the parts that could not be read.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the field.
pub fn read_document(new: &NewDocument) -> Result<Extracted> {
    let characters = new.title.trim().chars().count();
    if characters == 0 || characters > TITLE {
        return Err(Error::invalid("title", "must have 1 to 200 characters"));
    }
    if new.url.as_ref().is_some_and(|url| url.len() > URL) {
        return Err(Error::invalid("url", "is longer than 2,000 bytes"));
    }
    if new.key.as_ref().is_some_and(|key| key.len() > URL) {
        return Err(Error::invalid("key", "is longer than 2,000 bytes"));
    }
    if new.content.len() > CONTENT {
        return Err(Error::invalid("content", "is larger than 10 MiB"));
    }
    extract(new.format, &new.content)
}

/// Lists the documents, the newest first.
pub(crate) async fn documents(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
) -> Result<Vec<Document>> {
    let documents = rows::<Document>(backend, tenant, RowKind::Document, &[]).await?;
    let mut documents: Vec<_> = documents
        .into_iter()
        .map(|(_, document)| document)
        .collect();
    documents.sort_by_key(|document| std::cmp::Reverse((document.updated_at, document.id)));
    Ok(documents)
}

/// Returns one version of a document with its text.
pub(crate) async fn document(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    id: DocumentId,
    version: Option<u32>,
) -> Result<Option<(Document, String)>> {
    let newest: Option<Document> = row(backend, tenant, RowKind::Document, id.as_bytes()).await?;
    let Some(newest) = newest else {
        return Ok(None);
    };
    let at = text_key(id, version.unwrap_or(newest.version));
    let kept: Option<Version> = row(backend, tenant, RowKind::Text, &at).await?;
    Ok(kept.map(|kept| (kept.document, kept.text)))
}

/// Removes a document and all of its versions.
pub(crate) async fn delete_document(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    id: DocumentId,
) -> Result<bool> {
    let key = backend.tenant_key(tenant).await?;
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        let newest: Option<Document> =
            row(backend, tenant, RowKind::Document, id.as_bytes()).await?;
        let Some(newest) = newest else {
            return Ok(false);
        };
        plan.remove = vec![
            (RowKind::Document, id.as_bytes().to_vec()),
            (
                RowKind::Title,
                title_key(&key, newest.key.as_deref(), &newest.title),
            ),
        ];
        plan.clear = vec![
            (RowKind::Text, id.as_bytes().to_vec()),
            (RowKind::Passage, id.as_bytes().to_vec()),
        ];
        plan.remove_units = vec![unit_key(&key, id)];
        if backend.commit(tenant, plan).await? {
            return Ok(true);
        }
        tries.again().await?;
    }
}

/// Requests a passage and its document.
pub(super) fn request(wanted: &mut ReadRequest, (id, version, chunk): (DocumentId, u32, u32)) {
    let passage = passage_key(id, version, chunk);
    wanted.rows.push((RowKind::Passage, passage));
    wanted
        .rows
        .push((RowKind::Document, id.as_bytes().to_vec()));
}

/// Returns a requested passage; `None` if it is gone.
pub(super) fn hit(
    fetched: &Fetched,
    (id, version, chunk): (DocumentId, u32, u32),
) -> Result<Option<Hit>> {
    let at = passage_key(id, version, chunk);
    let passage: Option<Passage> = fetched.row(RowKind::Passage, &at)?;
    let newest: Option<Document> = fetched.row(RowKind::Document, id.as_bytes())?;
    let (Some(passage), Some(newest)) = (passage, newest) else {
        return Ok(None);
    };
    let source = Source::Document { id, version, chunk };
    Ok(Some(
        Hit::new(source, passage.text, newest.updated_at).with(|it| {
            it.name = passage.name;
            it.title = passage.title;
            it.url = newest.url;
        }),
    ))
}

/// Returns the texts of a document's passages, for embedding; `None` if the unit is not a document.
pub(super) async fn texts(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    unit: &UnitKey,
) -> Result<Option<Vec<String>>> {
    let newest: Option<Document> = row(backend, tenant, RowKind::Document, &unit.item).await?;
    let Some(newest) = newest else {
        return Ok(None);
    };
    let prefix = text_key(newest.id, newest.version);
    let passages = rows::<Passage>(backend, tenant, RowKind::Passage, &prefix).await?;
    let text = |(_, passage): (_, Passage)| passage.to_embed();
    Ok(Some(passages.into_iter().map(text).collect()))
}

/// Analyses every document again.
pub(super) async fn units(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    language: Language,
) -> Result<Vec<Unit>> {
    let key = backend.tenant_key(tenant).await?;
    let mut units = Vec::new();
    for document in documents(backend, tenant).await? {
        let prefix = text_key(document.id, document.version);
        let passages = rows::<Passage>(backend, tenant, RowKind::Passage, &prefix).await?;
        let passages: Vec<_> = passages.into_iter().map(|(_, passage)| passage).collect();
        units.push(unit(&key, language, &document, &passages));
    }
    Ok(units)
}

/// Lists unanswered questions, newest first.
pub(crate) async fn unanswered(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    limit: usize,
) -> Result<Vec<Unanswered>> {
    let mut found = Vec::new();
    for (_, (conversation, index)) in rows(backend, tenant, RowKind::Gap, &[]).await? {
        if found.len() == limit {
            break;
        }
        // The question precedes the record of what was found for it; it may be gone.
        let asked = messages::before(backend, (tenant, conversation), index, None).await?;
        if let Some((index, said)) = asked.filter(|(_, said)| said.by == SaidBy::Person) {
            found.push(Unanswered {
                conversation,
                index,
                text: said.text,
                at: said.at,
            });
        }
    }
    Ok(found)
}
