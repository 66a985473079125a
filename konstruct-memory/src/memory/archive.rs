//! Exporting what cannot be made again from the journal, and taking it in again.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{
    Document, DocumentId, Error, ErrorKind, PersonId, Result, TenantId,
    memory::{Fact, Language, Remembered, Summary},
};
use serde::de::DeserializeOwned;

use super::{
    fact,
    knowledge::{self, Version},
    set_language,
    settings::{Tries, may_keep, row, settings, unknown_person},
    shelf::{Kind, Plan, Shelf},
};

/// How many rows are read at a time.
const PAGE: usize = 64;

/// Streams a tenant's memory: its language, then documents, facts and summaries.
pub(crate) fn export(
    shelf: Arc<dyn Shelf>,
    tenant: TenantId,
) -> BoxStream<'static, Result<Remembered>> {
    let language = {
        let shelf = Arc::clone(&shelf);
        stream::once(async move {
            let language = settings(&*shelf, tenant).await?.language;
            Ok(Remembered::Language { language })
        })
    };
    let documents = paged(&shelf, tenant, Kind::Text, |kept: Version| {
        Remembered::Document {
            document: kept.document,
            text: kept.text,
        }
    });
    let facts = paged(&shelf, tenant, Kind::Fact, |fact: Fact| Remembered::Fact {
        fact,
    });
    let summaries = paged(&shelf, tenant, Kind::Summary, |summary: Summary| {
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
    shelf: &Arc<dyn Shelf>,
    tenant: TenantId,
    kind: Kind,
    item: impl Fn(T) -> Remembered + Copy + Send + 'static,
) -> BoxStream<'static, Result<Remembered>> {
    let start = Some((Arc::clone(shelf), None::<Vec<u8>>));
    let pages = stream::unfold(start, move |state| async move {
        let (shelf, after) = state?;
        let page = shelf.scan(tenant, kind, &[], after.as_deref(), PAGE).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => return Some((vec![Err(error)], None)),
        };
        let next = (page.len() == PAGE)
            .then(|| page.last().map(|(key, _)| key.clone()))
            .flatten()
            .map(|key| (shelf, Some(key)));
        let items = page.into_iter().map(|(_, value)| {
            serde_json::from_slice(&value).map(item).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "a row of the memory does not read")
                    .with_source(error)
            })
        });
        Some((items.collect(), next))
    });
    pages
        .flat_map(|page: Vec<Result<Remembered>>| stream::iter(page))
        .boxed()
}

/// Takes in what was exported, all of it or nothing.
pub(crate) async fn import(
    shelf: &dyn Shelf,
    tenant: TenantId,
    items: Vec<Remembered>,
) -> Result<()> {
    for item in &items {
        if let Remembered::Language { language } = item {
            set_language(shelf, tenant, *language).await?;
        }
    }
    let mut newest: BTreeMap<DocumentId, u32> = BTreeMap::new();
    for item in &items {
        if let Remembered::Document { document, .. } = item {
            let version = newest.entry(document.id).or_default();
            *version = document.version.max(*version);
        }
    }
    let key = shelf.tenant_key(tenant).await?;
    let mut tries = Tries::new(shelf, tenant);
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        for item in &items {
            match item {
                Remembered::Document { document, text } => {
                    free::<Document>(shelf, tenant, Kind::Document, document.id.as_bytes()).await?;
                    let last = newest.get(&document.id) == Some(&document.version);
                    let mut document = document.clone();
                    let of = (&*key, &mut document);
                    knowledge::write(shelf, tenant, &mut plan, of, text, last).await?;
                }
                Remembered::Fact { fact } => {
                    known(shelf, tenant, &fact.persons).await?;
                    free::<Fact>(shelf, tenant, Kind::Fact, fact.id.as_bytes()).await?;
                    fact::write(shelf, tenant, &mut plan, &key, fact).await?;
                }
                Remembered::Summary { summary } => {
                    known(shelf, tenant, &summary.persons).await?;
                    let id = summary.conversation.as_bytes();
                    free::<Summary>(shelf, tenant, Kind::Summary, id).await?;
                    plan.put_row(Kind::Summary, id.to_vec(), summary, &summary.persons)?;
                }
                _ => {}
            }
        }
        if shelf.commit(tenant, plan).await? {
            return Ok(());
        }
        tries.again().await?;
    }
}

/// Fails for what names a person without a key: only the import of conversations makes persons known.
async fn known(shelf: &dyn Shelf, tenant: TenantId, persons: &[PersonId]) -> Result<()> {
    match may_keep(shelf, tenant, (&[], persons), None).await? {
        true => Ok(()),
        false => Err(unknown_person()),
    }
}

async fn free<T: DeserializeOwned>(
    shelf: &dyn Shelf,
    tenant: TenantId,
    kind: Kind,
    key: &[u8],
) -> Result<()> {
    if row::<T>(shelf, tenant, kind, key).await?.is_some() {
        return Err(Error::new(
            ErrorKind::Conflict,
            "something with this id is there already",
        ));
    }
    Ok(())
}
