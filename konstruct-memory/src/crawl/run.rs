//! One crawl: from the start page to the last page that something leads to.

use std::collections::{BTreeMap, HashMap, HashSet};

use konstruct_core::{Clock, Timestamp, http::Url};

use super::{
    Crawled, Crawler, Failure, Limits, Outcome, PRODUCT, PageState, Problem, Report, Skip,
    address::{Site, Target},
    fetch::{Answer, Fetched, Fetcher, Wanted, inflated},
    page::{LINKS, Read, accepts},
    queue::{Next, Queue},
    robots::{self, Robots},
    sitemap::{self, Sitemap},
};

/// The most redirects of one address, and of `robots.txt`.
const HOPS: usize = 5;
/// A site of which so many pages in a row fail is down.
const FAILURES: usize = 8;
/// Addresses that are requested for each page that may be stored.
const REQUESTS: usize = 4;
/// The ends of names of files without text.
const WITHOUT_TEXT: &[&str] = &[
    "jpg", "jpeg", "png", "gif", "webp", "avif", "svg", "ico", "bmp", "tif", "tiff", "css", "js",
    "mjs", "map", "json", "woff", "woff2", "ttf", "eot", "mp3", "wav", "ogg", "mp4", "webm", "mov",
    "avi", "zip", "gz", "rar", "7z", "exe", "dmg", "apk", "ics", "vcf",
];

/// A page of the site that was read or has not changed.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) url: Url,
    /// `None` if the server did not send it again.
    pub(super) read: Option<Read>,
}

