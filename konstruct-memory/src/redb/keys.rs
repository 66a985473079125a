//! The tables and their keys. All keys but those of two tables begin with the tenant.
//!
//! The exceptions are [`META`], which belongs to the file, and [`DUE`], whose first key is read for all tenants at once. Numbers
//! are big-endian, so that bytes sort like numbers.

use ::redb::TableDefinition;
use konstruct_core::{ConversationId, TenantId, Timestamp};

/// A table of this store: bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Table {
    /// Its index in [`ALL`].
    at: u8,
    pub(super) name: &'static str,
}

impl Table {
    pub(super) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name)
    }

    /// Returns its index in [`ALL`].
    pub(super) fn at(self) -> usize {
        usize::from(self.at)
    }
}

/// Defines the tables, and lists them in [`ALL`].
macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident = $name:literal;)*) => {
        #[expect(clippy::upper_case_acronyms, non_camel_case_types, reason = "counts the tables")]
        enum At {
            $($table,)*
        }

        $(
            $(#[$doc])*
            pub(super) const $table: Table = Table { at: At::$table as u8, name: $name };
        )*

        /// Every table.
        pub(super) const ALL: [Table; [$($name),*].len()] = [$($table),*];
    };
}

tables! {
    /// name -> value: the file's format, its epoch, and its key ring if none was given.
    META = "meta";
    /// (when, tenant, conversation) -> nothing: the timers.
    DUE = "due";
    /// tenant -> the last numbers of the feed and the ledger.
    TENANTS = "tenants";
    /// (tenant, conversation) -> its counters, timers and state, see `Head`.
    HEADS = "heads";
    /// (tenant, conversation) -> the connection, and the sealed address.
    PLACES = "places";
    /// (tenant, conversation) -> nothing: conversations that are ready when the file opens.
    PENDING = "pending";
    /// (tenant, conversation, number) -> an unconsumed event.
    INBOX = "inbox";
    /// (tenant, conversation, index of the last) -> records written together, see `log`.
    LOG = "log";
    /// (tenant, cursor of the last) -> conversation, index of the last: records written together.
    FEED = "feed";
    /// (tenant, hash of connection and event id) -> nothing.
    EVENTS = "events";
    /// (tenant, hash of connection and logical id) -> conversation, number, whether it mentions the employee.
    LOGICAL = "logical";
    /// (tenant, hash of delivery key) -> conversation, index of its record, delivery state, whether its send is settled.
    DELIVERIES = "deliveries";
    /// (tenant, conversation, index of its record, hash of delivery key) -> nothing.
    DELIVERIES_OF = "deliveries_of";
    /// (tenant, conversation, item) -> an open item.
    ITEMS = "items";
    /// (tenant, item) -> its conversation.
    ITEM_LIST = "item_list";
    /// (tenant, whether it is pruned, end of the period, hash of its name) -> what is spent and reserved.
    BUDGETS = "budgets";
    /// (tenant, hash of call) -> amount, the keys of the sums that it counts against.
    RESERVED = "reserved";
    /// (tenant, number) -> a row of the ledger.
    LEDGER = "ledger";
    /// (tenant, kind, key) -> the persons it is sealed to, and a row of the memory.
    MEMORY = "memory";
    /// (tenant, person, kind, key) -> nothing: the rows of the memory that are sealed to a person.
    MEMORY_OF = "memory_of";
    /// tenant -> the revision of its memory, its number of passages, and the embedder of the queue.
    MEMORY_HEADS = "memory_heads";
    /// (tenant, space, group, item) -> a unit of the index: its metadata, and its passages' numbers and stems.
    UNITS = "units";
    /// (tenant, space, stem, block) -> the passages of a block that contain the stem.
    POSTINGS = "postings";
    /// (tenant, space) and (tenant, space, group) -> the number of passages, their total length, and for a space the next number.
    SIZES = "sizes";
    /// (tenant, space, number) -> the embedder, and the vector of a passage.
    VECTORS = "vectors";
    /// (tenant, space, group, item) -> nothing: units that wait for vectors.
    QUEUE = "queue";
    /// (tenant, person, space, group, item) -> nothing: the units that name a person.
    PERSON_UNITS = "person_units";
    /// (tenant, when, space, group, item) -> nothing: the units that expire.
    EXPIRY = "expiry";
    /// tenant or nil -> the tenant's key, wrapped with the key ring.
    TENANT_KEYS = "tenant_keys";
    /// (tenant, person) -> the id of the person's key.
    PERSON_KEYS = "person_keys";
    /// (tenant, key id) -> the person, and the person's key, wrapped with the tenant's.
    KEYS = "keys";
    /// (tenant, person, conversation) -> nothing: conversations that may contain a person's words.
    WORDS = "words";
    /// (tenant, person) -> when the person was last erased.
    FORGOTTEN = "forgotten";
    /// (tenant, hash of a name) -> the id in the store it was imported from, or for an address the person it was linked to.
    ALIASES = "aliases";
    /// (tenant or nil, table, key) -> a row of the application's own.
    ROWS = "rows";
}

