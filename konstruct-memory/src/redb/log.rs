//! The log of a conversation: records that were written at once stand in one row, in groups that are sealed to the same persons.
//!
//! A row stands under the index of its last record: `cursor of the last | how many records | groups`, and a group is `how many |
//! which of the records | length | sealed`. The highest bit of a record's place tells whether it says something, so that who only
//! wants to know what was said opens nothing else. What was erased is in no group any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, Range},
    sync::Arc,
};

use konstruct_core::{
    ConversationId, Error, PersonId, Result, TenantId,
    store::{Claim, Stored},
    turn::Record,
};

use super::{
    Shared,
    head::corrupt,
    keys::{self, LOG},
    recent::{Recent, Records},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};
use crate::{
    compact::decode_some,
    seal::{self, KeyId},
};

/// A row as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    /// The cursor in the feed of its last record.
    pub(super) cursor: u64,
    pub(super) count: u16,
    groups: Vec<Group<'a>>,
}

/// Which records of a log are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    All,
    /// Those that [say something](Record::says_something); the others are `None`.
    Said,
}

/// The bit of a place that tells whether its record says something.
const SAYS: u16 = 1 << 15;

/// The place of a record in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    place: u16,
    says: bool,
}

impl At {
    fn read(bits: u16) -> Self {
        Self {
            place: bits & !SAYS,
            says: bits & SAYS != 0,
        }
    }

    fn bits(self) -> u16 {
        self.place | if self.says { SAYS } else { 0 }
    }

    fn is_of(self, wanted: Filter) -> bool {
        self.says || wanted == Filter::All
    }
}

/// Records that are sealed to the same persons, by their places in the row.
#[derive(Clone, Debug)]
struct Group<'a> {
    places: Vec<At>,
    sealed: std::borrow::Cow<'a, [u8]>,
}

impl<'a> Row<'a> {
    pub(super) fn read(row: &'a [u8]) -> Result<Self> {
        let cursor = keys::number(row, 0).ok_or_else(corrupt)?;
        let mut rest = row.get(8..).ok_or_else(corrupt)?;
        let count = take(&mut rest)?;
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let many = take(&mut rest)?;
            let places = (0..many).map(|_| take(&mut rest).map(At::read));
            let places = places.collect::<Result<_>>()?;
            let (len, after) = rest.split_first_chunk().ok_or_else(corrupt)?;
            let len = u32::from_be_bytes(*len) as usize;
            let (sealed, after) = after.split_at_checked(len).ok_or_else(corrupt)?;
            groups.push(Group {
                places,
                sealed: sealed.into(),
            });
            rest = after;
        }
        Ok(Self {
            cursor,
            count,
            groups,
        })
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut row = self.cursor.to_be_bytes().to_vec();
        row.extend_from_slice(&self.count.to_be_bytes());
        for Group { places, sealed } in &self.groups {
            row.extend_from_slice(&count(places.len())?.to_be_bytes());
            row.extend(bytes(places));
            let len = u32::try_from(sealed.len())
                .map_err(|_| Error::invalid("records", "at most 4 GiB an append"))?;
            row.extend_from_slice(&len.to_be_bytes());
            row.extend_from_slice(sealed);
        }
        Ok(row)
    }

    /// The keys that its records are sealed with.
    pub(super) fn sealed_to(&self) -> Result<BTreeSet<KeyId>> {
        let mut all = BTreeSet::new();
        for group in &self.groups {
            all.extend(seal::persons(&group.sealed)?);
        }
        Ok(all)
    }

    /// Leaves out what is sealed with a key. Returns the row and how many records it was, or `None` if there was nothing.
    pub(super) fn without(mut self, key: KeyId) -> Result<Option<(Vec<u8>, u64)>> {
        let mut gone = 0;
        let mut left = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            if seal::persons(&group.sealed)?.contains(&key) {
                gone += group.places.len() as u64;
            } else {
                left.push(group);
            }
        }
        self.groups = left;
        Ok((gone > 0).then_some((self.to_bytes()?, gone)))
    }
}

