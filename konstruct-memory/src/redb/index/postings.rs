//! Postings: the passages that contain a stem, in blocks. Each block of passage numbers has one row for each stem.
//!
//! A passage takes five bytes of a row: its position in the block, and the occurrences of the stem in its text and in its
//! heading.

use std::collections::HashMap;

use konstruct_core::{Result, TenantId};

use super::super::{
    head::corrupt,
    keys::{self, POSTINGS},
    snapshot::Rows,
    writer::Batch,
};
use crate::memory::backend::{Space, Stem};

/// The number of passages of a block. A row of a stem in all of them takes 2.5 kB, and is rewritten for every message.
const BLOCK: u32 = 512;
/// The bytes of a passage.
const ENTRY: usize = 5;

/// The occurrences of a stem in a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) text: u16,
    pub(super) heading: u8,
}

/// The key of a block: the space, the stem and the number of the block.
type BlockKey = ([u8; 16], [u8; 16], u32);

/// Pending edits of blocks, collected so that each block is written once.
#[derive(Debug, Default)]
pub(super) struct Edits(HashMap<BlockKey, Vec<(u16, Option<Counts>)>>);

impl Edits {
    /// Adds a passage to a stem.
    pub(super) fn add(&mut self, space: Space, number: u32, stem: &Stem) {
        let counts = Counts {
            text: stem.text,
            heading: stem.heading,
        };
        self.edit(space, number, (stem.hash, Some(counts)));
    }

    /// Removes a passage from a stem.
    pub(super) fn remove(&mut self, space: Space, number: u32, stem: [u8; 16]) {
        self.edit(space, number, (stem, None));
    }

    fn edit(&mut self, space: Space, number: u32, (stem, counts): ([u8; 16], Option<Counts>)) {
        let block = self.0.entry((space.0, stem, number / BLOCK)).or_default();
        block.push(((number % BLOCK) as u16, counts));
    }

    /// Writes the edits.
    pub(super) fn write(&mut self, batch: &mut Batch<'_>, tenant: TenantId) -> Result<()> {
        for ((space, stem, block), edits) in self.0.drain() {
            let key = keys::of(tenant, &[&space, &stem, &block.to_be_bytes()]);
            let mut row = batch.get(POSTINGS, &key)?.unwrap_or_default();
            for (at, counts) in edits {
                edit(&mut row, at, counts);
            }
            if row.is_empty() {
                batch.delete(POSTINGS, key);
            } else {
                batch.put(POSTINGS, key, row);
            }
        }
        Ok(())
    }
}

/// Sets the counts of a passage in a row, or removes it.
fn edit(row: &mut Vec<u8>, at: u16, counts: Option<Counts>) {
    let (entries, _) = row.as_chunks::<ENTRY>();
    let slot = entries.partition_point(|entry| read(entry).0 < at);
    let there = entries.get(slot).is_some_and(|entry| read(entry).0 == at);
    let from = slot * ENTRY;
    let gone = from..from + if there { ENTRY } else { 0 };
    let entry = counts.map(|counts| {
        let ([a, b], [c, d]) = (at.to_be_bytes(), counts.text.to_be_bytes());
        [a, b, c, d, counts.heading]
    });
    row.splice(gone, entry.into_iter().flatten());
}

fn read([a, b, c, d, heading]: &[u8; ENTRY]) -> (u16, Counts) {
    let counts = Counts {
        text: u16::from_be_bytes([*c, *d]),
        heading: *heading,
    };
    (u16::from_be_bytes([*a, *b]), counts)
}

/// Visits the passages of a space that contain a stem, by number.
pub(super) fn walk(
    rows: &mut dyn Rows,
    tenant: TenantId,
    (space, stem): (Space, &[u8; 16]),
    mut each: impl FnMut(u32, Counts),
) -> Result<()> {
    let prefix = keys::of(tenant, &[&space.0, stem]);
    rows.scan_prefix(POSTINGS, &prefix, &mut |key, row| {
        let block = key.last_chunk().ok_or_else(corrupt)?;
        let first = u32::from_be_bytes(*block)
            .checked_mul(BLOCK)
            .ok_or_else(corrupt)?;
        for entry in row.as_chunks().0 {
            let (at, counts) = read(entry);
            each(first + u32::from(at), counts);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_was_put_last_in_order() {
        let counts = |text| Some(Counts { text, heading: 2 });
        let mut row = Vec::new();
        for (at, counts) in [
            (7, counts(1)),
            (3, counts(2)),
            (511, counts(3)),
            (7, counts(4)),
            (5, None),
            (3, None),
            (300, counts(u16::MAX)),
        ] {
            edit(&mut row, at, counts);
        }
        let read: Vec<_> = row.as_chunks().0.iter().map(read).collect();
        let expected = [(7, 4), (300, u16::MAX), (511, 3)];
        assert_eq!(
            read,
            expected.map(|(at, text)| (at, Counts { text, heading: 2 }))
        );
        for at in [7, 300, 511] {
            edit(&mut row, at, None);
        }
        assert!(row.is_empty());
    }
}