/// The state of a crawl.
pub(super) struct Run<'a> {
    limits: &'a Limits,
    pub(super) fetcher: Fetcher<'a>,
    pub(super) site: Site,
    robots: Robots,
    queue: Queue,
    pub(super) known: &'a BTreeMap<String, PageState>,
    progress: &'a (dyn Fn(&Report) + Send + Sync),
    deadline: Timestamp,
    clock: &'a dyn Clock,
    pub(super) report: Report,
    pub(super) kept: Vec<Kept>,
    /// Redirects, and whether they are permanent.
    pub(super) moved: HashMap<String, (Url, bool)>,
    /// Known pages that their owner took away.
    pub(super) gone: HashSet<String>,
    /// Known pages that nothing leads to.
    pub(super) orphans: HashSet<String>,
    /// Pages that failed.
    pub(super) failed: HashSet<String>,
    in_a_row: usize,
    /// Whether a sitemap could not be read, or a page or the site has more links than are followed.
    lacks_links: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        crawler: &'a Crawler,
        site: Site,
        known: &'a BTreeMap<String, PageState>,
        progress: &'a (dyn Fn(&Report) + Send + Sync),
    ) -> Self {
        let (limits, clock) = (&crawler.limits, &*crawler.clock);
        Self {
            limits,
            fetcher: Fetcher::new(&crawler.client, clock, limits),
            site,
            robots: Robots::default(),
            queue: Queue::default(),
            known,
            progress,
            deadline: clock.now() + limits.crawl,
            clock,
            report: Report::default(),
            kept: Vec::new(),
            moved: HashMap::new(),
            gone: HashSet::new(),
            orphans: HashSet::new(),
            failed: HashSet::new(),
            in_a_row: 0,
            lacks_links: false,
        }
    }

    pub(super) async fn run(mut self) -> Crawled {
        if let Err(problem) = self.start().await {
            self.report.problem = Some(problem);
            self.show();
            return Crawled {
                report: self.report,
                ..Crawled::default()
            };
        }
        let has_start = !self.kept.is_empty();
        self.show();
        self.read_sitemaps().await;
        self.read_all(self.limits.pages).await;
        if self.kept.is_empty() {
            self.report.problem.get_or_insert(Problem::StartFailed);
        }
        if self.report.problem.is_none() {
            self.read_orphans().await;
        }
        self.report.is_complete = has_start
            && !self.lacks_links
            && self.failed.is_empty()
            && self.report.problem.is_none();
        self.show();
        self.finish().await
    }

    /// Asks for known pages that nothing leads to: whether they are gone, or the pages that lead to them fail.
    async fn read_orphans(&mut self) {
        for address in self
            .known
            .keys()
            .filter(|address| !self.queue.has_seen(address))
        {
            self.orphans.insert(address.clone());
        }
        for address in self.orphans.clone() {
            if let Target::Page(url) = self.site.resolve(self.site.home(), &address) {
                self.offer(url, 0, 0);
            }
        }
        self.read_all(usize::MAX).await;
    }

    /// Reads `robots.txt` and the start page, which may redirect to another name of the site.
    async fn start(&mut self) -> Result<(), Problem> {
        self.robots = self.read_robots().await?;
        for _ in 0..=HOPS {
            let url = self.site.home().clone();
            if !self.robots.allows(&path(&url)) {
                self.skip(&url, Skip::Robots, None);
                return Err(Problem::RobotsDisallow);
            }
            let fetched = self.fetch(&url, true).await;
            self.queue.mark(url.as_str());
            match fetched {
                Fetched::Redirect(to, _) => {
                    let Some(to) = url.join(&to).ok().filter(|to| *to != url) else {
                        break;
                    };
                    let Some(site) = self.site.moved(&to) else {
                        self.skip(&url, Skip::OtherHost, Some(to.to_string()));
                        return Err(Problem::StartRedirects);
                    };
                    let is_same = site.home().origin() == self.site.home().origin();
                    self.site = site;
                    if !is_same {
                        self.robots = self.read_robots().await?;
                    }
                }
                Fetched::NotPublic => return Err(Problem::NotPublic),
                Fetched::Busy => return Err(Problem::SiteBusy),
                fetched => {
                    let next = Next {
                        url,
                        depth: 0,
                        hops: 0,
                    };
                    let address = next.url.to_string();
                    self.take(next, fetched).await;
                    // A page without text may have links, and a sitemap beside it.
                    return if self.failed.contains(&address) || self.gone.contains(&address) {
                        Err(Problem::StartFailed)
                    } else {
                        Ok(())
                    };
                }
            }
        }
        let home = self.site.home().clone();
        self.fail(&home, Failure::Redirect, None);
        Err(Problem::StartFailed)
    }

    /// Reads `robots.txt`: an error of the client allows everything, one of the server nothing.
    async fn read_robots(&mut self) -> Result<Robots, Problem> {
        let Ok(mut url) = self.site.home().join("/robots.txt") else {
            return Err(Problem::StartFailed);
        };
        for _ in 0..=HOPS {
            let wanted = Wanted {
                known: None,
                accepts: |_, _| true,
                most: self.limits.page_bytes.max(robots::SIZE),
            };
            match self.fetcher.get(&url, wanted).await {
                Fetched::Body(answer) => return Ok(self.obey(Robots::parse(&answer.body, PRODUCT))),
                Fetched::Redirect(to, _) => match url.join(&to) {
                    Ok(to) => url = to,
                    Err(_) => break,
                },
                Fetched::NotPublic if url.host() == self.site.home().host() => {
                    return Err(Problem::NotPublic);
                }
                Fetched::Busy => return Err(Problem::SiteBusy),
                Fetched::Failed(failure, detail) => {
                    self.fail(&url, failure, detail);
                    return Err(Problem::RobotsFailed);
                }
                // It is there, but unusable as a whole.
                Fetched::TooLarge => {
                    self.skip(&url, Skip::TooLarge, None);
                    return Err(Problem::RobotsFailed);
                }
                _ => break,
            }
        }
        Ok(self.obey(Robots::default()))
    }

    fn obey(&mut self, robots: Robots) -> Robots {
        self.fetcher.delay = robots.delay.unwrap_or_default().max(self.limits.delay);
        robots
    }

    async fn read_sitemaps(&mut self) {
        let declared = std::mem::take(&mut self.robots.sitemaps);
        let is_declared = !declared.is_empty();
        let mut waiting = if is_declared {
            declared
        } else {
            vec!["/sitemap.xml".to_owned()]
        };
        waiting.reverse();
        let (mut is_index, mut urls, mut read) = (true, 0, 0);
        let mut below = Vec::new();
        loop {
            let Some(address) = waiting.pop() else {
                // An index lists sitemaps, but no further indexes.
                if !is_index || below.is_empty() {
                    return;
                }
                is_index = false;
                waiting = std::mem::take(&mut below);
                waiting.reverse();
                continue;
            };
            let Target::Page(url) = self.site.resolve(self.site.home(), &address) else {
                continue;
            };
            if read > sitemap::SITEMAPS || !self.queue.mark(url.as_str()) {
                continue;
            }
            read += 1;
            let Some((url, found)) = self.read_sitemap(url).await else {
                // The site says that it is there.
                self.lacks_links |= is_declared || !is_index;
                continue;
            };
            if is_index {
                below.extend(found.sitemaps);
            }
            for page in found.pages {
                if urls == sitemap::URLS {
                    self.lacks_links = true;
                    break;
                }
                urls += 1;
                tokio::task::yield_now().await;
                if let Target::Page(url) = self.site.resolve(&url, &page) {
                    self.offer(url, 1, 0);
                }
            }
            self.show();
        }
    }

    /// Reads one sitemap, and returns it with its address.
    async fn read_sitemap(&mut self, mut url: Url) -> Option<(Url, Sitemap)> {
        let wanted = Wanted {
            known: None,
            accepts: |_, _| true,
            most: sitemap::SIZE,
        };
        for _ in 0..=HOPS {
            if self.clock.now() >= self.deadline {
                self.lacks_links = true;
                return None;
            }
            if !self.robots.allows(&path(&url)) {
                return None;
            }
            match self.fetcher.get(&url, wanted).await {
                Fetched::Body(answer) => {
                    let sitemap = parse_sitemap(&answer);
                    self.lacks_links |= sitemap.is_none();
                    return Some((url, sitemap?));
                }
                Fetched::Redirect(to, _) => match self.site.resolve(&url, &to) {
                    Target::Page(to) => url = to,
                    _ => return None,
                },
                Fetched::Failed(failure, detail) => {
                    self.lacks_links = true;
                    self.fail(&url, failure, detail);
                    return None;
                }
                Fetched::TooLarge => {
                    self.lacks_links = true;
                    self.skip(&url, Skip::TooLarge, None);
                    return None;
                }
                Fetched::Busy => {
                    self.lacks_links = true;
                    return None;
                }
                _ => return None,
            }
        }
        None
    }

    /// Reads the pages that wait, within the limits.
    async fn read_all(&mut self, pages: usize) {
        self.in_a_row = 0;
        while self.queue.len() > 0 {
            let problem = if self.kept.len() >= pages
                || self.fetcher.requests > self.limits.pages.saturating_mul(REQUESTS).max(40)
            {
                Some(Problem::PageLimit)
            } else if self.fetcher.bytes >= self.limits.site_bytes {
                Some(Problem::ByteLimit)
            } else if self.clock.now() >= self.deadline {
                Some(Problem::TimeLimit)
            } else if self.in_a_row >= FAILURES {
                Some(Problem::SiteFailed)
            } else {
                None
            };
            if problem.is_some() {
                self.report.problem = problem;
                return;
            }
            let Some(next) = self.queue.pop() else { return };
            let fetched = self.fetch(&next.url, true).await;
            if matches!(fetched, Fetched::Busy) {
                self.report.problem = Some(Problem::SiteBusy);
                return;
            }
            self.take(next, fetched).await;
            self.show();
        }
    }

    async fn fetch(&mut self, url: &Url, may_be_unchanged: bool) -> Fetched {
        let wanted = Wanted {
            known: self.known.get(url.as_str()).filter(|_| may_be_unchanged),
            accepts,
            most: self.limits.page_bytes,
        };
        self.fetcher.get(url, wanted).await
    }

    /// Takes the response for a page.
    async fn take(&mut self, next: Next, fetched: Fetched) {
        let url = next.url.clone();
        let is_failure = matches!(fetched, Fetched::Failed(..) | Fetched::NotPublic);
        self.in_a_row = if is_failure { self.in_a_row + 1 } else { 0 };
        match fetched {
            Fetched::Body(answer) => self.read(next, answer).await,
            Fetched::NotModified => {
                let Some(state) = self.known.get(url.as_str()) else {
                    return;
                };
                let links = state.links.iter();
                let links: Vec<Target> = links.map(|link| self.site.resolve(&url, link)).collect();
                self.follow(&links, next.depth).await;
                self.kept.push(Kept { url, read: None });
            }
            Fetched::Redirect(to, is_permanent) => match self.site.resolve(&url, &to) {
                Target::Page(to) if next.hops < HOPS && to != url => {
                    self.moved
                        .insert(url.to_string(), (to.clone(), is_permanent));
                    self.skip(&url, Skip::Redirect, Some(to.to_string()));
                    self.offer(to, next.depth, next.hops + 1);
                }
                Target::OtherHost(to) => {
                    if is_permanent {
                        self.gone.insert(url.to_string());
                    }
                    self.skip(&url, Skip::OtherHost, Some(to.to_string()));
                }
                _ => self.fail(&url, Failure::Redirect, None),
            },
            Fetched::Status(404 | 410) => {
                self.gone.insert(url.to_string());
                self.skip(&url, Skip::NotFound, None);
            }
            Fetched::Status(408) => self.fail(&url, Failure::TimedOut, None),
            Fetched::Status(status) => {
                self.skip(&url, Skip::Refused, Some(status.to_string()));
            }
            Fetched::Type(media) => {
                self.skip(
                    &url,
                    Skip::Type,
                    Some(media).filter(|media| !media.is_empty()),
                );
            }
            Fetched::TooLarge => self.skip(&url, Skip::TooLarge, None),
            Fetched::Failed(failure, detail) => self.fail(&url, failure, detail),
            Fetched::NotPublic => self.fail(&url, Failure::Unreachable, None),
            Fetched::Busy => self.fail(&url, Failure::Busy, None),
        }
    }

    /// Reads a page that was sent, and follows its links.
    async fn read(&mut self, next: Next, answer: Answer) {
        let url = next.url;
        let read = match self.parse(&url, answer).await {
            Ok(read) => read,
            Err((reason, links)) => {
                if reason == Skip::NoIndex {
                    self.gone.insert(url.to_string());
                }
                self.skip(&url, reason, None);
                return self.follow(&links, next.depth).await;
            }
        };
        self.follow(&read.links, next.depth).await;
        if let Some(canonical) = &read.canonical {
            self.offer(canonical.clone(), next.depth, 0);
        }
        let read = Some(read);
        self.kept.push(Kept { url, read });
    }

    /// Parses a page on another thread, because a large one takes a while.
    async fn parse(&self, url: &Url, answer: Answer) -> Result<Read, (Skip, Vec<Target>)> {
        let (url, site) = (url.clone(), self.site.clone());
        let read = tokio::task::spawn_blocking(move || Read::of(&url, &answer, &site));
        // A parser panicked.
        read.await.unwrap_or(Err((Skip::Unreadable, Vec::new())))
    }

    /// Reads a page again that the server would not have to send.
    pub(super) async fn read_again(&mut self, at: usize) {
        let url = self.kept[at].url.clone();
        if let Fetched::Body(answer) = self.fetch(&url, false).await
            && let Ok(read) = self.parse(&url, answer).await
        {
            self.kept[at].read = Some(read);
        }
    }

    async fn follow(&mut self, links: &[Target], depth: usize) {
        // What only orphans lead to is an orphan too.
        let links = if self.orphans.is_empty() { links } else { &[] };
        self.lacks_links |= links.len() > LINKS;
        for link in links.iter().take(LINKS) {
            // To compare an address with thousands of rules of `robots.txt` takes a while.
            tokio::task::yield_now().await;
            match link {
                Target::Page(url) => self.offer(url.clone(), depth + 1, 0),
                Target::OtherHost(url) if self.queue.mark(url.as_str()) => {
                    self.skip(url, Skip::OtherHost, None);
                }
                _ => {}
            }
        }
    }

    /// Adds a page to those to read, if it may be read.
    fn offer(&mut self, url: Url, depth: usize, hops: usize) {
        if self.queue.has_seen(url.as_str()) {
            return;
        }
        if self.queue.is_full() {
            self.lacks_links = true;
            return;
        }
        let end = url
            .path()
            .rsplit_once('.')
            .map(|(_, end)| end.to_ascii_lowercase());
        let refused = if end.is_some_and(|end| WITHOUT_TEXT.contains(&end.as_str())) {
            Some(Skip::Type)
        } else if !self.robots.allows(&path(&url)) {
            self.gone.insert(url.to_string());
            Some(Skip::Robots)
        } else {
            None
        };
        match refused {
            Some(reason) => {
                if self.queue.mark(url.as_str()) {
                    self.skip(&url, reason, None);
                }
            }
            None => {
                let next = Next {
                    url: url.clone(),
                    depth,
                    hops,
                };
                if let Err(reason) = self.queue.offer(next, self.limits.depth) {
                    self.skip(&url, reason, None);
                }
            }
        }
    }

    pub(super) fn skip(&mut self, url: &Url, reason: Skip, detail: Option<String>) {
        self.report.add(url, Outcome::Skipped(reason), detail);
    }

    pub(super) fn fail(&mut self, url: &Url, reason: Failure, detail: Option<String>) {
        self.failed.insert(url.to_string());
        self.report.add(url, Outcome::Failed(reason), detail);
    }

    pub(super) fn limits(&self) -> &Limits {
        self.limits
    }

    /// Shows the progress.
    pub(super) fn show(&mut self) {
        self.report.requests = self.fetcher.requests;
        self.report.bytes = self.fetcher.bytes;
        self.report.waiting = self.queue.len();
        if !self.kept.is_empty() {
            let unchanged = self.kept.iter().filter(|kept| kept.read.is_none()).count();
            (self.report.read, self.report.unchanged) = (self.kept.len() - unchanged, unchanged);
        }
        (self.progress)(&self.report);
    }
}

fn parse_sitemap(answer: &Answer) -> Option<Sitemap> {
    let is_gzip = answer.body.starts_with(b"\x1f\x8b");
    let body = if is_gzip {
        inflated(&answer.body, sitemap::SIZE).ok()??
    } else {
        answer.body.clone()
    };
    Some(Sitemap::parse(&String::from_utf8_lossy(&body)))
}

/// Returns the part of an address that `robots.txt` is about.
fn path(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}
