//! A cache of values built from rows, with the version of those rows.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most values of a cache. A process must not grow with the number of tenants that it has ever served.
const MOST: usize = 4_096;

/// A cache that never returns a value built from other rows than the current ones, and keeps no values of deleted rows. Of more than
/// 4,096 values, any one is dropped.
///
/// A reader takes a [`Ticket`] before it reads rows. Its value is cached only if no entry was dropped since. Otherwise a slow
/// reader could permanently restore a value that was just removed.
#[derive(Debug)]
pub(crate) struct RowCache<K, V>(Mutex<State<K, V>>);

#[derive(Debug)]
struct State<K, V> {
    built: HashMap<K, (Vec<u8>, V)>,
    /// The number of times that an entry was dropped.
    forgotten: u64,
}

/// The time at which a reader started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u64);

impl<K, V> Default for RowCache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(State {
            built: HashMap::new(),
            forgotten: 0,
        }))
    }
}

impl<K: Clone + Eq + Hash, V: Clone> RowCache<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts reading rows.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.state().forgotten)
    }

    /// Returns the value built from rows of this version.
    pub(crate) fn get(&self, key: &K, version: &[u8]) -> Option<V> {
        let state = self.state();
        let (built, value) = state.built.get(key)?;
        (built == version).then(|| value.clone())
    }

    /// Caches a value built from rows of this version that were read after the ticket was taken.
    pub(crate) fn put(&self, ticket: Ticket, key: K, version: Vec<u8>, value: V) {
        let mut state = self.state();
        if state.forgotten == ticket.0 {
            if state.built.len() >= MOST
                && let Some(other) = state.built.keys().next().cloned()
            {
                state.built.remove(&other);
            }
            state.built.insert(key, (version, value));
        }
    }

    /// Drops the value of rows that changed or were deleted. Call it after the write.
    pub(crate) fn forget(&self, key: &K) {
        let mut state = self.state();
        state.built.remove(key);
        state.forgotten += 1;
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state().built.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_value_is_valid_only_for_its_version() {
        let cache = RowCache::default();
        cache.put(cache.ticket(), 1, b"a".to_vec(), "of a");
        assert_eq!(cache.get(&1, b"a"), Some("of a"));
        assert_eq!(cache.get(&1, b"b"), None);
        cache.put(cache.ticket(), 1, b"b".to_vec(), "of b");
        assert_eq!(
            (cache.get(&1, b"a"), cache.get(&1, b"b")),
            (None, Some("of b"))
        );
        cache.forget(&1);
        assert_eq!((cache.get(&1, b"b"), cache.len()), (None, 0));
    }

    #[test]
    fn a_slow_reader_does_not_restore_a_removed_value() {
        let cache = RowCache::default();
        // The slow reader reads the rows, they are removed, and only then it caches its value.
        let slow = cache.ticket();
        cache.forget(&1);
        cache.put(slow, 1, b"a".to_vec(), "a removed key");
        assert_eq!(cache.len(), 0);
    }
}
