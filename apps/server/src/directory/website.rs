//! Websites that tenants' employees answer from, what is known of their pages, and the crawls that wait or run.

use std::time::Duration;

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

use super::{
    ServerDirectory, decode, encode,
    job::{Job, Work},
    rows_of,
};

const TABLE: &str = "websites";
const PAGES: &str = "website_pages";
/// The websites of a tenant by address, so that none is added twice at the same time.
const ADDRESSES: &str = "website_addresses";
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
    /// How many hours after a crawl the next one begins. `None`: only on request.
    #[serde(default)]
    pub(crate) every_hours: Option<u16>,
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

impl Website {
    /// Returns the beginning of the keys of the website's documents.
    pub(crate) fn key_prefix(id: WebsiteId) -> String {
        format!("website/{id}/")
    }

    /// Returns the key of the document of a page.
    pub(crate) fn document_key(id: WebsiteId, url: &str) -> String {
        Self::key_prefix(id) + &hashed(url)
    }

    /// Returns the job that crawls it next: the requested crawl, until it has ended, or the scheduled one.
    pub(crate) fn next_crawl(&self, tenant: TenantId) -> Option<Job> {
        let crawl = &self.crawl;
        let is_open = match crawl.state {
            CrawlState::Waiting | CrawlState::Running => true,
            CrawlState::Interrupted => crawl.interruptions < MAX_INTERRUPTIONS,
            _ => false,
        };
        let due = if is_open {
            crawl.requested_at
        } else {
            let pause = Duration::from_secs(u64::from(self.every_hours?) * 3_600);
            crawl.ended_at.unwrap_or(crawl.requested_at) + pause
        };
        Some(Job {
            due,
            tenant,
            work: Work::Crawl(self.id),
        })
    }

