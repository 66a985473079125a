//! Websites that tenants' employees answer from, what is known of their pages, and the crawls that wait or run.

use konstruct_core::{
    Clock as _, DocumentId, Error, ErrorKind, Result, SystemClock, TenantId, Timestamp,
    id::WebsiteId,
};
use konstruct_memory::{
    Expect, RowChange,
    crawl::{PageState, Report},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ServerDirectory, decode, encode};

const TABLE: &str = "websites";
const PAGES: &str = "website_pages";
/// The crawls of all tenants that wait or run, which a start resumes.
const CRAWLS: &str = "crawls";
/// How many pages are read at a time.
const READ: usize = 64;
/// The most websites of a tenant.
const MAX_WEBSITES: usize = 20;
/// A crawl that was interrupted so often is not restarted: it may be the reason.
const MAX_INTERRUPTIONS: u32 = 3;

/// A website of a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Website {
    pub(crate) id: WebsiteId,
    /// The address of the start page.
    pub(crate) url: String,
    pub(crate) created_at: Timestamp,
    pub(crate) crawl: Crawl,
}

/// The last crawl of a website.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Crawl {
    pub(crate) state: CrawlState,
    pub(crate) requested_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    /// How often the server ended before the crawl did.
    pub(crate) interruptions: u32,
    pub(crate) report: Report,
}

/// The state of a crawl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CrawlState {
    #[default]
    Waiting,
    Running,
    /// The server ended before it; it is restarted, unless that happened too often.
    Interrupted,
    Finished,
    Failed,
    Cancelled,
}

/// A page of a website, and the document that it became.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WebsitePage {
    pub(crate) url: String,
    pub(crate) document: DocumentId,
    pub(crate) state: PageState,
}

/// A crawl that waits or runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueuedCrawl {
    pub(crate) tenant: TenantId,
    pub(crate) website: WebsiteId,
    pub(crate) requested_at: Timestamp,
}

impl Website {
    /// Returns the beginning of the keys of the website's documents.
    pub(crate) fn key_prefix(id: WebsiteId) -> String {
        format!("website/{id}/")
    }

    /// Returns the key of the document of a page.
    pub(crate) fn document_key(id: WebsiteId, url: &str) -> String {
        Self::key_prefix(id) + &hashed(url)
    }

    /// Returns the website of a document.
    pub(crate) fn of_document(key: Option<&str>) -> Option<WebsiteId> {
        let (id, _) = key?.strip_prefix("website/")?.split_once('/')?;
        id.parse().ok()
    }
}

fn hashed(url: &str) -> String {
    hex::encode(&Sha256::digest(url)[..16])
}

fn page_key(id: WebsiteId, url: &str) -> String {
    format!("{id}/{}", hashed(url))
}

fn queue_key(tenant: TenantId, id: WebsiteId) -> String {
    format!("{tenant}/{id}")
}

impl ServerDirectory {
    /// Adds a website, whose crawl waits from now on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for too many websites, [`ErrorKind::Conflict`] for one that the tenant has, and those of the store.
    pub(crate) async fn add_website(&self, tenant: TenantId, url: &str) -> Result<Website> {
        let known = self.websites(tenant).await?;
        if known.iter().any(|known| known.url == url) {
            let problem = "url: the tenant has this website already; crawl it again instead";
            return Err(Error::new(ErrorKind::Conflict, problem).with_field("url"));
        }
        if known.len() >= MAX_WEBSITES {
            let problem = format!("a tenant has at most {MAX_WEBSITES} websites; remove one first");
            return Err(Error::invalid("url", problem));
        }
        let now = SystemClock.now();
        let website = Website {
            id: WebsiteId::new(),
            url: url.to_owned(),
            created_at: now,
            crawl: Crawl {
                requested_at: now,
                ..Crawl::default()
            },
        };
        let key = website.id.to_string();
        let changes = vec![
            RowChange::put(Some(tenant), TABLE, key, encode(&website)?),
            self.queued(tenant, &website)?,
        ];
        self.rows.write_rows(changes).await?;
        Ok(website)
    }

    /// Returns a website.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and those of the store.
    pub(crate) async fn website(&self, tenant: TenantId, id: WebsiteId) -> Result<Website> {
        self.read(Some(tenant), TABLE, &id.to_string())
            .await?
            .ok_or_else(|| Error::not_found("website"))
    }

