//! One crawl: its pages become documents.

use std::collections::{BTreeMap, HashMap, HashSet};

use konstruct_core::{DocumentId, ErrorKind, NewDocument, Result, TenantId};
use konstruct_memory::crawl::{Page, Report, Skip};

use super::Permit;
use crate::{
    App,
    directory::{Website, WebsitePage},
};

/// Crawls a website and changes its documents. Each page is changed as a whole, so that an end in between leaves no damage. Returns
/// `None` if the crawl was stopped.
///
/// # Errors
/// Those of the store.
pub(super) async fn crawl(
    app: &App,
    tenant: TenantId,
    site: &Website,
    permit: &Permit,
) -> Result<Option<Report>> {
    let prefix = Website::key_prefix(site.id);
    let mut documents: HashMap<String, DocumentId> = HashMap::new();
    for document in app.memory.documents(tenant).await? {
        if let Some(key) = document.key.filter(|key| key.starts_with(&prefix)) {
            documents.insert(key, document.id);
        }
    }
    let mut pages: BTreeMap<String, WebsitePage> = BTreeMap::new();
    for page in app.directory.website_pages(tenant, site.id).await? {
        // A page whose document was deleted is read again.
        if documents.contains_key(&Website::document_key(site.id, &page.url)) {
            pages.insert(page.url.clone(), page);
        }
    }
    let known = pages.iter();
    let known = known
        .map(|(url, page)| (url.clone(), page.state.clone()))
        .collect();
    let progress = |report: &Report| {
        if let Some(busy) = permit.crawls.state().busy.get_mut(&site.id) {
            busy.report = report.clone();
        }
    };
    let mut stopped = permit.stopped.clone();
    let crawled = tokio::select! {
        crawled = permit.crawls.crawler.crawl(&site.url, &known, &progress) => crawled?,
        _ = stopped.wait_for(|stop| *stop) => return Ok(None),
    };
    let mut report = crawled.report;
    for url in &crawled.ended {
        if *stopped.borrow() || !goes_on(app, tenant, site, None).await? {
            return Ok(None);
        }
        if let Some(page) = pages.remove(url) {
            app.memory.delete_document(tenant, page.document).await?;
        }
        app.directory.remove_page(tenant, site.id, url).await?;
    }
    let mut last: Option<WebsitePage> = None;
    for page in crawled.pages {
        if *stopped.borrow() || !goes_on(app, tenant, site, last.as_ref()).await? {
            return Ok(None);
        }
        let key = Website::document_key(site.id, &page.url);
        let stored = documents.get(&key).copied();
        let before = pages.get(&page.url).map(|page| page.document);
        let Page {
            url,
            state,
            document,
            ..
        } = page;
        let document = match (document, before) {
            (None, Some(id)) => id,
            (None, None) => continue,
            (Some(new), before) => {
                // A crawl that was interrupted may have stored it.
                let written = stored.filter(|_| before.is_none());
                if let Some(id) = written
                    && is_same(app, tenant, id, &new).await?
                {
                    id
                } else {
                    let new = NewDocument {
                        key: Some(key),
                        ..new
                    };
                    match app.memory.put_document(tenant, new).await {
                        Ok(document) => document.id,
                        Err(error) if error.kind() == ErrorKind::InvalidInput => {
                            report.read = report.read.saturating_sub(1);
                            *report.skipped.entry(Skip::Unreadable).or_default() += 1;
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        };
        let page = WebsitePage {
            url,
            document,
            state,
        };
        app.directory.keep_page(tenant, site.id, &page).await?;
        pages.insert(page.url.clone(), page.clone());
        last = Some(page);
    }
    if !goes_on(app, tenant, site, last.as_ref()).await? {
        return Ok(None);
    }
    // Documents of which a crawl that was interrupted has noted nothing.
    let noted: HashSet<String> = pages
        .keys()
        .map(|url| Website::document_key(site.id, url))
        .collect();
    for (key, id) in documents {
        if !noted.contains(&key) && report.is_complete {
            app.memory.delete_document(tenant, id).await?;
        }
    }
    Ok(Some(report))
}

/// Returns whether the crawl may still change something. Another process may have cancelled it, or removed the website with its
/// documents: then the page that was written meanwhile is removed too.
async fn goes_on(
    app: &App,
    tenant: TenantId,
    site: &Website,
    last: Option<&WebsitePage>,
) -> Result<bool> {
    match app.directory.website(tenant, site.id).await {
        Ok(site) => Ok(super::is_open(site.crawl.state)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(page) = last {
                app.memory.delete_document(tenant, page.document).await?;
                let removed = app.directory.remove_page(tenant, site.id, &page.url);
                removed.await?;
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn is_same(app: &App, tenant: TenantId, id: DocumentId, new: &NewDocument) -> Result<bool> {
    let stored = app.memory.document(tenant, id, None).await?;
    Ok(stored.is_some_and(|(stored, text)| {
        stored.title == new.title.trim() && text.as_bytes() == new.content
    }))
}
