//! Crawls websites in the background: a bounded number at a time, one of each tenant, the longest waiting first.

mod apply;

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use konstruct_core::{
    Clock as _, Error, ErrorKind, Result, SystemClock, TenantId, Timestamp,
    http::{Client, Guard},
    id::WebsiteId,
};
use konstruct_memory::crawl::{Crawler, Limits, Problem, Report, start_url};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    App, config,
    directory::{Crawl, CrawlState, Job, Lease, Queue, Website, Work},
};

/// The wait after an error of the store.
const RETRY: Duration = Duration::from_secs(5);

/// The crawls of this server.
#[derive(Debug)]
pub(crate) struct Crawls {
    crawler: Crawler,
    guard: Guard,
    at_once: usize,
    changed: Notify,
    state: Mutex<State>,
    /// One process crawls for all.
    lease: Lease,
}

#[derive(Debug, Default)]
struct State {
    /// The crawls that run, and the websites that are being removed.
    busy: HashMap<WebsiteId, Busy>,
    /// The tenants that are being removed.
    closing: HashSet<TenantId>,
}

#[derive(Clone, Debug)]
struct Busy {
    tenant: TenantId,
    /// Set to end the crawl; closed when it has ended.
    stop: Arc<watch::Sender<bool>>,
    report: Report,
}

/// Keeps a website busy until it is dropped.
#[derive(Debug)]
struct Permit {
    crawls: Arc<Crawls>,
    website: WebsiteId,
    stopped: watch::Receiver<bool>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.crawls.state().busy.remove(&self.website);
        self.crawls.changed.notify_one();
    }
}

impl Crawls {
    pub(crate) fn new(config: &config::Websites, lease: Lease) -> Arc<Self> {
        let hosts = config.allowed_hosts.iter();
        let guard = hosts.fold(Guard::new(), Guard::allow);
        let limits = Limits::default().with(|limits| {
            limits.pages = config.pages;
            limits.depth = config.depth;
            limits.page_bytes = config.page_bytes;
            limits.site_bytes = config.site_bytes;
            limits.delay = Duration::from_millis(config.delay_millis);
            limits.crawl = Duration::from_secs(config.minutes.saturating_mul(60));
        });
        let client = Client::builder().guard(guard.clone()).build();
        Arc::new(Self {
            crawler: Crawler::new(client, Arc::new(SystemClock)).with_limits(limits),
            guard,
            at_once: config.crawls.get(),
            changed: Notify::new(),
            state: Mutex::default(),
            lease,
        })
    }

