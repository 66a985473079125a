//! Groups of records that were written or read lately, opened: they are read again by the index, and what they say by the next turns of
//! their conversation.
//!
//! What is here counts only while its group stands in the file as it was sealed, which its tag tells, so what was erased is not found,
//! and an erasure clears all of it. While a person is erased in parts, groups stand that must not be read any more: meanwhile nothing
//! of the tenant is found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use konstruct_core::{TenantId, turn::Record};

use super::keys;
use crate::seal::TAG;

/// How many bytes of memory a generation takes, about. There are two generations.
const GENERATION: usize = 32 << 20;

/// The records of a group, in their order; `None` for those that nobody has wanted lately.
pub(super) type Records = Arc<[Option<Arc<Record>>]>;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: Groups,
    old: Groups,
    /// What the young one takes.
    size: usize,
    /// Empty, with the room of one that is gone.
    spare: Groups,
    /// The tenants of whom nothing is kept, and how many erasures want that.
    closed: HashMap<TenantId, usize>,
}

type Groups = HashMap<Vec<u8>, Opened>;

#[derive(Debug)]
struct Opened {
    tag: Tag,
    /// The bytes that were sealed.
    sealed: usize,
    records: Records,
}

type Tag = [u8; TAG];

/// The end of what was sealed: no other value has the same, nor the same value sealed again.
fn tag(sealed: &[u8]) -> Option<Tag> {
    sealed.last_chunk().copied()
}

impl Opened {
    /// About how much memory it takes: what is opened takes some three times as much as what was sealed.
    fn size(&self) -> usize {
        let kept = self.records.iter().flatten().count();
        let words = 3 * self.sealed * kept / self.records.len().max(1);
        256 + kept * size_of::<Record>() + words
    }

    fn has(&self, wanted: impl Fn(usize) -> bool) -> bool {
        let mut all = self.records.iter().enumerate();
        all.all(|(at, record)| record.is_some() || !wanted(at))
    }

    /// Lets go of what is not wanted.
    fn keep_only(&mut self, wanted: impl Fn(usize) -> bool) {
        let kept = |(at, record): (usize, &Option<_>)| record.clone().filter(|_| wanted(at));
        if (0..self.records.len()).any(|at| !wanted(at)) {
            self.records = self.records.iter().enumerate().map(kept).collect();
        }
    }
}

impl Recent {
    fn held(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the records of the group at a place, if those that are wanted are there and as they were sealed.
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
        let is_it = |opened: &Opened| opened.tag == tag && opened.has(&wanted);
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

    /// Keeps the records of a group.
    pub(super) fn put(&self, place: Vec<u8>, sealed: &[u8], records: Records) {
        let Some(tag) = tag(sealed) else { return };
        let opened = Opened {
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

    /// Drops a generation while nobody waits for the lock: it takes milliseconds.
    fn drop_groups(&self, gone: Option<Groups>) {
        if let Some(mut gone) = gone {
            gone.clear();
            self.held().spare = gone;
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        let mut held = self.held();
        let closed = std::mem::take(&mut held.closed);
        *held = Generations {
            closed,
            ..Generations::default()
        };
    }

    /// Finds and keeps nothing of a tenant, until [`Recent::open`] is called as often.
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
    fn keep(&mut self, place: Vec<u8>, opened: Opened) -> Option<Groups> {
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
        let record = Arc::new(Record {
            v: 1,
            turn: TurnId::from_bytes([1; 16]),
            at: Timestamp::from_secs(0),
            cause: Cause::Rule,
            persons: Default::default(),
            entry: Entry::Action(Action::Gather),
        });
        vec![Some(record); count].into()
    }

    #[test]
    fn a_group_that_changed_is_not_found() {
        let recent = Recent::default();
        let (sealed, other) = ([1; TAG], [2; TAG]);
        recent.put(b"place".into(), &sealed, records(1));
        assert!(recent.get(b"place", &sealed, ALL).is_some());
        assert!(recent.get(b"place", &other, ALL).is_none());
        assert!(recent.get(b"place", &sealed[1..], ALL).is_none());
        assert!(recent.get(b"other", &sealed, ALL).is_none());
        recent.clear();
        assert!(recent.get(b"place", &sealed, ALL).is_none());
    }

    #[test]
    fn what_is_read_again_stays_and_the_rest_goes() {
        let recent = Recent::default();
        let large = vec![0; GENERATION / 9];
        recent.put(b"kept".into(), &[1; TAG], records(2));
        for n in 0..100_u8 {
            recent.put(vec![n], &large, records(1));
            let found = recent.get(b"kept", &[1; TAG], |at| at == 0);
            let kept = found.unwrap().iter().flatten().count();
            // What nobody wanted is let go of with the generation.
            assert_eq!(kept, if n < 3 { 2 } else { 1 }, "after {n}");
        }
        assert!(recent.get(b"kept", &[1; TAG], ALL).is_none());
        assert!(recent.get(&[0], &large, ALL).is_none());
        let held = recent.held();
        assert!(held.young.len() + held.old.len() <= 8);
    }
}
