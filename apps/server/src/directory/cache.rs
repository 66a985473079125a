//! What is built from rows, kept with the version of the rows that it was built from.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A cache that never returns what was built from other rows than those at hand, and keeps nothing of rows that are gone.
///
/// A reader takes a [`Ticket`] before it reads rows, and what it builds is kept only if nothing was forgotten since: otherwise a
/// slow reader would bring back, for good, what another one has just removed.
#[derive(Debug)]
pub(crate) struct RowCache<K, V>(Mutex<State<K, V>>);

#[derive(Debug)]
struct State<K, V> {
    built: HashMap<K, (Vec<u8>, V)>,
    /// How often something was forgotten.
    forgotten: u64,
}

/// When a reader began to read.
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

impl<K: Eq + Hash, V: Clone> RowCache<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to read rows.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.state().forgotten)
    }

    /// Returns what was built from rows of this version.
    pub(crate) fn get(&self, key: &K, version: &[u8]) -> Option<V> {
        let state = self.state();
        let (built, value) = state.built.get(key)?;
        (built == version).then(|| value.clone())
    }

    /// Keeps what was built from rows of this version that were read after the ticket was taken.
    pub(crate) fn put(&self, ticket: Ticket, key: K, version: Vec<u8>, value: V) {
        let mut state = self.state();
        if state.forgotten == ticket.0 {
            state.built.insert(key, (version, value));
        }
    }

    /// Drops what was built from rows that are changed or gone. It is called after they were written.
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
    fn what_is_built_counts_for_its_version_only() {
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
    fn a_slow_reader_does_not_bring_back_what_was_removed() {
        let cache = RowCache::default();
        // It reads the rows, they are removed, and only then does it come with what it built.
        let slow = cache.ticket();
        cache.forget(&1);
        cache.put(slow, 1, b"a".to_vec(), "a removed key");
        assert_eq!(cache.len(), 0);
    }
}