    /// Starts the crawl of a job. Returns `false` if the job is not the next one any more.
    pub(crate) fn start_crawl(&mut self, job: &Job, now: Timestamp) -> bool {
        if self.next_crawl(job.tenant).as_ref() != Some(job) {
            return false;
        }
        let is_new = matches!(
            self.crawl.state,
            CrawlState::Finished | CrawlState::Failed | CrawlState::Cancelled
        ) || self.crawl.interruptions >= MAX_INTERRUPTIONS;
        if is_new {
            // The report of the crawl before is shown until there is another.
            let report = std::mem::take(&mut self.crawl.report);
            self.crawl = Crawl {
                requested_at: job.due,
                report,
                ..Crawl::default()
            };
        }
        self.crawl.state = CrawlState::Running;
        self.crawl.started_at = Some(now);
        true
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

impl ServerDirectory {
    /// Adds a website, whose crawl waits from now on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for too many websites, [`ErrorKind::Conflict`] for one that the tenant has, and those of the store.
    pub(crate) async fn add_website(
        &self,
        tenant: TenantId,
        url: &str,
        every_hours: Option<u16>,
    ) -> Result<Website> {
        let known = self.websites(tenant).await?;
        let twice = || {
            let problem = "url: the tenant has this website already; crawl it again instead";
            Err(Error::new(ErrorKind::Conflict, problem).with_field("url"))
        };
        if known.iter().any(|known| known.url == url) {
            return twice();
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
            every_hours,
            crawl: Crawl {
                requested_at: now,
                ..Crawl::default()
            },
        };
        let key = website.id.to_string();
        let changes = vec![
            RowChange::put(Some(tenant), ADDRESSES, hashed(url), key.clone().into())
                .expecting(Expect::Absent),
            RowChange::put(Some(tenant), TABLE, key, encode(&website)?),
        ];
        let job = website
            .next_crawl(tenant)
            .map(|job| job.put())
            .transpose()?;
        let changes = changes.into_iter().chain(job).collect();
        if self.rows.write_rows(changes).await? {
            Ok(website)
        } else {
            twice()
        }
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

    /// Changes a website, and with it the job of its next crawl.
    ///
    /// # Errors
    /// Those of `change`, [`ErrorKind::NotFound`], and those of the store.
    pub(crate) async fn change_website(
        &self,
        tenant: TenantId,
        id: WebsiteId,
        change: impl Fn(&mut Website) -> Result<()>,
    ) -> Result<Website> {
        loop {
            let before = self
                .rows
                .get_row(Some(tenant), TABLE, &id.to_string())
                .await?;
            let before = before.ok_or_else(|| Error::not_found("website"))?;
            let mut website: Website = decode(&before)?;
            let old = website.next_crawl(tenant);
            change(&mut website)?;
            let new = website.next_crawl(tenant);
            let change = RowChange::put(Some(tenant), TABLE, id.to_string(), encode(&website)?);
            let mut changes = vec![change.expecting(Expect::Exact(before))];
            if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
                changes.push(old.delete());
            }
            if let Some(new) = new {
                changes.push(new.put()?);
            }
            if self.rows.write_rows(changes).await? {
                return Ok(website);
            }
        }
    }

    /// Changes the crawl of a website.
    ///
    /// # Errors
    /// As [`change_website`](Self::change_website).
    pub(crate) async fn change_crawl(
        &self,
        tenant: TenantId,
        id: WebsiteId,
        change: impl Fn(&mut Crawl) -> Result<()>,
    ) -> Result<Website> {
        self.change_website(tenant, id, |website| change(&mut website.crawl))
            .await
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
        let rows = rows_of(&*self.rows, Some(tenant), PAGES, &format!("{id}/")).await?;
        rows.iter().map(|(_, bytes)| decode(bytes)).collect()
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
        let mut changes = vec![RowChange::delete(Some(tenant), TABLE, id.to_string())];
        if let Some(website) = self
            .read::<Website>(Some(tenant), TABLE, &id.to_string())
            .await?
        {
            let address = hashed(&website.url);
            changes.push(RowChange::delete(Some(tenant), ADDRESSES, address));
            changes.extend(website.next_crawl(tenant).map(|job| job.delete()));
        }
        for page in self.website_pages(tenant, id).await? {
            let key = page_key(id, &page.url);
            changes.push(RowChange::delete(Some(tenant), PAGES, key));
        }
        self.rows.write_rows(changes).await.map(drop)
    }

    /// Adds the jobs of a tenant whose cancellation was withdrawn.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn restore_crawls_of(&self, tenant: TenantId) -> Result<()> {
        for website in self.websites(tenant).await? {
            let job = website.next_crawl(tenant);
            if let Some(job) = job.map(|job| job.put()).transpose()? {
                self.rows.write_rows(vec![job]).await?;
            }
        }
        Ok(())
    }

    /// Removes the jobs of a tenant that is removed.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn drop_crawls_of(&self, tenant: TenantId) -> Result<()> {
        for website in self.websites(tenant).await? {
            if let Some(job) = website.next_crawl(tenant) {
                self.drop_job(&job).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn website(every_hours: Option<u16>, crawl: Crawl) -> Website {
        Website {
            id: WebsiteId::new(),
            url: "https://acme.example/".into(),
            created_at: Timestamp::default(),
            every_hours,
            crawl,
        }
    }

    #[test]
    fn a_crawl_is_due_when_it_is_requested_or_scheduled() {
        let (tenant, at) = (TenantId::new(), Timestamp::from_secs);
        let check = |state, interruptions, every_hours, due: Option<i64>| {
            let crawl = Crawl {
                state,
                requested_at: at(10),
                ended_at: (state == CrawlState::Finished).then(|| at(20)),
                interruptions,
                ..Crawl::default()
            };
            let found = website(every_hours, crawl).next_crawl(tenant);
            assert_eq!(found.map(|job| job.due), due.map(at), "{state:?}");
        };
        check(CrawlState::Waiting, 0, None, Some(10));
        check(CrawlState::Running, 0, Some(24), Some(10));
        check(CrawlState::Interrupted, 2, None, Some(10));
        check(CrawlState::Interrupted, 3, None, None);
        check(CrawlState::Interrupted, 3, Some(24), Some(10 + 24 * 3_600));
        check(CrawlState::Finished, 0, None, None);
        check(CrawlState::Finished, 0, Some(24), Some(20 + 24 * 3_600));
    }

    #[test]
    fn only_the_next_job_starts_a_crawl() {
        let (tenant, now) = (TenantId::new(), Timestamp::from_secs(1_000_000));
        let crawl = Crawl {
            state: CrawlState::Finished,
            ended_at: Some(Timestamp::from_secs(20)),
            interruptions: 1,
            ..Crawl::default()
        };
        let mut site = website(Some(24), crawl);
        let job = site.next_crawl(tenant).unwrap();
        let other = Job {
            due: Timestamp::from_secs(1),
            ..job
        };
        assert!(!site.start_crawl(&other, now));
        assert!(site.start_crawl(&job, now));
        assert_eq!(site.crawl.state, CrawlState::Running);
        assert_eq!(
            (site.crawl.requested_at, site.crawl.interruptions),
            (job.due, 0)
        );
        assert_eq!(site.next_crawl(tenant), Some(job), "until it has ended");
        // After the end of the process, the same job resumes it.
        site.crawl.state = CrawlState::Interrupted;
        site.crawl.interruptions = 1;
        assert!(site.start_crawl(&job, now));
        assert_eq!(site.crawl.interruptions, 1);
        site.crawl.state = CrawlState::Cancelled;
        assert!(!site.start_crawl(&job, now), "it was cancelled meanwhile");
    }
}
