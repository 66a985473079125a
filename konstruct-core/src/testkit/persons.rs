//! The persons of a tenant of the reference store.

use std::collections::{HashMap, HashSet};

use crate::{PersonId, Timestamp, store::rules};

/// Who is known, under which addresses, and who was erased. An address is a hash of itself, which is also the id of a person who
/// has no other address.
#[derive(Debug, Default)]
pub(super) struct Persons {
    /// Those who have a key.
    known: HashSet<PersonId>,
    /// When persons and addresses were erased.
    erased: HashMap<PersonId, Timestamp>,
    /// The persons of addresses that were linked to them.
    links: HashMap<PersonId, PersonId>,
}

impl Persons {
    /// Returns whose an address is.
    pub(super) fn of(&self, address: PersonId) -> PersonId {
        let linked = self.links.get(&address).copied();
        linked.filter(|_| !self.knows(address)).unwrap_or(address)
    }

    pub(super) fn knows(&self, person: PersonId) -> bool {
        self.known.contains(&person)
    }

    pub(super) fn know(&mut self, persons: impl IntoIterator<Item = PersonId>) {
        self.known.extend(persons);
    }

    /// Has an address be the person's. One under which somebody was heard before stays a person of its own: what was sealed to
    /// them is not sealed again.
    pub(super) fn link(&mut self, address: PersonId, person: PersonId) {
        if address != person && !self.knows(address) {
            self.links.insert(address, person);
        }
    }

    /// Returns whether what came from an address then was said by somebody who was erased later.
    pub(super) fn is_late(&self, address: PersonId, at: Timestamp) -> bool {
        let erased = [address, self.of(address)].map(|id| self.erased.get(&id));
        let mut erased = erased.into_iter().flatten();
        erased.any(|erased| rules::came_before(at, *erased))
    }

    /// Erases a person, and that the linked addresses are theirs. Returns whether they had a key.
    pub(super) fn erase(&mut self, person: PersonId, now: Timestamp) -> bool {
        let theirs = self.links.extract_if(|_, of| *of == person);
        let addresses = theirs.map(|(address, _)| address);
        self.erased
            .extend(addresses.chain([person]).map(|id| (id, now)));
        self.known.remove(&person)
    }
}