fn take(rest: &mut &[u8]) -> Result<u16> {
    let (number, after) = rest.split_first_chunk().ok_or_else(corrupt)?;
    *rest = after;
    Ok(u16::from_be_bytes(*number))
}

fn count(len: usize) -> Result<u16> {
    let few = u16::try_from(len).ok().filter(|len| *len < SAYS);
    few.ok_or_else(|| Error::invalid("records", "at most 32,767 an append"))
}

fn bytes(places: &[At]) -> impl Iterator<Item = u8> {
    places.iter().flat_map(|at| at.bits().to_be_bytes())
}

/// Where a group stands: none opens in the place of another.
fn place_of(key: &[u8], places: &[At]) -> Vec<u8> {
    let mut place = key.to_vec();
    place.extend(bytes(places));
    place
}

/// Records on their way into the log, sealed where the caller is and not in the writer, as far as that is possible.
#[derive(Debug, Default)]
pub(super) struct Prepared(Vec<ToSeal>);

#[derive(Debug)]
struct ToSeal {
    persons: Vec<PersonId>,
    places: Vec<At>,
    /// `None`: one of the persons had no key yet.
    sealed: Option<Vec<u8>>,
}

impl Prepared {
    fn group(records: &[Record]) -> Result<Self> {
        let mut groups: BTreeMap<&BTreeSet<PersonId>, Vec<At>> = BTreeMap::new();
        for (place, record) in (0..count(records.len())?).zip(records) {
            let says = record.says_something();
            let group = groups.entry(&record.persons).or_default();
            group.push(At { place, says });
        }
        let unsealed = |(persons, places): (&BTreeSet<PersonId>, _)| ToSeal {
            persons: persons.iter().copied().collect(),
            places,
            sealed: None,
        };
        Ok(Self(groups.into_iter().map(unsealed).collect()))
    }

    /// Returns the persons who have no key, or another one than their records were sealed with.
    pub(super) fn forgotten(
        &mut self,
        batch: &mut Batch<'_>,
        vault: &mut Vault,
    ) -> Result<Vec<PersonId>> {
        let mut forgotten = BTreeSet::new();
        for group in &mut self.0 {
            if let Some(sealed) = &group.sealed {
                for id in seal::persons(sealed)? {
                    if !vault.has_this(batch, id)? {
                        group.sealed = None;
                        break;
                    }
                }
            }
            if group.sealed.is_none() {
                for person in &group.persons {
                    if !vault.has_key(batch, *person)? {
                        forgotten.insert(*person);
                    }
                }
            }
        }
        Ok(forgotten.into_iter().collect())
    }

    /// Writes the row, and seals what could not be sealed before. All persons must have keys. Returns the row and what was written.
    pub(super) fn write(
        self,
        vault: &mut Vault,
        rows: &mut dyn Rows,
        (key, cursor): (&[u8], u64),
        records: &[Record],
    ) -> Result<(Vec<u8>, Written)> {
        let mut groups = Vec::with_capacity(self.0.len());
        for group in self.0 {
            let sealed = match group.sealed {
                Some(sealed) => sealed,
                None => vault
                    .seal_records(rows, key, &group, records)?
                    .ok_or_else(corrupt)?,
            };
            groups.push(Group {
                places: group.places,
                sealed: sealed.into(),
            });
        }
        let row = Row {
            cursor,
            count: count(records.len())?,
            groups,
        };
        let bytes = row.to_bytes()?;
        let written = row.groups.into_iter().map(|group| WrittenGroup {
            place: place_of(key, &group.places),
            places: group.places,
            sealed: group.sealed.into_owned(),
        });
        Ok((bytes, Written(written.collect())))
    }
}

/// The groups of a row that was written.
#[derive(Debug)]
pub(super) struct Written(Vec<WrittenGroup>);

#[derive(Debug)]
struct WrittenGroup {
    place: Vec<u8>,
    places: Vec<At>,
    sealed: Vec<u8>,
}

