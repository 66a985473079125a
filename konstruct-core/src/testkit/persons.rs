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

    /// Links addresses that are one person's. An address from which a message already came stays a separate person, because
    /// existing records are not sealed again.
    pub(super) fn link(&mut self, addresses: &[PersonId], person: Option<PersonId>) {
        let is_known = |id: &PersonId| self.knows(*id) || self.links.contains_key(id);
        let known = addresses.iter().copied().find(is_known);
        let known = known
            .or(addresses.first().copied())
            .map(|first| self.of(first));
        let Some(person) = person.or(known) else {
            return;
        };
        for address in addresses {
            if *address != person && !self.knows(*address) {
                self.links.entry(*address).or_insert(person);
            }
        }
    }

    /// Returns whether an event from one of these addresses at a time belongs to a person who was erased later.
    pub(super) fn is_late(&self, addresses: &[PersonId], at: Timestamp) -> bool {
        let ids = addresses.iter().flat_map(|id| [*id, self.of(*id)]);
        let mut erased = ids.filter_map(|id| self.erased.get(&id));
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
