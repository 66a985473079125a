//! The log of a conversation. Records written together are in one row, in groups sealed to the same persons.
//!
//! The key of a row has the index of its last record. A row is `cursor of the last | number of records | groups`, and a group is
//! `number | places of the records | length | sealed`. The highest bit of a place tells whether the record is a message, so that
//! a reader of messages opens nothing else. An erased record is in no group.

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
    record_cache::{RecordCache, Records},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};
use crate::{
    compact::decode_some,
    seal::{self, KeyId},
};

/// A stored row.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    /// The feed cursor of its last record.
    pub(super) cursor: u64,
    pub(super) count: u16,
    groups: Vec<Group<'a>>,
}

/// The records of a log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    All,
    /// Records that [say something](Record::says_something); the others are `None`.
    Messages,
}

/// The bit of a place that marks a message.
const IS_MESSAGE: u16 = 1 << 15;

/// The place of a record in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordRef {
    place: u16,
    is_message: bool,
}

impl RecordRef {
    fn read(bits: u16) -> Self {
        Self {
            place: bits & !IS_MESSAGE,
            is_message: bits & IS_MESSAGE != 0,
        }
    }

    fn bits(self) -> u16 {
        self.place | if self.is_message { IS_MESSAGE } else { 0 }
    }

    fn matches(self, wanted: Filter) -> bool {
        self.is_message || wanted == Filter::All
    }
}

/// Records sealed to the same persons, by their places in the row.
#[derive(Clone, Debug)]
struct Group<'a> {
    places: Vec<RecordRef>,
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
            let places = (0..many).map(|_| take(&mut rest).map(RecordRef::read));
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

    /// Returns the ids of the keys that its records are sealed with.
    pub(super) fn sealed_to(&self) -> Result<BTreeSet<KeyId>> {
        let mut all = BTreeSet::new();
        for group in &self.groups {
            all.extend(seal::persons(&group.sealed)?);
        }
        Ok(all)
    }

    /// Removes the groups sealed with a key. Returns the new row and the number of removed records, or `None` if there was no
    /// such group.
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
    let few = u16::try_from(len).ok().filter(|len| *len < IS_MESSAGE);
    few.ok_or_else(|| Error::invalid("records", "at most 32,767 an append"))
}

fn bytes(places: &[RecordRef]) -> impl Iterator<Item = u8> {
    places.iter().flat_map(|at| at.bits().to_be_bytes())
}

/// Returns the place that a group is sealed to, so that it does not open elsewhere.
fn place_of(key: &[u8], places: &[RecordRef]) -> Vec<u8> {
    let mut place = key.to_vec();
    place.extend(bytes(places));
    place
}

/// Records to append, sealed on the caller's thread where possible instead of in the writer.
#[derive(Debug, Default)]
pub(super) struct PreparedRecords(Vec<PreparedGroup>);

#[derive(Debug)]
struct PreparedGroup {
    persons: Vec<PersonId>,
    places: Vec<RecordRef>,
    /// `None` if a person had no key yet.
    sealed: Option<Vec<u8>>,
}

impl PreparedRecords {
    fn group(records: &[Record]) -> Result<Self> {
        let mut groups: BTreeMap<&BTreeSet<PersonId>, Vec<RecordRef>> = BTreeMap::new();
        for (place, record) in (0..count(records.len())?).zip(records) {
            let is_message = record.says_something();
            let group = groups.entry(&record.persons).or_default();
            group.push(RecordRef { place, is_message });
        }
        let unsealed = |(persons, places): (&BTreeSet<PersonId>, _)| PreparedGroup {
            persons: persons.iter().copied().collect(),
            places,
            sealed: None,
        };
        Ok(Self(groups.into_iter().map(unsealed).collect()))
    }

    /// Returns the persons who have no key, or another key than their records were sealed with.
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