/// Returns a key that begins with a tenant.
pub(super) fn of(tenant: TenantId, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(16 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.extend_from_slice(tenant.as_bytes());
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// (tenant, conversation)
pub(super) fn conversation(tenant: TenantId, conversation: ConversationId) -> Vec<u8> {
    of(tenant, &[conversation.as_bytes()])
}

/// (tenant, conversation, number)
pub(super) fn item(tenant: TenantId, conversation: ConversationId, number: u64) -> Vec<u8> {
    of(tenant, &[conversation.as_bytes(), &number.to_be_bytes()])
}

/// (tenant, number)
pub(super) fn numbered(tenant: TenantId, number: u64) -> Vec<u8> {
    of(tenant, &[&number.to_be_bytes()])
}

/// (when, tenant, conversation)
pub(super) fn due(when: Timestamp, tenant: TenantId, conversation: ConversationId) -> Vec<u8> {
    let mut key = due_from(when).to_vec();
    key.extend_from_slice(tenant.as_bytes());
    key.extend_from_slice(conversation.as_bytes());
    key
}

/// Returns the least key of a timer at this time. Flipping the sign bit sorts times before 1970 first.
pub(super) fn due_from(when: Timestamp) -> [u8; 8] {
    (when.as_micros().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Parses a key of [`DUE`].
pub(super) fn read_due(key: &[u8]) -> Option<(Timestamp, TenantId, ConversationId)> {
    let when = number(key, 0)? ^ (1 << 63);
    Some((
        Timestamp::from_micros(when.cast_signed()),
        TenantId::from_bytes(id(key, 8)?),
        ConversationId::from_bytes(id(key, 24)?),
    ))
}

/// Returns the 16 bytes of an id or a hash at an offset.
pub(super) fn id(bytes: &[u8], at: usize) -> Option<[u8; 16]> {
    bytes.get(at..at + 16)?.try_into().ok()
}

/// Returns the number at an offset.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Returns a key after all keys with a prefix.
pub(super) fn end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // No key follows a prefix of only 0xff bytes: return one longer than any key.
    vec![u8::MAX; 1024]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_sort_by_time_and_read_back() {
        let (tenant, conversation) = (TenantId::new(), ConversationId::new());
        let times = [i64::MIN, -5, 0, 7, i64::MAX].map(Timestamp::from_micros);
        let keys = times.map(|when| due(when, tenant, conversation));
        assert!(keys.is_sorted());
        for (key, when) in keys.iter().zip(times) {
            assert_eq!(read_due(key), Some((when, tenant, conversation)));
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_after_all_of_it() {
        assert_eq!(end(&[1, 2]), [1, 3]);
        assert_eq!(end(&[1, 255]), [2]);
        assert!(end(&[255, 255]).as_slice() > [255u8; 64].as_slice());
    }
}
