//! What a crawl did: counts, and what became of each address.

use std::collections::BTreeMap;

use konstruct_core::http::Url;
use serde::{Deserialize, Serialize};

/// The most entries of a report.
const ENTRIES: usize = 500;

/// The report of a crawl, also while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Report {
    /// The requests that were sent, including those for `robots.txt` and sitemaps.
    pub requests: usize,
    /// The bytes that were received.
    pub bytes: usize,
    /// The addresses that still wait to be read; at the end, those that a limit left over.
    pub waiting: usize,
    /// The pages that are new or have changed.
    pub read: usize,
    /// The pages that have not changed.
    pub unchanged: usize,
    /// The pages that ended.
    pub ended: usize,
    /// The addresses that were not read, by reason.
    pub skipped: BTreeMap<Skip, usize>,
    /// The addresses that could not be read, by reason. Known pages among them keep their last version.
    pub failed: BTreeMap<Failure, usize>,
    /// Whether every page that links and sitemaps lead to was looked at. Only then does a page end because nothing leads to it.
    pub is_complete: bool,
    /// Why nothing, or not everything, could be read.
    pub problem: Option<Problem>,
    /// What became of single addresses, at most 500. The counts include the others.
    pub entries: Vec<Entry>,
}

/// What became of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The address.
    pub url: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What the reason does not say, such as the address of the other page, or a status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A page that is new or has changed.
    Read,
    /// A known page that has not changed.
    Unchanged,
    /// A known page that is gone.
    Ended,
    /// It was not read.
    Skipped(Skip),
    /// It could not be read.
    Failed(Failure),
}

/// Why an address was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Skip {
    /// `robots.txt` disallows it.
    Robots,
    /// The page asks not to be indexed.
    NoIndex,
    /// It is on another host or port.
    OtherHost,
    /// It is not of a type that can be read.
    Type,
    /// It is larger than a page may be.
    TooLarge,
    /// It has the text of another page, or says that another address is its own.
    Duplicate,
    /// It leads to another address.
    Redirect,
    /// Too many links lie between it and the start page.
    TooDeep,
    /// Too many pages differ only in their query or in numbers, as those of a calendar do.
    TooManyAlike,
    /// It has no text.
    Empty,
    /// It has no text unless a browser runs its scripts.
    EmptyWithoutJavaScript,
    /// It asks for a password.
    Login,
    /// The server refuses it, for example with 403.
    Refused,
    /// The server answered 404 or 410.
    NotFound,
    /// It is damaged, or its encoding is unknown.
    Unreadable,
}

/// Why an address could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// No connection could be established.
    Unreachable,
    /// The server did not respond in time.
    TimedOut,
    /// The connection failed in the middle of the page.
    Interrupted,
    /// The server answered with an error.
    Status,
    /// The server asks to come back later.
    Busy,
    /// The page redirects without end, for now, or to nothing.
    Redirect,
    /// The body has an encoding that was not asked for, or is damaged.
    Encoding,
    /// Several known pages answer with the same text. That is rather an outage than their content.
    SameAnswer,
}

/// Why nothing, or not everything, could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// The start page is not on the public network.
    NotPublic,
    /// The start page leads to another host. Use that address instead.
    StartRedirects,
    /// The start page could not be read.
    StartFailed,
    /// `robots.txt` disallows the start page.
    RobotsDisallow,
    /// `robots.txt` cannot be read because of an error or its size, so nothing is allowed.
    RobotsFailed,
    /// Too many pages in a row could not be read.
    SiteFailed,
    /// The server asked to come back later than a crawl can wait.
    SiteBusy,
    /// The limit of pages was reached.
    PageLimit,
    /// The limit of bytes was reached.
    ByteLimit,
    /// The limit of time was reached.
    TimeLimit,
}

impl Report {
    pub(super) fn add(&mut self, url: &Url, outcome: Outcome, detail: Option<String>) {
        match outcome {
            Outcome::Read => self.read += 1,
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::Ended => self.ended += 1,
            Outcome::Skipped(reason) => *self.skipped.entry(reason).or_default() += 1,
            Outcome::Failed(reason) => *self.failed.entry(reason).or_default() += 1,
        }
        if self.entries.len() < ENTRIES {
            let url = url.to_string();
            self.entries.push(Entry {
                url,
                outcome,
                detail,
            });
        }
    }
}
