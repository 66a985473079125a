//! The interface that a store implements for the memory: sealed rows, an index of units, and one search.
//!
//! The memory itself is written once, over this trait: passages, access control, ranking and erasure. Every change is planned
//! from reads, and committed only if nothing else was committed meanwhile. A tenant's *revision* counts the commits; every
//! erasure is one.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use konstruct_core::{
    ConversationId, Depth, Erase, PersonId, Result, TenantId, Timestamp,
    memory::{ErasureReceipt, SaidBy},
    store::{FeedEntry, Stored},
};

use super::MemoryEmbedder;
use crate::seal::TenantKey;

/// A store that the memory is kept in.
#[async_trait]
pub(crate) trait MemoryBackend: fmt::Debug + Send + Sync + 'static {
    /// Begins a session: a backend for one task of a tenant. It reads in one transaction, and commits in the same if it `writes`.
    /// `None` if the store has no sessions because its reads are cheap.
    async fn session(
        &self,
        _tenant: TenantId,
        _writes: bool,
    ) -> Result<Option<Box<dyn MemoryBackend>>> {
        Ok(None)
    }

    /// Returns the embedder of the store.
    fn embedder(&self) -> &MemoryEmbedder;

    /// Returns the time of the store.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads a conversation's log, as [`History::read`](konstruct_core::store::History::read) does.
    async fn log(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>>;

    /// Reads the messages in a range of a log, as [`History::read_said`](konstruct_core::store::History::read_said) does.
    async fn said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.log(tenant, conversation, range).await
    }

    /// Reads the tenant's feed, as [`History::feed`](konstruct_core::store::History::feed) does.
    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<FeedEntry>>;

    /// Returns the tenant's key, for hashes of names. Creates it for a new tenant.
    async fn tenant_key(&self, tenant: TenantId) -> Result<Arc<TenantKey>>;

    /// Returns the number of commits to the tenant's memory.
    async fn revision(&self, tenant: TenantId) -> Result<u64>;

    /// Reads and opens a row. `None` if it does not exist or can no longer be opened.
    async fn get(&self, tenant: TenantId, kind: RowKind, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Reads rows, and messages in ranges of logs, in the requested order, as [`get`](MemoryBackend::get) and
    /// [`said`](MemoryBackend::said) do.
    ///
    /// A recall reads the content of all its hits with this. The default reads each concurrently; a store with expensive
    /// transactions or round trips reads everything in one.
    async fn read(&self, tenant: TenantId, wanted: &ReadRequest) -> Result<Read> {
        let rows = wanted.rows.iter();
        let rows = try_join_all(rows.map(|(kind, key)| self.get(tenant, *kind, key))).await?;
        let logs = wanted.logs.iter();
        let logs =
            logs.map(|(conversation, range)| self.said(tenant, *conversation, range.clone()));
        Ok((rows, try_join_all(logs).await?))
    }

    /// Reads and opens the rows whose keys have a prefix and are greater than `after`, in key order. Rows that can no longer be
    /// opened are skipped. Fewer than `limit` rows means that there are no more.
    async fn scan(
        &self,
        tenant: TenantId,
        kind: RowKind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Writes a whole plan if the tenant's revision is still that of the plan. Returns whether it was. Puts overwrite; removed
    /// rows need not exist. Removals come first. A plan with a row that names a person without a key is refused as a
    /// [conflict](konstruct_core::ErrorKind::Conflict): a commit does not create persons' keys.
    async fn commit(&self, tenant: TenantId, plan: Plan) -> Result<bool>;

    /// Finds the best passages, see [`Search`].
    async fn search(&self, tenant: TenantId, search: Search) -> Result<Vec<Candidate>>;

    /// Finds the best passages for several questions, in their order. The default searches concurrently; a store with expensive
    /// round trips searches all in one.
    async fn search_all(
        &self,
        tenant: TenantId,
        searches: Vec<Search>,
    ) -> Result<Vec<Vec<Candidate>>> {
        try_join_all(searches.into_iter().map(async |search| {
            if search.places.is_empty() {
                return Ok(Vec::new());
            }
            self.search(tenant, search).await
        }))
        .await
    }

    /// Lists units, in key order after a key, that have a passage without a vector of this embedder.
    async fn unembedded(
        &self,
        tenant: TenantId,
        embedder: EmbedderKey,
        after: Option<UnitKey>,
        limit: usize,
    ) -> Result<Vec<UnitKey>>;

    /// Lists the first units that name a person, in key order.
    async fn units_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        limit: usize,
    ) -> Result<Vec<UnitKey>>;

    /// Lists the units that have expired.
    async fn expired(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<UnitKey>>;

    /// Returns the number of passages, and of those with a vector of this embedder.
    async fn counts(&self, tenant: TenantId, embedder: Option<EmbedderKey>) -> Result<(u64, u64)>;

    /// Returns the cursor of the tenant's last record in the feed.
    async fn last_cursor(&self, tenant: TenantId) -> Result<u64>;

    /// Returns whether each of these persons has a key: a message of theirs was stored, and they were not erased since.
    async fn known(&self, tenant: TenantId, persons: &[PersonId]) -> Result<bool>;

    /// Returns the most units or facts that one plan of a person's erasure should change; more take several plans. `None` if
    /// there is no limit.
    fn erasure_batch(&self) -> Option<usize> {
        None
    }

    /// Records durably that a person is going to be erased, before the first of several plans. If the process ends before
    /// [`erase_with`](MemoryBackend::erase_with), the next process erases the person. Only called if there is an
    /// [`erasure_batch`](MemoryBackend::erasure_batch).
    async fn prepare_to_erase(&self, _: TenantId, _: PersonId, _: Depth) -> Result<()> {
        Ok(())
    }

    /// Erases from the log, the rows and the index, writes a tombstone, and commits the plan, if the tenant's revision is still
    /// that of the plan; `None` if it is not. Everything becomes unreadable in one transaction. A store may remove unreadable
    /// rows in later transactions, before it returns. By target:
    /// * message: erases the content of its record; the plan erases from the index and the rows;
    /// * conversation: erases its log, inbox and indexed places; the plan erases from the index and the rows;
    /// * person: destroys their keys and erases every record, event, row and unit that names them;
    /// * tenant: erases everything; the plan is ignored.
    ///
    /// A physical erasure also rewrites the files. The receipt counts what the store erased; the memory adds what its plan
    /// erased.
    async fn erase_with(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        plan: Plan,
    ) -> Result<Option<ErasureReceipt>>;
}

/// The kind of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum RowKind {
    /// One row: the language, and the cursor up to which the feed is indexed.
    Settings = 0,
    /// document -> its newest version, without the text.
    Document = 1,
    /// hash of a title -> document.
    Title = 2,
    /// document, version -> the version with its text.
    Text = 3,
    /// document, version, chunk -> a passage.
    Passage = 4,
    /// fact -> the fact.
    Fact = 5,
    /// conversation, index, fact -> nothing: the facts that were learned from a record.
    FactOf = 6,
    /// conversation -> its summary.
    Summary = 7,
    /// conversation -> its channel.
    Home = 8,
    /// channel -> its membership: nobody, one person, or several.
    Channel = 9,
    /// person, channel -> nothing: the direct channels of a person.
    DirectOf = 10,
    /// inverted cursor -> the place of an unanswered question, newest first.
    Gap = 11,
    /// conversation or person -> the revision of the last erasure that concerned it.
    Erased = 12,
}

