//! Imports an export of this store or another one, under the same ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use konstruct_core::{
    ConversationId, Error, ErrorKind, Inbound, PersonId, Result, TenantId,
    id::WorkerId,
    store::{
        Claim, ConversationSummary, Exported, InboxItem, ItemChange, Stored, TimerChange,
        TimerName, rules,
    },
    turn::{Action, ConversationState, Entry, Event, OpenItem, Record},
};

use super::{
    Shared,
    append::{Counts, RecordBatch, change_items, set_timers, write_ledger},
    budget,
    head::{Head, Location},
    keys::{self, ALIASES, HEADS, INBOX, LOG},
    slices::Erasing,
    vault::Vault,
    writer::{Batch, Operation},
};

/// Imports the items of an export.
pub(super) struct Import {
    pub(super) tenant: TenantId,
    pub(super) items: Vec<Exported>,
    /// The conversations that become ready.
    pub(super) ready: BTreeSet<ConversationId>,
}

impl Operation for Import {
    type Output = ();

    fn must_wait(&self, erasing: &Erasing) -> bool {
        erasing.all_of(self.tenant)
    }

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<()> {
        let mut taking = Importer {
            vault: shared.vault_or_new(batch, self.tenant)?,
            counts: Counts::of(batch, self.tenant)?,
            heads: BTreeMap::new(),
            links: Vec::new(),
            places: Vec::new(),
            at: None,
        };
        for item in &self.items {
            taking.item(batch, shared, item)?;
        }
        taking.link(batch)?;
        let Importer { counts, heads, .. } = taking;
        counts.put(batch, self.tenant);
        for (id, mut head) in heads {
            shared.keep_pending(batch, (self.tenant, id), &mut head);
            if head.pending {
                self.ready.insert(id);
            }
            let key = keys::conversation(self.tenant, id);
            batch.put(HEADS, key, head.to_bytes());
        }
        Ok(())
    }

    fn committed(&mut self, shared: &Shared, (): &()) {
        for id in &self.ready {
            shared.arrived((self.tenant, *id));
        }
    }
}

/// An import in progress.
struct Importer {
    vault: Vault,
    counts: Counts,
    heads: BTreeMap<ConversationId, Head>,
    /// Addresses that were linked to persons.
    links: Vec<(PersonId, PersonId)>,
    /// Other names of conversations.
    places: Vec<(ConversationId, ConversationId)>,
    /// The conversation of the next records.
    at: Option<ConversationId>,
}

impl Importer {
    fn item(&mut self, batch: &mut Batch<'_>, shared: &Shared, item: &Exported) -> Result<()> {
        match item {
            Exported::Conversation(summary) => self.conversation(batch, shared, summary),
            Exported::State(state) => self.state(batch, state),
            Exported::Item(item) => self.open_item(batch, item),
            Exported::Record(stored) => self.record(batch, stored),
            Exported::Inbox(item) => self.event(batch, item),
            Exported::Ledger(row) => {
                let rows = std::slice::from_ref(row);
                write_ledger(&mut self.vault, batch, rows, &mut self.counts)
            }
            Exported::Budget(sum) => budget::put(batch, &mut self.vault, sum),
            _ => Err(Error::invalid("items", "an item is of an unknown kind")),
        }
    }

    fn conversation(
        &mut self,
        batch: &mut Batch<'_>,
        shared: &Shared,
        summary: &ConversationSummary,
    ) -> Result<()> {
        self.at = Some(summary.id);
        if self.heads.contains_key(&summary.id) {
            return Ok(());
        }
        let head = shared.head(batch, self.vault.tenant(), summary.id)?;
        if head.is_none() {
            let location = Location {
                connection: summary.connection,
                place: summary.place.clone(),
            };
            self.vault
                .put_location(batch, summary.id, &location, None)?;
            if let Some(place) = &summary.place {
                let name = self.vault.conversation(summary.connection, &place.key());
                self.alias(batch, *name.as_bytes(), *summary.id.as_bytes());
            }
        }
        let head = head.unwrap_or(Head {
            updated_at: summary.updated_at,
            ..Head::default()
        });
        self.heads.insert(summary.id, head);
        Ok(())
    }

    /// Imports the state of a conversation. The address of a direct conversation is sealed to its person again.
    fn state(&mut self, batch: &mut Batch<'_>, state: &ConversationState) -> Result<()> {
        let (id, mut head) = self.home()?;
        head.state = state.clone();
        self.heads.insert(id, head);
        if let Some(person) = state.person {
            let location = self.vault.location(batch, id)?;
            self.vault
                .put_location(batch, id, &location, Some(person))?;
            self.vault.note_words(batch, person, id)?;
        }
        Ok(())
    }

    fn open_item(&mut self, batch: &mut Batch<'_>, item: &OpenItem) -> Result<()> {
        let (id, mut head) = self.home()?;
        let claim = Claim {
            tenant: self.vault.tenant(),
            conversation: id,
            worker: WorkerId::from_bytes([0; 16]),
            fence: 0,
            weight: NonZeroU32::MIN,
        };
        let put = [ItemChange::Put(item.clone())];
        change_items(&mut self.vault, batch, &claim, &put, &mut head)?;
        let timer = TimerChange {
            name: TimerName::item(&item.id),
            at: item.retry_at,
        };
        set_timers(batch, &claim, &[timer], &mut head);
        self.heads.insert(id, head);
        Ok(())
    }

