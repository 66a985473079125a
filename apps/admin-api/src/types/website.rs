//! Websites, and their crawls.

use konstruct_core::id::WebsiteId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A website to add as a source of knowledge. Its pages become documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebsite {
    /// The address of its start page, such as `https://acme.example`. Pages of the same host are read.
    pub url: String,
    /// How many hours after each crawl it is crawled again, 24 to 720. Absent: only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 24, max = 720))]
    pub every_hours: Option<u16>,
}

/// The settings of a website.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebsiteSettings {
    /// How many hours after each crawl it is crawled again, 24 to 720. Absent: only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 24, max = 720))]
    pub every_hours: Option<u16>,
}

/// A website, a source of knowledge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Website {
    /// Its id.
    #[schemars(with = "String")]
    pub id: WebsiteId,
    /// The address of its start page.
    pub url: String,
    /// When it was added, RFC 3339.
    pub created_at: String,
    /// How many hours after each crawl it is crawled again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_hours: Option<u16>,
    /// When it is crawled next by its schedule, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_crawl_at: Option<String>,
    /// The number of pages that the employee can answer from.
    pub pages: usize,
    /// The last crawl.
    pub crawl: Crawl,
}

/// A crawl of a website.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Crawl {
    /// Its state.
    pub state: CrawlState,
    /// When it was requested, RFC 3339.
    pub requested_at: String,
    /// When it was started last, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How often the server ended before the crawl did. It is restarted up to two times.
    pub interruptions: u32,
    /// What it did so far. While it waits, the report of the crawl before.
    pub report: CrawlReport,
}

/// The state of a crawl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CrawlState {
    /// It waits for other crawls.
    Waiting,
    /// It runs.
    Running,
    /// The server ended before it; it is restarted soon, unless that happened three times.
    Interrupted,
    /// It has ended. `report.problem` says if something is missing.
    Finished,
    /// It read nothing; the pages of the crawl before remain. `report.problem` says why; if it is absent, the server's log does.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// What a crawl did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawlReport {
    /// The number of requests.
    pub requests: usize,
    /// The number of bytes received.
    pub bytes: usize,
    /// The number of addresses that still wait to be read; at the end, of those that a limit left over.
    pub waiting: usize,
    /// The number of pages that are new or have changed.
    pub read: usize,
    /// The number of pages that have not changed.
    pub unchanged: usize,
    /// The number of pages that ended because they are gone.
    pub ended: usize,
    /// The addresses that were not read, by reason.
    pub skipped: Vec<CrawlCount>,
    /// The addresses that could not be read, by reason. Pages that were read before keep their last version.
    pub failed: Vec<CrawlCount>,
    /// Whether every address was looked at. Otherwise a page to which nothing leads does not end.
    pub complete: bool,
    /// Why nothing, or not everything, was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<CrawlProblem>,
    /// What became of single addresses, at most 500; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<CrawledAddress>,
}

/// A number of addresses with the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawlCount {
    /// The reason: `robots`, `no_index`, `other_host`, `type`, `too_large`, `duplicate`, `redirect`, `too_deep`, `too_many_alike`,
    /// `empty`, `empty_without_java_script`, `login`, `refused`, `not_found` or `unreadable`; of a failure `unreachable`,
    /// `timed_out`, `interrupted`, `status`, `busy`, `redirect`, `encoding` or `same_answer`.
    pub reason: String,
    /// The number of addresses.
    pub count: usize,
}

/// Why nothing, or not everything, was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawlProblem {
    /// The reason, such as `robots_disallow` or `page_limit`.
    pub reason: String,
    /// What it means, and what to do.
    pub text: String,
}

/// What became of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CrawledAddress {
    /// The address.
    pub url: String,
    /// `read`, `unchanged`, `ended`, `skipped` or `failed`.
    pub outcome: String,
    /// Why it was skipped or failed, as in `skipped` and `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the reason does not say, such as a status code or the address of the same page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
