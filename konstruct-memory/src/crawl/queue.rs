//! The pages to read, in order, each once.

use std::collections::{HashMap, HashSet, VecDeque};

use konstruct_core::http::Url;

use super::{Skip, address::template};

/// The most pages of a path that differ only in their query, and the most that differ only in the numbers of their path. A
/// calendar has pages without end.
const QUERIES: usize = 20;
const NUMBERED: usize = 100;
/// The most addresses that are remembered.
const SEEN: usize = 20_000;

/// A page to read.
#[derive(Clone, Debug)]
pub(super) struct Next {
    pub(super) url: Url,
    /// The number of links from the start page.
    pub(super) depth: usize,
    /// The number of redirects that led here.
    pub(super) hops: usize,
}

/// The pages to read.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Next>,
    seen: HashSet<String>,
    families: HashMap<String, usize>,
}

impl Queue {
    /// Adds a page unless it is known.
    ///
    /// # Errors
    /// Why it is not read. It is reported once.
    pub(super) fn offer(&mut self, next: Next, depth: usize) -> Result<(), Skip> {
        if self.is_full() || self.seen.contains(next.url.as_str()) {
            return Ok(());
        }
        self.seen.insert(next.url.to_string());
        if next.depth > depth {
            return Err(Skip::TooDeep);
        }
        let by_query = next
            .url
            .query()
            .map(|_| (format!("?{}", next.url.path()), QUERIES));
        let shape = template(&next.url);
        let by_number = (shape != next.url.path()).then_some((shape, NUMBERED));
        for (family, most) in by_query.into_iter().chain(by_number) {
            let count = self.families.entry(family).or_default();
            *count += 1;
            if *count > most {
                return Err(Skip::TooManyAlike);
            }
        }
        self.waiting.push_back(next);
        Ok(())
    }

    /// Marks an address that is not a page of the site. Returns whether it was unknown.
    pub(super) fn mark(&mut self, address: &str) -> bool {
        !self.is_full() && self.seen.insert(address.to_owned())
    }

    /// Returns whether no more addresses are remembered, and so no more are read.
    pub(super) fn is_full(&self) -> bool {
        self.seen.len() >= SEEN
    }

    pub(super) fn has_seen(&self, address: &str) -> bool {
        self.seen.contains(address)
    }

    pub(super) fn pop(&mut self) -> Option<Next> {
        self.waiting.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_once_and_not_without_end() {
        let mut queue = Queue::default();
        let mut offer = |address: String, depth: usize| {
            let url = Url::parse(&format!("https://a.example{address}")).unwrap();
            queue.offer(
                Next {
                    url,
                    depth,
                    hops: 0,
                },
                4,
            )
        };
        assert_eq!(offer("/deep".into(), 5), Err(Skip::TooDeep));
        assert_eq!(offer("/deep".into(), 5), Ok(()));
        assert_eq!(offer("/once".into(), 4), Ok(()));
        assert_eq!(offer("/once".into(), 4), Ok(()));
        let queries = (0..50).filter(|n| offer(format!("/cal?m={n}"), 1).is_ok());
        assert_eq!(queries.count(), QUERIES);
        let numbers = (0..500).filter(|n| offer(format!("/cal/{n}/1"), 1).is_ok());
        assert_eq!(numbers.count(), NUMBERED);
        assert_eq!(queue.len(), 1 + QUERIES + NUMBERED);
        assert!(queue.has_seen("https://a.example/deep"));
    }
}
