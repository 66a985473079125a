//! A cache of opened groups of records that were recently written or read: the index reads them again, and the next turns of
//! their conversation read their messages.
//!
//! An entry is valid only while the group in the file has the same tag, so erased groups are not found. An erasure also clears
//! the cache. While a person is erased in parts, unreadable groups are still in the file; meanwhile the cache is closed for that
//! tenant.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use konstruct_core::{TenantId, turn::Record};

use super::keys;
use crate::seal::TAG;

/// The approximate bytes of a generation. There are two generations.
const GENERATION: usize = 32 << 20;

/// The records of a group in order; `None` for those that were not requested recently.
pub(super) type Records = Arc<[Option<Arc<Record>>]>;

#[derive(Debug, Default)]
pub(super) struct RecordCache(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Groups,
    old: Groups,
    /// The size of the young generation.
    size: usize,
    /// An empty map with the capacity of a dropped generation.
    spare: Groups,
    /// The tenants that are not cached, with the number of erasures in progress.
    closed: HashMap<TenantId, usize>,
}

type Groups = HashMap<Vec<u8>, CachedGroup>;

#[derive(Debug)]
struct CachedGroup {
    tag: Tag,
    /// The length of the sealed bytes.
    sealed: usize,
    records: Records,
}

type Tag = [u8; TAG];

/// Returns the authentication tag at the end of sealed bytes. It is unique, even if the same value is sealed again.
fn tag(sealed: &[u8]) -> Option<Tag> {
    sealed.last_chunk().copied()
}

impl CachedGroup {
    /// Estimates its memory: opened records take about three times as much as sealed ones.
    fn size(&self) -> usize {
        let kept = self.records.iter().flatten().count();
        let words = 3 * self.sealed * kept / self.records.len().max(1);
        256 + kept * size_of::<Record>() + words
    }

    fn has(&self, wanted: impl Fn(usize) -> bool) -> bool {
        let mut all = self.records.iter().enumerate();
        all.all(|(at, record)| record.is_some() || !wanted(at))
    }

    /// Drops records that are not requested.
    fn keep_only(&mut self, wanted: impl Fn(usize) -> bool) {
        let kept = |(at, record): (usize, &Option<_>)| record.clone().filter(|_| wanted(at));
        if (0..self.records.len()).any(|at| !wanted(at)) {
            self.records = self.records.iter().enumerate().map(kept).collect();
        }
    }
}

impl RecordCache {
    fn held(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the records of the group at a place, if the requested ones are cached and the group is unchanged.
    pub(super) fn get(
        &self,
        place: &[u8],
        sealed: &[u8],
        wanted: impl Fn(usize) -> bool,
    ) -> Option<Records> {
        let tag = tag(sealed)?;
        let mut held = self.held();
        if held.is_closed(place) {
            return None;
        }
        let is_it = |opened: &CachedGroup| opened.tag == tag && opened.has(&wanted);
        if let Some(opened) = held.young.get(place) {
            return is_it(opened).then(|| Arc::clone(&opened.records));
        }
        let (place, mut opened) = held.old.remove_entry(place)?;
        if !is_it(&opened) {
            return None;
        }
        opened.keep_only(wanted);
        let found = Arc::clone(&opened.records);
        let gone = held.keep(place, opened);
        drop(held);
        self.drop_groups(gone);
        Some(found)
    }

    /// Caches the records of a group.
    pub(super) fn put(&self, place: Vec<u8>, sealed: &[u8], records: Records) {
        let Some(tag) = tag(sealed) else { return };
        let opened = CachedGroup {
            tag,
            sealed: sealed.len(),
            records,
        };
        let mut held = self.held();
        if !held.is_closed(&place) {
            let gone = held.keep(place, opened);
            drop(held);
            self.drop_groups(gone);
        }
    }

    /// Drops a generation without holding the lock: it takes milliseconds.
    fn drop_groups(&self, gone: Option<Groups>) {
        if let Some(mut gone) = gone {
            gone.clear();
            self.held().spare = gone;
        }
    }

    /// Clears the cache.
    pub(super) fn clear(&self) {
        let mut held = self.held();
        let closed = std::mem::take(&mut held.closed);
        *held = Generations {
            closed,
            ..Generations::default()
        };
    }

    /// Disables the cache for a tenant until [`RecordCache::open`] is called as often.
    pub(super) fn close(&self, tenant: TenantId) {
        *self.held().closed.entry(tenant).or_default() += 1;
    }

    pub(super) fn open(&self, tenant: TenantId) {
        let mut held = self.held();
        if let Some(many) = held.closed.get_mut(&tenant) {
            *many -= 1;
            if *many == 0 {
                held.closed.remove(&tenant);
            }
        }
    }
}

impl Generations {
    fn is_closed(&self, place: &[u8]) -> bool {
        let tenant = || keys::id(place, 0).map(TenantId::from_bytes);
        !self.closed.is_empty() && tenant().is_some_and(|tenant| self.closed.contains_key(&tenant))
    }

    /// Returns the old generation when a new one begins.
    fn keep(&mut self, place: Vec<u8>, opened: CachedGroup) -> Option<Groups> {
        let mut gone = None;
        if self.size >= GENERATION {
            let young = std::mem::take(&mut self.spare);
            let old = std::mem::replace(&mut self.young, young);
            gone = Some(std::mem::replace(&mut self.old, old));
            self.size = 0;
        }
        self.size += opened.size();
        self.young.insert(place, opened);
        gone
    }
}

#[cfg(test)]
mod tests {
    use konstruct_core::{
        Timestamp, TurnId,
        turn::{Action, Cause, Entry},
    };

    use super::*;

    const ALL: fn(usize) -> bool = |_| true;

    fn records(count: usize) -> Records {
        let record = Arc::new(Record::new(
            TurnId::from_bytes([1; 16]),
            Timestamp::from_secs(0),
            Cause::Rule,
            Entry::Action(Action::Gather),
        ));
        vec![Some(record); count].into()
    }

    #[test]
    fn a_group_that_changed_is_not_found() {
        let cache = RecordCache::default();
        let (sealed, other) = ([1; TAG], [2; TAG]);
        cache.put(b"place".into(), &sealed, records(1));
        assert!(cache.get(b"place", &sealed, ALL).is_some());
        assert!(cache.get(b"place", &other, ALL).is_none());
        assert!(cache.get(b"place", &sealed[1..], ALL).is_none());
        assert!(cache.get(b"other", &sealed, ALL).is_none());
        cache.clear();
        assert!(cache.get(b"place", &sealed, ALL).is_none());
    }

    #[test]
    fn only_records_that_are_read_again_stay() {
        let cache = RecordCache::default();
        let large = vec![0; GENERATION / 9];
        cache.put(b"kept".into(), &[1; TAG], records(2));
        for n in 0..100_u8 {
            cache.put(vec![n], &large, records(1));
            let found = cache.get(b"kept", &[1; TAG], |at| at == 0);
            let kept = found.unwrap().iter().flatten().count();
            // Records that were not requested are dropped with the generation.
            assert_eq!(kept, if n < 3 { 2 } else { 1 }, "after {n}");
        }
        assert!(cache.get(b"kept", &[1; TAG], ALL).is_none());
        assert!(cache.get(&[0], &large, ALL).is_none());
        let held = cache.held();
        assert!(held.young.len() + held.old.len() <= 8);
    }
}
