//! The process's limit of open files, and how connections and outgoing calls share it.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The connections of the metrics listener, so that a full public listener does not hide the metrics.
const METRICS: usize = 16;
/// The most connections that the limit of open files alone can lead to. Each takes about 20 kB of memory.
const MOST: usize = 4096;
/// The fewest connections that are of any use.
const LEAST: usize = 8;

/// Raises the soft limit of open files to the hard one. Returns the limit; `None` if there is none.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, limit = limit.current, "could not raise the limit of open files");
        }
    }
    descriptor_limit()
}

/// Returns the soft limit of open files; `None` if there is none.
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many descriptors each part of the server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// The connections of the public listener.
    pub(crate) connections: usize,
    /// The connections of the metrics listener.
    pub(crate) metrics: usize,
    /// What is left for outgoing calls, the store and the database.
    pub(crate) reserved: usize,
}

impl Descriptors {
    /// Divides a limit. `connections` is the configured number of connections, 0 for as many as the limit allows; `reserved` is
    /// the configured reserve, of which at most half of the limit is kept.
    pub(crate) fn divide(limit: Option<u64>, connections: usize, reserved: usize) -> Self {
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let reserved = reserved.min(limit / 2);
        let metrics = METRICS.min(limit / 16).max(1);
        let left = (limit - reserved).saturating_sub(metrics).max(LEAST);
        let connections = match connections {
            0 => left.min(MOST),
            set => set.min(left),
        };
        Self {
            connections,
            metrics,
            reserved,
        }
    }

    /// Returns how many conversations may be processed at the same time: each has at most one outgoing call, and a quarter of the
    /// reserve is left for the store, the database and connections that are kept open.
    pub(crate) fn conversations(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.reserved - self.reserved / 4).unwrap_or(NonZeroUsize::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_divided() {
        for (limit, connections, reserved, expected) in [
            (None, 0, 1536, (4096, 16, 1536)),
            (Some(1 << 20), 0, 1536, (4096, 16, 1536)),
            (Some(1024), 0, 1536, (496, 16, 512)),
            (Some(256), 0, 1536, (112, 16, 128)),
            // A configured number is used as far as there are descriptors.
            (Some(1 << 20), 20_000, 1536, (20_000, 16, 1536)),
            (Some(1024), 100, 1536, (100, 16, 512)),
            (Some(1024), 20_000, 100, (908, 16, 100)),
            (Some(8), 0, 1536, (8, 1, 4)),
        ] {
            let divided = Descriptors::divide(limit, connections, reserved);
            let found = (divided.connections, divided.metrics, divided.reserved);
            assert_eq!(found, expected, "{limit:?} {connections} {reserved}");
        }
    }

    #[test]
    fn the_default_concurrency_needs_no_more_than_the_default_reserve() {
        let config = crate::Config::load(None, |_| None).unwrap();
        let divided = Descriptors::divide(None, 0, config.http.reserved_descriptors);
        assert!(divided.conversations() >= config.concurrency);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raise_descriptor_limit();
        assert_eq!(limit, getrlimit(Resource::Nofile).maximum);
    }
}