    /// Seals the remaining groups and builds the row. All persons must have keys. Returns the row, and its groups for the cache.
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

/// The groups of a written row.
#[derive(Debug)]
pub(super) struct Written(Vec<WrittenGroup>);

#[derive(Debug)]
struct WrittenGroup {
    place: Vec<u8>,
    places: Vec<RecordRef>,
    sealed: Vec<u8>,
}

impl Written {
    /// Puts the records into the cache.
    pub(super) fn keep(self, cache: &RecordCache, records: Vec<Record>) {
        let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
        for group in self.0 {
            let of = |at: &RecordRef| records.get(usize::from(at.place)).map(Arc::clone);
            let records = group.places.iter().map(of).collect();
            cache.put(group.place, &group.sealed, records);
        }
    }
}

impl Shared {
    /// Seals records on the caller's thread. Their places are known if the log has the length that the caller expects.
    pub(super) fn prepare(
        &self,
        claim: &Claim,
        expected_len: u64,
        records: &[Record],
    ) -> Result<PreparedRecords> {
        let mut prepared = PreparedRecords::group(records)?;
        // The log cannot be that long: the writer returns the error.
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
    /// Seals a group; `None` if one of its persons has no key.
    fn seal_records(
        &mut self,
        rows: &mut dyn Rows,
        key: &[u8],
        group: &PreparedGroup,
        records: &[Record],
    ) -> Result<Option<Vec<u8>>> {
        let of = |at: &RecordRef| records.get(usize::from(at.place));
        let records: Vec<&Record> = group.places.iter().filter_map(of).collect();
        let place = place_of(key, &group.places);
        let mut sealed = Vec::new();
        let known = self.seal_known(rows, &group.persons, (LOG, &place), &records, &mut sealed)?;
        Ok(known.then_some(sealed))
    }

    /// Writes a row of one imported record. Creates missing keys of its persons.
    pub(super) fn imported(
        &mut self,
        batch: &mut Batch<'_>,
        (key, cursor): (&[u8], u64),
        record: Option<&Record>,
    ) -> Result<Vec<u8>> {
        let mut groups = Vec::new();
        if let Some(record) = record {
            let persons: Vec<PersonId> = record.persons.iter().copied().collect();
            let is_message = record.says_something();
            let places = vec![RecordRef {
                place: 0,
                is_message,
            }];
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

    /// Appends the records of a row that are in the range of indexes.
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
            if !group.places.iter().any(|at| at.matches(wanted)) {
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

    /// Opens a group, or its requested records; `None` if it can no longer be opened.
    fn open_group(
        &mut self,
        rows: &mut dyn Rows,
        key: &[u8],
        group: &Group<'_>,
        wanted: Filter,
    ) -> Result<Option<Records>> {
        let place = place_of(key, &group.places);
        let is_wanted = |at: usize| group.places.get(at).is_some_and(|at| at.matches(wanted));
        if let Some(known) = self.cache.get(&place, &group.sealed, is_wanted) {
            return Ok(Some(known));
        }
        let Some(plain) = self.open_bytes(rows, (LOG, &place), &group.sealed)? else {
            return Ok(None);
        };
        let records: Vec<bool> = group.places.iter().map(|at| at.matches(wanted)).collect();
        let opened: Records = decode_some(&plain, &records)?.into();
        self.cache.put(place, &group.sealed, Arc::clone(&opened));
        Ok(Some(opened))
    }

    /// Reads a range of the log, end exclusive.
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

    /// Removes one record. Returns the key of its row and the new row; `None` if the record is gone already.
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
        let is_it = |at: &RecordRef| Some(at.place) == place;
        let has = |group: &Group<'_>| group.places.iter().any(is_it);
        let Some(at) = row.groups.iter().position(has) else {
            return Ok(None);
        };
        let group = row.groups.remove(at);
        if let Some(records) = self.open_group(rows, &key, &group, Filter::All)? {
            let others = group.places.iter().zip(&*records);
            let (places, records): (Vec<RecordRef>, Vec<&Record>) = others
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

/// Returns the number of records of a row.
fn count_of(row: &[u8]) -> Result<u64> {
    take(&mut row.get(8..).ok_or_else(corrupt)?).map(u64::from)
}

/// Returns the index of a row's first record.
fn first(key: &[u8], count: u64) -> Result<u64> {
    let end = keys::number(key, 32).and_then(|last| last.checked_add(1));
    end.and_then(|end| end.checked_sub(count))
        .ok_or_else(corrupt)
}

/// Visits the rows of a log, beginning with the row of a record.
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
