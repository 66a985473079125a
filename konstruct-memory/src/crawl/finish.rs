//! The end of a crawl: what is new, what has changed, and what ends.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use konstruct_core::{NewDocument, http::Url};

use super::{Crawled, Failure, Outcome, Page, Skip, run::Run};

/// A text that at least so many pages, and half of them, have is kept once.
const REPEATED: usize = 3;
/// So many known pages that now have the same text are an outage.
const SAME: usize = 2;

impl Run<'_> {
    /// Compares the pages with those of the last crawl.
    pub(super) async fn finish(mut self) -> Crawled {
        self.distrust_same_answers();
        if self.report.is_complete {
            let orphans = &self.orphans;
            self.kept
                .retain(|kept| !orphans.contains(kept.url.as_str()));
        }
        self.drop_duplicates();
        let mut holders = self.holders();
        for at in self.lost(&holders) {
            self.read_again(at).await;
        }
        if self.kept.iter().any(|kept| kept.read.is_some()) {
            holders = self.holders();
        }
        let mut crawled = Crawled::default();
        let mut live: HashSet<String> = HashSet::new();
        (self.report.read, self.report.unchanged) = (0, 0);
        for (at, kept) in std::mem::take(&mut self.kept).into_iter().enumerate() {
            // A large site takes a while.
            tokio::task::yield_now().await;
            let address = kept.url.to_string();
            let Some(read) = kept.read else {
                self.report.add(&kept.url, Outcome::Unchanged, None);
                live.insert(address);
                continue;
            };
            let (title, format) = (read.title.clone(), read.format);
            let is_repeated = |hash| holders.get(&hash).is_some_and(|holder| *holder != at);
            let Some((content, state)) = read.finish(is_repeated) else {
                self.gone.insert(address);
                self.skip(&kept.url, Skip::Duplicate, None);
                continue;
            };
            let known = self.known.get(&address);
            let is_changed = known.is_none_or(|known| known.text != state.text);
            let document = is_changed.then(|| {
                let mut document = NewDocument::new(title, format, content);
                document.url = Some(address.clone());
                document
            });
            let outcome = if is_changed {
                Outcome::Read
            } else {
                Outcome::Unchanged
            };
            self.report.add(&kept.url, outcome, None);
            live.insert(address.clone());
            crawled.pages.push(Page {
                url: address,
                state,
                document,
            });
        }
        crawled.ended = self.ended(&live);
        for address in &crawled.ended {
            if let Ok(url) = Url::parse(address) {
                self.report.add(&url, Outcome::Ended, None);
            }
        }
        self.report.requests = self.fetcher.requests;
        self.report.bytes = self.fetcher.bytes;
        crawled.report = self.report;
        crawled
    }

    /// Takes out known pages that now have one and the same text: a notice of maintenance is not their content.
    fn distrust_same_answers(&mut self) {
        let mut same: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, kept) in self.kept.iter().enumerate() {
            let known = self.known.get(kept.url.as_str());
            if let (Some(read), Some(known)) = (&kept.read, known)
                && read.state.whole != known.whole
            {
                same.entry(&read.state.whole).or_default().push(at);
            }
        }
        let same = same.into_values().filter(|pages| pages.len() >= SAME);
        let distrusted: BTreeSet<usize> = same.flatten().collect();
        for at in distrusted.iter().rev() {
            let kept = self.kept.remove(*at);
            self.fail(&kept.url, Failure::SameAnswer, None);
        }
        self.report.is_complete &= distrusted.is_empty();
    }

    /// Takes out pages with the text of another one, and pages that name another one as theirs.
    fn drop_duplicates(&mut self) {
        let addresses: HashMap<String, usize> = self
            .kept
            .iter()
            .enumerate()
            .map(|(at, kept)| (kept.url.to_string(), at))
            .collect();
        let mut texts: HashMap<String, usize> = HashMap::new();
        let mut dropped: BTreeMap<usize, String> = BTreeMap::new();
        for (at, kept) in self.kept.iter().enumerate() {
            let canonical = kept.read.as_ref().and_then(|read| read.canonical.as_ref());
            let canonical = canonical.and_then(|url| addresses.get(url.as_str()));
            // Sites that name their start page on every page are common.
            let canonical = canonical.filter(|other| {
                !dropped.contains_key(other)
                    && (self.kept[**other].url != *self.site.home()
                        || self.text(**other) == self.text(at))
            });
            let other = match canonical {
                Some(other) => Some(*other),
                None => self.text(at).and_then(|text| {
                    let first = *texts.entry(text.to_owned()).or_insert(at);
                    (first != at).then_some(first)
                }),
            };
            if let Some(other) = other {
                dropped.insert(at, self.kept[other].url.to_string());
            }
        }
        for (at, other) in dropped.into_iter().rev() {
            let kept = self.kept.remove(at);
            self.gone.insert(kept.url.to_string());
            self.skip(&kept.url, Skip::Duplicate, Some(other));
        }
    }

    /// Returns the hash of a page's whole text.
    fn text(&self, at: usize) -> Option<&str> {
        let kept = &self.kept[at];
        match &kept.read {
            Some(read) => Some(&read.state.whole),
            None => Some(&self.known.get(kept.url.as_str())?.whole),
        }
    }

    /// Returns which page keeps each block that most pages have.
    fn holders(&self) -> HashMap<u64, usize> {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        let mut holders: HashMap<u64, usize> = HashMap::new();
        for (at, kept) in self.kept.iter().enumerate() {
            let known = self.known.get(kept.url.as_str());
            let (blocks, dropped) = match (&kept.read, known) {
                (Some(read), _) => (&read.state.blocks, None),
                (None, Some(known)) => (&known.blocks, Some(&known.dropped)),
                (None, None) => continue,
            };
            for hash in blocks {
                *counts.entry(*hash).or_default() += 1;
                if !dropped.is_some_and(|dropped| dropped.contains(hash)) {
                    holders.entry(*hash).or_insert(at);
                }
            }
        }
        let pages = self.kept.len();
        holders.retain(|hash, _| counts[hash] >= REPEATED && counts[hash] * 2 >= pages);
        holders
    }

    /// Returns pages that were not sent again and once left out a block that no page has now.
    fn lost(&self, holders: &HashMap<u64, usize>) -> Vec<usize> {
        let present: HashSet<u64> = self
            .kept
            .iter()
            .flat_map(
                |kept| match (&kept.read, self.known.get(kept.url.as_str())) {
                    (Some(read), _) => read.state.blocks.iter().copied().collect::<Vec<_>>(),
                    (None, Some(known)) => {
                        known.blocks.difference(&known.dropped).copied().collect()
                    }
                    (None, None) => Vec::new(),
                },
            )
            .collect();
        let mut found = HashSet::new();
        let mut again = Vec::new();
        for (at, kept) in self.kept.iter().enumerate() {
            let known = self
                .known
                .get(kept.url.as_str())
                .filter(|_| kept.read.is_none());
            let dropped = known.into_iter().flat_map(|known| &known.dropped);
            let lost =
                dropped.filter(|hash| !present.contains(hash) && !holders.contains_key(hash));
            let lost: Vec<u64> = lost.copied().filter(|hash| !found.contains(hash)).collect();
            if !lost.is_empty() {
                found.extend(lost);
                again.push(at);
            }
        }
        again
    }

    /// Returns the known pages that are gone, those that moved for good, those that nothing leads to in a complete crawl, and the
    /// last ones above the limit of pages.
    fn ended(&self, live: &HashSet<String>) -> Vec<String> {
        let mut ended = Vec::new();
        let mut remaining = Vec::new();
        for address in self.known.keys().filter(|address| !live.contains(*address)) {
            let is_gone = self.gone.contains(address)
                || self.has_moved(address, live)
                || (self.report.is_complete && self.orphans.contains(address));
            if is_gone && !self.failed.contains(address) {
                ended.push(address.clone());
            } else {
                remaining.push(address);
            }
        }
        let over = (live.len() + remaining.len()).saturating_sub(self.limits().pages);
        let unread = remaining
            .iter()
            .rev()
            .filter(|address| !self.failed.contains(**address));
        ended.extend(unread.take(over).map(|address| (*address).clone()));
        ended
    }

    /// Returns whether permanent redirects lead from an address to a page that was read.
    fn has_moved(&self, address: &str, live: &HashSet<String>) -> bool {
        let mut at = address.to_owned();
        for _ in 0..=self.moved.len() {
            match self.moved.get(&at) {
                Some((to, true)) if live.contains(to.as_str()) => return true,
                Some((to, true)) => at = to.to_string(),
                _ => return false,
            }
        }
        false
    }
}