impl Written {
    /// Keeps the records opened.
    pub(super) fn keep(self, recent: &Recent, records: Vec<Record>) {
        let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
        for group in self.0 {
            let of = |at: &At| records.get(usize::from(at.place)).map(Arc::clone);
            let records = group.places.iter().map(of).collect();
            recent.put(group.place, &group.sealed, records);
        }
    }
}

impl Shared {
    /// Seals records where the caller is: their places are known if the log is as long as the caller thinks.
    pub(super) fn prepare(
        &self,
        claim: &Claim,
        expected_len: u64,
        records: &[Record],
    ) -> Result<Prepared> {
        let mut prepared = Prepared::group(records)?;
        // No log is that long: the writer will say so.
        let end = expected_len.checked_add(records.len() as u64);
        let Some(last) = end.filter(|_| !records.is_empty()).map(|end| end - 1) else {
            return Ok(prepared);
        };
        let mut snapshot = self.snapshot()?;
        let Some(mut vault) = self.vault(&mut snapshot, claim.tenant)? else {
            return Ok(prepared);
        };
        let key = keys::item(claim.tenant, claim.conversation, last);
        for group in &mut prepared.0 {
            group.sealed = vault.seal_records(&mut snapshot, &key, group, records)?;
        }
        Ok(prepared)
    }
}

impl Vault {
    /// Seals a group; `None` where one of its persons has no key.
    fn seal_records(
        &mut self,
        rows: &mut dyn Rows,
        key: &[u8],
        group: &ToSeal,
        records: &[Record],
    ) -> Result<Option<Vec<u8>>> {
        let of = |at: &At| records.get(usize::from(at.place));
        let records: Vec<&Record> = group.places.iter().filter_map(of).collect();
        let place = place_of(key, &group.places);
        let mut sealed = Vec::new();
        let known = self.seal_known(rows, &group.persons, (LOG, &place), &records, &mut sealed)?;
        Ok(known.then_some(sealed))
    }

    /// Writes a row of one record that is imported. Persons without a key get one.
    pub(super) fn imported(
        &mut self,
        batch: &mut Batch<'_>,
        (key, cursor): (&[u8], u64),
        record: Option<&Record>,
    ) -> Result<Vec<u8>> {
        let mut groups = Vec::new();
        if let Some(record) = record {
            let persons: Vec<PersonId> = record.persons.iter().copied().collect();
            let says = record.says_something();
            let places = vec![At { place: 0, says }];
            let place = place_of(key, &places);
            let sealed = self.seal(batch, &persons, (LOG, &place), &[record])?;
            groups.push(Group {
                places,
                sealed: sealed.into(),
            });
        }
        let row = Row {
            cursor,
            count: 1,
            groups,
        };
        row.to_bytes()
    }

    /// Appends the records of a row whose index is in the range.
    pub(super) fn read_row(
        &mut self,
        rows: &mut dyn Rows,
        (key, row): (&[u8], &[u8]),
        (range, wanted): (&Range<u64>, Filter),
        log: &mut Vec<Stored>,
    ) -> Result<()> {
        let row = Row::read(row)?;
        let mut records = vec![None; usize::from(row.count)];
        for group in &row.groups {
            if !group.places.iter().any(|at| at.is_of(wanted)) {
                continue;
            }
            let Some(opened) = self.open_group(rows, key, group, wanted)? else {
                continue;
            };
            for (at, record) in group.places.iter().zip(&*opened) {
                let own = records.get_mut(usize::from(at.place));
                own.ok_or_else(corrupt)?.clone_from(record);
            }
        }
        let first = first(key, u64::from(row.count))?;
        let stored = (first..)
            .zip(records)
            .filter(|(index, _)| range.contains(index));
        log.extend(stored.map(|(index, record)| Stored::new(index, record)));
        Ok(())
    }