/// Rows and log ranges to read together.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadRequest {
    /// Rows, each once.
    pub(crate) rows: Vec<(RowKind, Vec<u8>)>,
    /// Ranges of logs.
    pub(crate) logs: Vec<(ConversationId, Range<u64>)>,
}

/// The requested rows and log ranges.
pub(crate) type Read = (Vec<Option<Vec<u8>>>, Vec<Vec<Stored>>);

/// A plan of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The revision that it is based on.
    pub(crate) revision: u64,
    /// Rows to remove.
    pub(crate) remove: Vec<(RowKind, Vec<u8>)>,
    /// Key prefixes of rows to remove.
    pub(crate) clear: Vec<(RowKind, Vec<u8>)>,
    /// Units to remove from the index.
    pub(crate) remove_units: Vec<UnitKey>,
    /// Groups of a space to remove from the index.
    pub(crate) remove_groups: Vec<(Space, Group)>,
    /// Whether to clear the index first.
    pub(crate) clear_index: bool,
    /// Rows to write.
    pub(crate) put: Vec<RowPut>,
    /// Units to add to the index.
    pub(crate) add_units: Vec<Unit>,
    /// Vectors of passages in the index. Those of other units are ignored.
    pub(crate) vectors: Vec<VectorPut>,
    /// Whether the plan may wait for the next commit instead of causing one. A store may ignore it.
    pub(crate) patient: bool,
}

impl Plan {
    /// Returns whether the plan leaves work for the follower: units to embed, or the feed to index again.
    pub(crate) fn leaves_work(&self) -> bool {
        !self.add_units.is_empty() || self.clear_index
    }
}

/// A row to write, sealed to these persons.
#[derive(Clone, Debug)]
pub(crate) struct RowPut {
    pub(crate) kind: RowKind,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) persons: Vec<PersonId>,
}

/// The unit of access control and search: one kind of content of one owner, as a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Space(pub(crate) [u8; 16]);

/// A part of a space: a conversation's id, or nil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group(pub(crate) [u8; 16]);

impl Group {
    /// The group of content outside conversations.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// Returns the group of a conversation.
    pub(crate) fn of(conversation: ConversationId) -> Self {
        Self(*conversation.as_bytes())
    }
}

