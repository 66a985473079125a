//! Reads a website as a source of knowledge: bounded, polite, and only where something has changed. Feature `crawl`.
//!
//! * A [`Crawler`] reads the pages of one host that links and sitemaps lead to, as `robots.txt` (RFC 9309) and the pages allow: one
//!   request at a time, a second apart or as `Crawl-delay` says. It reads HTML, text, Markdown, CSV, and PDF and Office files if their
//!   features are enabled.
//! * Addresses have one form: without fragments and tracking parameters. Pages that differ only in their query or in numbers are
//!   bounded, because a calendar has no end.
//! * Of an HTML page, the main content is kept. A text that most pages repeat is kept once. Pages with the same text, or with another
//!   `rel=canonical`, are stored once.
//! * The caller keeps a [`PageState`] for each page. With it, an unchanged page is not sent again and gives no new version. A page ends
//!   if it is gone, or if nothing leads to it in a complete crawl. A page that cannot be read keeps its last version.
//!
//! Give the crawler a client with a [`Guard`](konstruct_core::http::Guard), so that nothing on a private network is read; each redirect is
//! checked too.
//!
//! ```no_run
//! use std::{collections::BTreeMap, sync::Arc};
//! use konstruct_core::{SystemClock, TenantId, http::{Client, Guard}, memory::KnowledgeStore as _};
//! use konstruct_memory::{Redb, crawl::Crawler};
//!
//! # async fn read(store: Redb, tenant: TenantId) -> konstruct_core::Result<()> {
//! let client = Client::builder().guard(Guard::new()).build();
//! let crawler = Crawler::new(client, Arc::new(SystemClock));
//! // The states of an earlier crawl, by address; empty at first.
//! let mut known = BTreeMap::new();
//! let crawled = crawler.crawl("https://acme.example", &known, &|_| {}).await?;
//! for page in crawled.pages {
//!     if let Some(mut document) = page.document {
//!         document.key = Some(page.url.clone());
//!         store.put_document(tenant, document).await?;
//!     }
//!     known.insert(page.url, page.state);
//! }
//! for url in crawled.ended {
//!     known.remove(&url); // and delete its document
//! }
//! println!("{} pages read", crawled.report.read);
//! # Ok(())
//! # }
//! ```

mod address;
mod fetch;
mod finish;
mod page;
mod queue;
mod report;
mod robots;
mod run;
mod sitemap;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use konstruct_core::{
    Clock, Error, NewDocument, Result,
    http::{Client, Url},
};

use self::{address::Site, run::Run};
pub use self::{
    page::PageState,
    report::{Entry, Failure, Outcome, Problem, Report, Skip},
};

/// The crawler's name in `robots.txt`.
const PRODUCT: &str = "konstruct";

/// The limits of a crawl.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The most pages of a site; 200 by default.
    pub pages: usize,
    /// The most links between the start page and another; 4 by default.
    pub depth: usize,
    /// The most bytes of a page; 5 MB by default.
    pub page_bytes: usize,
    /// The most bytes of a crawl; 100 MB by default.
    pub site_bytes: usize,
    /// The wait between the starts of two requests; 1 second by default. A longer `Crawl-delay`, up to 10 seconds, replaces it.
    pub delay: Duration,
    /// The longest time of a request with its response; 30 seconds by default.
    pub request: Duration,
    /// The longest time of a crawl; an hour by default.
    pub crawl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pages: 200,
            depth: 4,
            page_bytes: 5_000_000,
            site_bytes: 100_000_000,
            delay: Duration::from_secs(1),
            request: Duration::from_secs(30),
            crawl: Duration::from_secs(3_600),
        }
    }
}

impl Limits {
    /// Applies changes to the fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Reads websites. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Crawler {
    client: Client,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

/// What a crawl found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Crawled {
    /// The pages that were sent, in the order in which they were read.
    pub pages: Vec<Page>,
    /// The addresses of known pages that ended: delete their documents.
    pub ended: Vec<String>,
    /// What became of each address.
    pub report: Report,
}

/// A page that was sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// Its address.
    pub url: String,
    /// What the next crawl needs to know about it.
    pub state: PageState,
    /// Its content, without a key; `None` if it has not changed.
    pub document: Option<NewDocument>,
}

impl Crawler {
    /// Creates a crawler. The client must have a [`Guard`](konstruct_core::http::Guard) if a stranger chooses the address.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            clock,
            limits: Limits::default(),
        }
        .with_limits(Limits::default())
    }

    /// Replaces the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.client = self.client.to_builder().timeout(limits.request).build();
        self.limits = limits;
        self
    }

    /// Crawls a website. `known` are the pages of the last crawl by their addresses, and `progress` is called with the report so far.
    /// A website that cannot be read is reported as a [`Problem`], not as an error.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for an address that [`start_url`] refuses.
    ///
    /// # Cancel safety
    /// Dropping the future ends the crawl without a result.
    pub async fn crawl(
        &self,
        start: &str,
        known: &BTreeMap<String, PageState>,
        progress: &(dyn Fn(&Report) + Send + Sync),
    ) -> Result<Crawled> {
        let mut start = start_url(start)?;
        // A guard allows HTTP only for hosts of the operator.
        if start.scheme() == "http" && self.client.get(&start).is_err() {
            // It does not fail for an address with a host.
            let _ = start.set_scheme("https");
        }
        Ok(Run::new(self, Site::of(&start), known, progress)
            .run()
            .await)
    }
}

/// Parses the address of a website; `https://` may be omitted.
///
/// ```
/// use konstruct_memory::crawl::start_url;
///
/// assert_eq!(start_url(" acme.example/shop#top")?.as_str(), "https://acme.example/shop");
/// assert!(start_url("ftp://acme.example").is_err());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names `url`, for anything that is not an address of HTTP or
/// HTTPS without a user name and with at most 2,000 bytes.
pub fn start_url(address: &str) -> Result<Url> {
    let invalid = || {
        let problem = "must be the address of a website, such as https://acme.example";
        Error::invalid("url", problem)
    };
    let address = address.trim();
    let url = if address.contains("://") {
        Url::parse(address)
    } else {
        Url::parse(&format!("https://{address}"))
    };
    let mut url = url.map_err(|_| invalid())?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if !is_web || url.as_str().len() > 2_000 {
        return Err(invalid());
    }
    if !url.username().is_empty() || url.password().is_some() {
        let problem = "must not contain a user name or password; only public pages are read";
        return Err(Error::invalid("url", problem));
    }
    url.set_fragment(None);
    Ok(url)
}
