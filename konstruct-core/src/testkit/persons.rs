//! The persons of a tenant in the reference store.

use std::collections::{HashMap, HashSet};

use crate::{PersonId, Timestamp, store::rules};

/// The known persons, their addresses and their erasures. An address is represented by its hash, which is also the id of a person
/// without other addresses.
#[derive(Debug, Default)]
pub(super) struct Persons {
    /// The persons who have a key.
    known: HashSet<PersonId>,
    /// When persons and addresses were erased.
    erased: HashMap<PersonId, Timestamp>,
    /// The persons of linked addresses.
    links: HashMap<PersonId, PersonId>,
}

impl Persons {
    /// Returns the person of an address.
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

    /// Links an address to a person. An address from which a message already came stays a separate person, because existing
    /// records are not sealed again.
    pub(super) fn link(&mut self, address: PersonId, person: PersonId) {
        if address != person && !self.knows(address) {
            self.links.insert(address, person);
        }
    }

    /// Returns whether an event from an address at a time belongs to a person who was erased later.
    pub(super) fn is_late(&self, address: PersonId, at: Timestamp) -> bool {
        let erased = [address, self.of(address)].map(|id| self.erased.get(&id));
        let mut erased = erased.into_iter().flatten();
        erased.any(|erased| rules::came_before(at, *erased))
    }

    /// Erases a person together with the links of their addresses. Returns whether the person had a key.
    pub(super) fn erase(&mut self, person: PersonId, now: Timestamp) -> bool {
        let theirs = self.links.extract_if(|_, of| *of == person);
        let addresses = theirs.map(|(address, _)| address);
        self.erased
            .extend(addresses.chain([person]).map(|id| (id, now)));
        self.known.remove(&person)
    }
}