    /// Checks the address of a website, and returns it as it is stored.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names `url`.
    pub(crate) async fn check(&self, address: &str) -> Result<String> {
        let mut url = start_url(address)?;
        let mut checked = self.guard.check(url.as_str()).await;
        if url.scheme() == "http"
            && checked
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::Forbidden)
        {
            // It does not fail for an address with a host.
            let _ = url.set_scheme("https");
            checked = self.guard.check(url.as_str()).await;
        }
        match checked {
            Ok(()) => Ok(url.into()),
            Err(error) => {
                let problem = match error.kind() {
                    ErrorKind::Unavailable => "has an unknown host; check the name",
                    _ => "must be on the public internet; an operator can allow other hosts",
                };
                Err(Error::invalid("url", problem).with_source(error))
            }
        }
    }

    /// Looks for crawls that wait.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Returns the report of a running crawl so far.
    pub(crate) fn progress(&self, website: WebsiteId) -> Option<Report> {
        let state = self.state();
        state.busy.get(&website).map(|busy| busy.report.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a website busy, unless it is.
    fn occupy(self: &Arc<Self>, tenant: TenantId, website: WebsiteId) -> Option<Permit> {
        let mut state = self.state();
        if state.busy.contains_key(&website) {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        let busy = Busy {
            tenant,
            stop: Arc::new(stop),
            report: Report::default(),
        };
        state.busy.insert(website, busy);
        Some(Permit {
            crawls: Arc::clone(self),
            website,
            stopped,
        })
    }

    /// Ends the crawls for which `wanted` is true, and waits until they have ended.
    async fn stop(&self, wanted: impl Fn(TenantId, WebsiteId) -> bool) {
        let stops: Vec<_> = {
            let state = self.state();
            let busy = state.busy.iter();
            let busy = busy.filter(|(website, busy)| wanted(busy.tenant, **website));
            busy.map(|(_, busy)| Arc::clone(&busy.stop)).collect()
        };
        for stop in stops {
            stop.send_replace(true);
            stop.closed().await;
        }
    }

    /// Ends the crawls of a tenant that is being removed, and starts no others until the guard is dropped.
    pub(crate) async fn close(self: &Arc<Self>, tenant: TenantId) -> Closing {
        self.state().closing.insert(tenant);
        let closing = Closing {
            crawls: Arc::clone(self),
            tenant,
        };
        self.stop(|owner, _| owner == tenant).await;
        closing
    }

    /// Returns the next crawl that can start.
    async fn next(self: &Arc<Self>, app: &App) -> Result<Next> {
        let (due, next_due) = app
            .directory
            .due_jobs(Queue::Crawls, SystemClock.now())
            .await?;
        for job in due {
            let Work::Crawl(website) = job.work else {
                continue;
            };
            let may_start = {
                let state = self.state();
                !state.closing.contains(&job.tenant)
                    && state.busy.values().all(|busy| busy.tenant != job.tenant)
            };
            if may_start && let Some(permit) = self.occupy(job.tenant, website) {
                return Ok(Next::Crawl(job, website, permit));
            }
        }
        Ok(Next::Nothing { next_due })
    }
}

/// The next crawl.
enum Next {
    Crawl(Job, WebsiteId, Permit),
    /// None can start before this time, unless one ends or is requested.
    Nothing {
        next_due: Option<Timestamp>,
    },
}

/// Keeps a tenant's crawls from starting.
#[derive(Debug)]
pub(crate) struct Closing {
    crawls: Arc<Crawls>,
    tenant: TenantId,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.crawls.state().closing.remove(&self.tenant);
    }
}

/// Requests another crawl of a website.
///
/// # Errors
/// [`ErrorKind::Conflict`] if one waits or runs, [`ErrorKind::NotFound`], and those of the store.
pub(crate) async fn request(app: &App, tenant: TenantId, id: WebsiteId) -> Result<Website> {
    let website = app.directory.change_crawl(tenant, id, |crawl| {
        if is_open(crawl.state) {
            let problem = "a crawl of this website waits or runs; wait for its end, or cancel it";
            return Err(Error::new(ErrorKind::Conflict, problem));
        }
        *crawl = Crawl {
            requested_at: SystemClock.now(),
            report: std::mem::take(&mut crawl.report),
            ..Crawl::default()
        };
        Ok(())
    });
    let website = website.await?;
    app.crawls.wake();
    Ok(website)
}

fn is_open(state: CrawlState) -> bool {
    matches!(state, CrawlState::Waiting | CrawlState::Running)
}

/// Cancels a crawl that waits or runs, and discards the pages that it has read.
///
/// # Errors
/// [`ErrorKind::Conflict`] if there is none, [`ErrorKind::NotFound`], and those of the store.
pub(crate) async fn cancel(app: &App, tenant: TenantId, id: WebsiteId) -> Result<()> {
    let website = app.directory.change_crawl(tenant, id, |crawl| {
        if !is_open(crawl.state) && crawl.state != CrawlState::Interrupted {
            let problem = "no crawl of this website waits or runs";
            return Err(Error::new(ErrorKind::Conflict, problem));
        }
        crawl.state = CrawlState::Cancelled;
        crawl.ended_at = Some(SystemClock.now());
        Ok(())
    });
    website.await?;
    app.crawls.stop(|_, website| website == id).await;
    Ok(())
}

/// Removes a website with the documents of its pages.
///
/// # Errors
/// [`ErrorKind::NotFound`], and those of the store.
pub(crate) async fn remove(app: &App, tenant: TenantId, id: WebsiteId) -> Result<()> {
    app.directory.website(tenant, id).await?;
    match cancel(app, tenant, id).await {
        Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
        _ => {}
    }
    let _permit = loop {
        app.crawls.stop(|_, website| website == id).await;
        if let Some(permit) = app.crawls.occupy(tenant, id) {
            break permit;
        }
    };
    let prefix = Website::key_prefix(id);
    for document in app.memory.documents(tenant).await? {
        if document.key.is_some_and(|key| key.starts_with(&prefix)) {
            app.memory.delete_document(tenant, document.id).await?;
        }
    }
    // The website is removed last: after an error, its owner can try again.
    app.directory.remove_website(tenant, id).await
}

/// Runs the crawls that wait until `ended` is ready. Crawls that run then are restarted by the next process that crawls.
pub(crate) async fn crawl_all(app: Arc<App>, ended: impl Future<Output = ()>) {
    let crawling = async {
        loop {
            if held(&app).await {
                tokio::select! {
                    () = crawl_waiting(&app) => {}
                    () = keep(&app) => tracing::warn!("another process crawls now"),
                }
            }
            tokio::time::sleep(Lease::RENEWED).await;
        }
    };
    tokio::select! {
        () = crawling => {}
        () = ended => {}
    }
    if let Err(error) = app.crawls.lease.give_up().await {
        tracing::warn!(%error, "another process can crawl only after the lease of this one");
    }
}

/// Takes or renews the lease. Returns whether this process holds it.
async fn held(app: &App) -> bool {
    let taken = app.crawls.lease.take().await;
    taken.unwrap_or_else(|error| {
        tracing::error!(%error, "could not take the lease of the crawls");
        false
    })
}

/// Renews the lease, and stops the crawls that another process cancelled. Returns when the lease is lost: an error of the store does
/// not end it at once.
async fn keep(app: &App) {
    if !app.crawls.lease.is_shared() {
        // Nobody else takes it, or cancels a crawl.
        return std::future::pending().await;
    }
    let mut until = Instant::now() + Lease::LENGTH;
    loop {
        tokio::time::sleep(Lease::RENEWED).await;
        let now = Instant::now();
        match app.crawls.lease.take().await {
            Ok(true) => until = now + Lease::LENGTH,
            Err(error) if now + Lease::RENEWED < until => {
                tracing::warn!(%error, "could not renew the lease of the crawls; trying again");
            }
            _ => return,
        }
        let busy: Vec<_> = {
            let state = app.crawls.state();
            let busy = state.busy.iter();
            busy.map(|(website, busy)| (busy.tenant, *website, busy.report.clone()))
                .collect()
        };
        for (tenant, website, report) in busy {
            // The other processes show the report.
            let shown = app.directory.change_crawl(tenant, website, |crawl| {
                if crawl.state == CrawlState::Running {
                    crawl.report.clone_from(&report);
                }
                Ok(())
            });
            let goes_on = match shown.await {
                Ok(website) => is_open(website.crawl.state),
                Err(error) => error.kind() != ErrorKind::NotFound,
            };
            if !goes_on && let Some(busy) = app.crawls.state().busy.get(&website) {
                busy.stop.send_replace(true);
            }
        }
        // Another process may have requested one.
        app.crawls.wake();
    }
}

/// Runs the crawls that wait.
async fn crawl_waiting(app: &Arc<App>) {
    let mut running = JoinSet::new();
    mark_interrupted(app).await;
    loop {
        let mut next_due = None;
        while running.len() < app.crawls.at_once {
            match app.crawls.next(app).await {
                Ok(Next::Crawl(job, website, permit)) => {
                    running.spawn(one(Arc::clone(app), job, website, permit));
                }
                Ok(Next::Nothing { next_due: at }) => {
                    next_due = at;
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "could not list the waiting crawls; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        tokio::select! {
            () = app.crawls.changed.notified() => {}
            Some(_) = running.join_next() => {}
            () = due(next_due) => {}
        }
    }
}

/// Waits until a time; for ever without one.
async fn due(at: Option<Timestamp>) {
    match at {
        Some(at) => SystemClock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Shows the crawls that the end of the process that crawled before interrupted.
async fn mark_interrupted(app: &App) {
    let marked = async {
        let (due, _) = app
            .directory
            .due_jobs(Queue::Crawls, SystemClock.now())
            .await?;
        for job in due {
            let Work::Crawl(website) = job.work else {
                continue;
            };
            let interrupted = app.directory.change_crawl(job.tenant, website, |crawl| {
                if crawl.state == CrawlState::Running {
                    crawl.state = CrawlState::Interrupted;
                    crawl.interruptions += 1;
                }
                Ok(())
            });
            match interrupted.await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    app.directory.drop_job(&job).await?;
                }
                interrupted => drop(interrupted?),
            }
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = marked.await {
        tracing::error!(%error, "could not mark the interrupted crawls");
    }
}

/// Runs one crawl, and records its end.
async fn one(app: Arc<App>, job: Job, website: WebsiteId, permit: Permit) {
    let tenant = job.tenant;
    let crawled = async {
        if app.directory.is_cancelled(tenant).await? {
            // The job is added again if the cancellation is withdrawn.
            app.directory.drop_job(&job).await?;
            return Ok(None);
        }
        let started = app.directory.change_website(tenant, website, |website| {
            if website.start_crawl(&job, SystemClock.now()) {
                Ok(())
            } else {
                Err(Error::new(ErrorKind::Cancelled, "the crawl was cancelled"))
            }
        });
        let site = match started.await {
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                // The change that made it outdated has removed it, or it would start for ever.
                app.directory.drop_job(&job).await?;
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                app.directory.drop_job(&job).await?;
                return Ok(None);
            }
            started => started?,
        };
        apply::crawl(&app, tenant, &site, &permit).await
    };
    let ended = AssertUnwindSafe(crawled).catch_unwind().await;
    let ended = ended.unwrap_or_else(|_| Err(Error::internal("a crawl panicked")));
    let (state, report) = match ended {
        // The website, its tenant or its crawl is being removed.
        Ok(None) => return,
        Ok(Some(report)) => {
            let is_failed = report.read + report.unchanged == 0 && report.problem.is_some();
            (
                if is_failed {
                    CrawlState::Failed
                } else {
                    CrawlState::Finished
                },
                Some(report),
            )
        }
        Err(error) => {
            tracing::error!(%error, %tenant, %website, "a crawl failed");
            (CrawlState::Failed, None)
        }
    };
    let recorded = app.directory.change_crawl(tenant, website, |crawl| {
        // It was cancelled while it was applied.
        if crawl.state == CrawlState::Running {
            crawl.state = state;
            crawl.ended_at = Some(SystemClock.now());
            crawl.report = report.clone().unwrap_or_default();
        }
        Ok(())
    });
    match recorded.await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::error!(%error, %tenant, %website, "could not record the end of a crawl");
        }
        _ => {}
    }
}

/// Returns what a problem means, and what its owner can do.
pub(crate) fn advice(problem: Problem) -> &'static str {
    match problem {
        Problem::NotPublic => "the website is not on the public internet",
        Problem::StartRedirects => "the address leads to another host; add that address instead",
        Problem::StartFailed => {
            "the start page cannot be read; open it in a browser, then crawl again"
        }
        Problem::RobotsDisallow => {
            "robots.txt disallows the start page; allow it for the user agent `Konstruct`"
        }
        Problem::RobotsFailed => {
            "robots.txt answers with an error or is too large, so nothing may be read; repair or remove it"
        }
        Problem::SiteFailed => "too many pages in a row failed; crawl again when the website works",
        Problem::SiteBusy => "the website asked to come back later; crawl again then",
        Problem::PageLimit => "the website has more pages than are read; the rest is missing",
        Problem::ByteLimit => "the website has more data than is read; the rest is missing",
        Problem::TimeLimit => "the crawl took too long; the rest is missing",
        _ => "the website could not be read completely",
    }
}