    /// Opens a group, at least as far as it is wanted; `None` where it can no longer be opened.
    fn open_group(
        &mut self,
        rows: &mut dyn Rows,
        key: &[u8],
        group: &Group<'_>,
        wanted: Filter,
    ) -> Result<Option<Records>> {
        let place = place_of(key, &group.places);
        let is_wanted = |at: usize| group.places.get(at).is_some_and(|at| at.is_of(wanted));
        if let Some(known) = self.recent.get(&place, &group.sealed, is_wanted) {
            return Ok(Some(known));
        }
        let Some(plain) = self.open_bytes(rows, (LOG, &place), &group.sealed)? else {
            return Ok(None);
        };
        let records: Vec<bool> = group.places.iter().map(|at| at.is_of(wanted)).collect();
        let opened: Records = decode_some(&plain, &records)?.into();
        self.recent.put(place, &group.sealed, Arc::clone(&opened));
        Ok(Some(opened))
    }

    /// Reads the log from one index to another, the last excluded.
    pub(super) fn log(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
        (range, wanted): (Range<u64>, Filter),
    ) -> Result<Vec<Stored>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let tenant = self.tenant();
        let mut found = Vec::new();
        scan(
            rows,
            (tenant, conversation),
            range.start,
            &mut |key, row| {
                if first(key, count_of(row)?)? >= range.end {
                    return Ok(ControlFlow::Break(()));
                }
                found.push((key.to_vec(), row.to_vec()));
                Ok(ControlFlow::Continue(()))
            },
        )?;
        let mut log = Vec::new();
        for (key, row) in &found {
            self.read_row(rows, (key, row), (&range, wanted), &mut log)?;
        }
        Ok(log)
    }

    /// Leaves one record out. Returns the key of its row and the row without it; `None` where it is gone already.
    pub(super) fn without(
        &mut self,
        rows: &mut dyn Rows,
        conversation: ConversationId,
        index: u64,
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut found = None;
        scan(
            rows,
            (self.tenant(), conversation),
            index,
            &mut |key, row| {
                found = Some((key.to_vec(), row.to_vec()));
                Ok(ControlFlow::Break(()))
            },
        )?;
        let Some((key, row)) = found else {
            return Ok(None);
        };
        let mut row = Row::read(&row)?;
        let place = index.checked_sub(first(&key, u64::from(row.count))?);
        let place = place.and_then(|place| u16::try_from(place).ok());
        let is_it = |at: &At| Some(at.place) == place;
        let has = |group: &Group<'_>| group.places.iter().any(is_it);
        let Some(at) = row.groups.iter().position(has) else {
            return Ok(None);
        };
        let group = row.groups.remove(at);
        if let Some(records) = self.open_group(rows, &key, &group, Filter::All)? {
            let others = group.places.iter().zip(&*records);
            let (places, records): (Vec<At>, Vec<&Record>) = others
                .filter(|(other, _)| !is_it(other))
                .filter_map(|(other, record)| Some((*other, record.as_deref()?)))
                .unzip();
            if let Some(first) = records.first() {
                let persons: Vec<PersonId> = first.persons.iter().copied().collect();
                let mut sealed = Vec::new();
                let at = place_of(&key, &places);
                if self.seal_known(rows, &persons, (LOG, &at), &records, &mut sealed)? {
                    row.groups.push(Group {
                        places,
                        sealed: sealed.into(),
                    });
                }
            }
        }
        let row = row.to_bytes()?;
        Ok(Some((key, row)))
    }
}

/// How many records a row has.
fn count_of(row: &[u8]) -> Result<u64> {
    take(&mut row.get(8..).ok_or_else(corrupt)?).map(u64::from)
}

/// The index of the first of a row's records.
fn first(key: &[u8], count: u64) -> Result<u64> {
    let end = keys::number(key, 32).and_then(|last| last.checked_add(1));
    end.and_then(|end| end.checked_sub(count))
        .ok_or_else(corrupt)
}

/// Walks the rows of a log, from the one with this record on.
fn scan(
    rows: &mut dyn Rows,
    (tenant, conversation): (TenantId, ConversationId),
    from: u64,
    each: &mut super::snapshot::Step<'_>,
) -> Result<()> {
    let from = keys::item(tenant, conversation, from);
    let end = keys::end(&keys::conversation(tenant, conversation));
    rows.scan(LOG, &from, &end, each)
}