/// The key of a unit. The item is the id of a document or a fact, or a record's index in the last eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UnitKey {
    pub(crate) space: Space,
    pub(crate) group: Group,
    pub(crate) item: [u8; 16],
}

/// A document, fact or record, analysed. It is added and removed as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    pub(crate) key: UnitKey,
    pub(crate) about: UnitInfo,
    /// Its passages, numbered from 0.
    pub(crate) passages: Vec<Passage>,
}

/// The kind of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum UnitKind {
    /// A document.
    Knowledge = 0,
    /// A record of a conversation.
    History = 1,
    /// A fact.
    Fact = 2,
}

/// The metadata of a unit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UnitInfo {
    pub(crate) what: UnitKind,
    /// The version of a document; 0 for other units.
    pub(crate) version: u32,
    /// When it was said, learned or added.
    pub(crate) at: Timestamp,
    /// Who said it.
    pub(crate) said_by: Option<SaidBy>,
    /// The persons whose words it may contain.
    pub(crate) persons: Vec<PersonId>,
    /// The time from which it is no longer found.
    pub(crate) expires_at: Option<Timestamp>,
    /// For a record, the index of the message directly before it.
    pub(crate) before: Option<u64>,
}

/// The words of a passage, as keyed hashes of their stems, and its vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Passage {
    /// Each stem once, sorted by hash.
    pub(crate) stems: Vec<Stem>,
    /// The total number of terms, including the heading.
    pub(crate) terms: u16,
    /// The normalised vector and its embedder, if already known.
    pub(crate) vector: Option<(EmbedderKey, Vec<f32>)>,
}

/// The occurrences of a stem in a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stem {
    pub(crate) hash: [u8; 16],
    /// In the text.
    pub(crate) text: u16,
    /// In the heading and the title.
    pub(crate) heading: u8,
}

/// Identifies the embedder of stored vectors: a hash of its id and dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EmbedderKey(pub(crate) u64);

/// A normalised vector for a passage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VectorPut {
    pub(crate) unit: UnitKey,
    pub(crate) passage: u32,
    pub(crate) embedder: EmbedderKey,
    pub(crate) vector: Vec<f32>,
}

/// A question, prepared for the search.
///
/// The *collection* is every passage of every unit in the areas. A store returns the best `limit` candidates by `fused`, best
/// first, equal ones by (space, group, item, passage), where
/// * only the [`STEMS`] rarest stems count, by the number of passages in the collection that contain the stem, then by hash.
///   Stems that occur in no passage count only in `coverage`;
/// * `lexical` is the sum of [`Term::score`](crate::bm25::Term::score) over the stems;
/// * `coverage` is the sum of [`Collection::weight`](crate::bm25::Collection::weight) times
///   [`Posting::covers`](crate::bm25::Posting::covers) over the stems in the passage, divided by the sum of the weights of all
///   stems;
/// * `cosine` is the dot product with the question's vector, for passages that have a vector of its embedder;
/// * `fused` is the z-score of `lexical` over the collection (0 for a passage without a stem) plus the z-score of `cosine` over
///   the passages that have one (0 for the others). A z-score is 0 if the population standard deviation is 0;
/// * a passage without any of the stems and without a vector is not a candidate, and neither is one whose time is outside `when`
///   ([`SearchArea::timed`]). Both still count in the collection.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// The areas to search, each once.
    pub(crate) places: Vec<SearchArea>,
    /// The question's stems, each once.
    pub(crate) stems: Vec<WordStem>,
    /// The question's normalised vector.
    pub(crate) vector: Option<(EmbedderKey, Vec<f32>)>,
    /// Only content of this period; the end is exclusive.
    pub(crate) when: Option<(Timestamp, Timestamp)>,
    /// The most candidates.
    pub(crate) limit: usize,
}

/// A stem of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WordStem {
    /// The number of the word. A word has a stem for each language in which the question may be written.
    pub(crate) word: usize,
    pub(crate) hash: [u8; 16],
}

/// The most words of a question that count.
pub(crate) const STEMS: usize = 16;

/// A space to search, or one group of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SearchArea {
    pub(crate) space: Space,
    /// `None` for the whole space.
    pub(crate) group: Option<Group>,
    /// Whether `when` applies here.
    pub(crate) timed: bool,
}

/// A passage that may be relevant to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) unit: UnitKey,
    pub(crate) passage: u32,
    pub(crate) about: UnitInfo,
    pub(crate) lexical: f32,
    pub(crate) coverage: f32,
    /// The number of the question's stems in it.
    pub(crate) stems: u32,
    pub(crate) cosine: Option<f32>,
    /// The lexical score in standard deviations.
    pub(crate) words: f32,
    pub(crate) fused: f32,
}