    /// Lists the websites of a tenant by id.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn websites(&self, tenant: TenantId) -> Result<Vec<Website>> {
        self.list(Some(tenant), TABLE).await
    }

    /// Changes the crawl of a website, which waits or runs afterwards or not.
    ///
    /// # Errors
    /// Those of `change`, [`ErrorKind::NotFound`], and those of the store.
    pub(crate) async fn change_crawl(
        &self,
        tenant: TenantId,
        id: WebsiteId,
        change: impl Fn(&mut Crawl) -> Result<()>,
    ) -> Result<Website> {
        loop {
            let before = self
                .rows
                .get_row(Some(tenant), TABLE, &id.to_string())
                .await?;
            let before = before.ok_or_else(|| Error::not_found("website"))?;
            let mut website: Website = decode(&before)?;
            change(&mut website.crawl)?;
            let is_queued = match website.crawl.state {
                CrawlState::Waiting | CrawlState::Running => true,
                CrawlState::Interrupted => website.crawl.interruptions < MAX_INTERRUPTIONS,
                _ => false,
            };
            let change = RowChange::put(Some(tenant), TABLE, id.to_string(), encode(&website)?);
            let changes = vec![
                change.expecting(Expect::Exact(before)),
                if is_queued {
                    self.queued(tenant, &website)?
                } else {
                    RowChange::delete(None, CRAWLS, queue_key(tenant, id))
                },
            ];
            if self.rows.write_rows(changes).await? {
                return Ok(website);
            }
        }
    }

    fn queued(&self, tenant: TenantId, website: &Website) -> Result<RowChange> {
        let queued = QueuedCrawl {
            tenant,
            website: website.id,
            requested_at: website.crawl.requested_at,
        };
        let key = queue_key(tenant, website.id);
        Ok(RowChange::put(None, CRAWLS, key, encode(&queued)?))
    }

    /// Lists the crawls that wait or run, the oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn queued_crawls(&self) -> Result<Vec<QueuedCrawl>> {
        let mut all: Vec<QueuedCrawl> = self.list(None, CRAWLS).await?;
        all.sort_by_key(|crawl| crawl.requested_at);
        Ok(all)
    }

    /// Takes a crawl out of the queue whose website or tenant does not exist.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn drop_crawl(&self, crawl: &QueuedCrawl) -> Result<()> {
        let key = queue_key(crawl.tenant, crawl.website);
        self.rows.delete_row(None, CRAWLS, &key).await.map(drop)
    }

    /// Lists the known pages of a website.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn website_pages(
        &self,
        tenant: TenantId,
        id: WebsiteId,
    ) -> Result<Vec<WebsitePage>> {
        let prefix = format!("{id}/");
        let (mut pages, mut after) = (Vec::new(), prefix.clone());
        // The pages of other websites follow.
        loop {
            let rows = self.rows.rows(Some(tenant), PAGES, Some(&after), READ);
            let rows = rows.await?;
            let is_last = rows.len() < READ;
            for (key, bytes) in rows {
                if !key.starts_with(&prefix) {
                    return Ok(pages);
                }
                pages.push(decode(&bytes)?);
                after = key;
            }
            if is_last {
                return Ok(pages);
            }
        }
    }

    /// Writes what is known of a page.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn keep_page(
        &self,
        tenant: TenantId,
        id: WebsiteId,
        page: &WebsitePage,
    ) -> Result<()> {
        let key = page_key(id, &page.url);
        self.rows
            .put_row(Some(tenant), PAGES, &key, &encode(page)?)
            .await
    }

    /// Removes what is known of a page.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn remove_page(
        &self,
        tenant: TenantId,
        id: WebsiteId,
        url: &str,
    ) -> Result<()> {
        let key = page_key(id, url);
        self.rows
            .delete_row(Some(tenant), PAGES, &key)
            .await
            .map(drop)
    }

    /// Removes a website with what is known of its pages, but without their documents.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn remove_website(&self, tenant: TenantId, id: WebsiteId) -> Result<()> {
        let mut changes = vec![
            RowChange::delete(Some(tenant), TABLE, id.to_string()),
            RowChange::delete(None, CRAWLS, queue_key(tenant, id)),
        ];
        for page in self.website_pages(tenant, id).await? {
            let key = page_key(id, &page.url);
            changes.push(RowChange::delete(Some(tenant), PAGES, key));
        }
        self.rows.write_rows(changes).await.map(drop)
    }

    /// Takes the crawls of a removed tenant out of the queue.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn drop_crawls_of(&self, tenant: TenantId) -> Result<()> {
        let crawls = self.queued_crawls().await?;
        for crawl in crawls.iter().filter(|crawl| crawl.tenant == tenant) {
            self.drop_crawl(crawl).await?;
        }
        Ok(())
    }
}