    /// Returns the current conversation.
    fn home(&mut self) -> Result<(ConversationId, Head)> {
        self.at
            .and_then(|id| Some((id, self.heads.get(&id)?.clone())))
            .ok_or_else(|| Error::invalid("items", "an item does not follow a conversation"))
    }

    fn record(&mut self, batch: &mut Batch<'_>, stored: &Stored) -> Result<()> {
        let (id, mut head) = self.home()?;
        if stored.index < head.len {
            return Err(exists("a record"));
        }
        if stored.index > head.len {
            return Err(Error::invalid("items", "a record is missing"));
        }
        self.counts.feed += 1;
        let key = keys::item(self.vault.tenant(), id, stored.index);
        if let Some(record) = &stored.record {
            for person in &record.persons {
                self.vault.note_words(batch, *person, id)?;
            }
            if let Entry::Event(Event::Received(input)) = &record.entry {
                self.name_persons(batch, record.persons.iter().copied(), &input.event)?;
            }
        }
        let at = (&*key, self.counts.feed);
        let row = self.vault.imported(batch, at, stored.record.as_deref())?;
        batch.put(LOG, key, row);
        let run = RecordBatch {
            conversation: id,
            last: stored.index,
        };
        run.put(batch, self.vault.tenant(), self.counts.feed);
        // An unreadable record counts as the end of a turn, because the turn cannot be resumed.
        let end = stored.record.as_deref().is_none_or(is_end);
        head.open = !end;
        if end {
            head.checkpoint = Some(stored.index);
        }
        head.len += 1;
        self.heads.insert(id, head);
        Ok(())
    }

    fn event(&mut self, batch: &mut Batch<'_>, item: &InboxItem) -> Result<()> {
        let (id, mut head) = self.home()?;
        let key = keys::item(self.vault.tenant(), id, item.seq);
        if item.seq <= head.last {
            return Err(exists("an event"));
        }
        if head.last == 0 {
            // Earlier events were consumed in the source store.
            head.consumed = item.seq - 1;
        } else {
            head.gone += item.seq - 1 - head.last;
        }
        head.last = item.seq;
        self.heads.insert(id, head.clone());
        let Some(routed) = &item.event else {
            (head.consumed, head.gone) = match head.unconsumed() {
                1 => (head.last, 0),
                _ => (head.consumed, head.gone + 1),
            };
            self.heads.insert(id, head);
            return Ok(());
        };
        for person in &item.persons {
            self.vault.note_words(batch, *person, id)?;
        }
        let (at, persons) = (item.accepted_at, &item.persons);
        self.name_persons(batch, persons.iter().copied(), &routed.event)?;
        let row = self
            .vault
            .inbox_row(batch, (id, item.seq), (at, persons), routed, None)?;
        batch.put(INBOX, key, row);
        Ok(())
    }

    /// Records the id of an event's sender, if it is known, and the owner of another address.
    fn name_persons(
        &mut self,
        batch: &mut Batch<'_>,
        mut persons: impl Iterator<Item = PersonId>,
        event: &Inbound,
    ) -> Result<()> {
        let address = |id: &str| self.vault.key.person(event.channel.as_str(), id);
        let (person, more) = (persons.next(), persons.next());
        if let (Some(person), None, Some(name)) = (person, more, event.sender.id().map(address)) {
            self.alias(batch, *name.as_bytes(), *person.as_bytes());
        }
        let same: Vec<_> = rules::addresses(event).into_iter().map(address).collect();
        if let Some(first) = same.first() {
            let person = match person {
                Some(person) => person,
                None => self.vault.person(batch, *first)?,
            };
            self.links
                .extend(same.iter().map(|address| (*address, person)));
        }
        let places = rules::places(event);
        if let Some(id) = self.at.filter(|_| !places.is_empty()) {
            let connection = self.vault.location(batch, id)?.connection;
            let names = places
                .into_iter()
                .map(|it| self.vault.conversation(connection, it));
            self.places.extend(names.map(|name| (name, id)));
        }
        Ok(())
    }

    /// Links addresses again, except those with a person of their own.
    fn link(&self, batch: &mut Batch<'_>) -> Result<()> {
        for (address, person) in &self.links {
            if self.vault.alias(batch, address.as_bytes())?.is_none() {
                self.vault.link(batch, *address, *person)?;
            }
        }
        for (name, id) in &self.places {
            let known = name == id
                || self.heads.contains_key(name)
                || self.vault.alias(batch, name.as_bytes())?.is_some();
            if !known {
                self.alias(batch, *name.as_bytes(), *id.as_bytes());
            }
        }
        Ok(())
    }

    /// Maps a name to another id. Names hash differently under the key of another tenant.
    fn alias(&self, batch: &mut Batch<'_>, name: [u8; 16], id: [u8; 16]) {
        if name != id {
            batch.put(ALIASES, keys::of(self.vault.tenant(), &[&name]), id);
        }
    }
}

fn is_end(record: &Record) -> bool {
    matches!(record.entry, Entry::Action(Action::Finish { .. }))
}

fn exists(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("{what} already exists"))
}
