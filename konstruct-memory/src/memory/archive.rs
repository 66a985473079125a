//! Exports and imports the parts of the memory that cannot be rebuilt from the log.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{
    Document, DocumentId, Error, ErrorKind, PersonId, Result, TenantId,
    memory::{Fact, Language, Remembered, Summary},
};
use serde::de::DeserializeOwned;

use super::{
    backend::{MemoryBackend, Plan, RowKind},
    fact,
    knowledge::{self, Version},
    set_language,
    settings::{Retries, may_keep, row, settings, unknown_person},
};

/// The number of rows read at a time.
const PAGE: usize = 64;

/// Streams a tenant's memory: its language, then documents, facts and summaries.
pub(crate) fn export(
    backend: Arc<dyn MemoryBackend>,
    tenant: TenantId,
) -> BoxStream<'static, Result<Remembered>> {
    let language = {
        let backend = Arc::clone(&backend);
        stream::once(async move {
            let language = settings(&*backend, tenant).await?.language;
            Ok(Remembered::Language { language })
        })
    };
    let documents = paged(&backend, tenant, RowKind::Text, |kept: Version| {
        Remembered::Document {
            document: kept.document,
            text: kept.text,
        }
    });
    let facts = paged(&backend, tenant, RowKind::Fact, |fact: Fact| {
        Remembered::Fact { fact }
    });
    let summaries = paged(&backend, tenant, RowKind::Summary, |summary: Summary| {
        Remembered::Summary { summary }
    });
    language
        .filter(|item| {
            let default = Language::default();
            let said =
                !matches!(item, Ok(Remembered::Language { language }) if *language == default);
            std::future::ready(said)
        })
        .chain(documents)
        .chain(facts)
        .chain(summaries)
        .boxed()
}

fn paged<T: DeserializeOwned + Send + 'static>(
    backend: &Arc<dyn MemoryBackend>,
    tenant: TenantId,
    kind: RowKind,
    item: impl Fn(T) -> Remembered + Copy + Send + 'static,
) -> BoxStream<'static, Result<Remembered>> {
    let start = Some((Arc::clone(backend), None::<Vec<u8>>));
    let pages = stream::unfold(start, move |state| async move {
        let (backend, after) = state?;
        let page = backend
            .scan(tenant, kind, &[], after.as_deref(), PAGE)
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) => return Some((vec![Err(error)], None)),
        };
        let next = (page.len() == PAGE)
            .then(|| page.last().map(|(key, _)| key.clone()))
            .flatten()
            .map(|key| (backend, Some(key)));
        let items = page.into_iter().map(|(_, value)| {
            serde_json::from_slice(&value).map(item).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "a row of the memory is damaged").with_source(error)
            })
        });
        Some((items.collect(), next))
    });
    pages
        .flat_map(|page: Vec<Result<Remembered>>| stream::iter(page))
        .boxed()
}

/// Imports exported items, all or none.
pub(crate) async fn import(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    items: Vec<Remembered>,
) -> Result<()> {
    for item in &items {
        if let Remembered::Language { language } = item {
            set_language(backend, tenant, *language).await?;
        }
    }
    let mut newest: BTreeMap<DocumentId, u32> = BTreeMap::new();
    for item in &items {
        if let Remembered::Document { document, .. } = item {
            let version = newest.entry(document.id).or_default();
            *version = document.version.max(*version);
        }
    }
    let key = backend.tenant_key(tenant).await?;
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        for item in &items {
            match item {
                Remembered::Document { document, text } => {
                    require_free::<Document>(
                        backend,
                        tenant,
                        RowKind::Document,
                        document.id.as_bytes(),
                    )
                    .await?;
                    let last = newest.get(&document.id) == Some(&document.version);
                    let mut document = document.clone();
                    let of = (&*key, &mut document);
                    knowledge::write(backend, tenant, &mut plan, of, text, last).await?;
                }
                Remembered::Fact { fact } => {
                    require_known(backend, tenant, &fact.persons).await?;
                    require_free::<Fact>(backend, tenant, RowKind::Fact, fact.id.as_bytes())
                        .await?;
                    fact::write(backend, tenant, &mut plan, &key, fact).await?;
                }
                Remembered::Summary { summary } => {
                    require_known(backend, tenant, &summary.persons).await?;
                    let id = summary.conversation.as_bytes();
                    require_free::<Summary>(backend, tenant, RowKind::Summary, id).await?;
                    plan.put_row(RowKind::Summary, id.to_vec(), summary, &summary.persons)?;
                }
                _ => {}
            }
        }
        if backend.commit(tenant, plan).await? {
            return Ok(());
        }
        tries.again().await?;
    }
}

/// Fails if a person has no key: only the import of conversations creates persons.
async fn require_known(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    persons: &[PersonId],
) -> Result<()> {
    match may_keep(backend, tenant, (&[], persons), None).await? {
        true => Ok(()),
        false => Err(unknown_person()),
    }
}

async fn require_free<T: DeserializeOwned>(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    kind: RowKind,
    key: &[u8],
) -> Result<()> {
    if row::<T>(backend, tenant, kind, key).await?.is_some() {
        return Err(Error::new(
            ErrorKind::Conflict,
            "an item with this id already exists",
        ));
    }
    Ok(())
}
