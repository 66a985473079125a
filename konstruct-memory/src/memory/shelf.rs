//! What a store must offer so that the memory can be kept in it: sealed rows, an index of units, and one search.
//!
//! The memory itself (what is a passage, who may see it, how hits are ranked, what an erasure takes along) is written once, over this
//! trait. Every change is planned from what was read and committed if nothing else was committed meanwhile: a tenant's
//! *revision* counts the commits, and every erasure is one.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use konstruct_core::{
    ConversationId, Depth, Erase, PersonId, Result, TenantId, Timestamp,
    memory::{ErasureReceipt, SaidBy},
    store::{Fed, Stored},
};

use super::Embedding;
use crate::seal::TenantKey;

/// A store that the memory is kept in.
#[async_trait]
pub(crate) trait Shelf: fmt::Debug + Send + Sync + 'static {
    /// Begins a session: a shelf for one task of a tenant, which reads in one transaction, and commits in the same if it
    /// `writes`. `None`: the store has none, and reading costs it nothing.
    async fn session(&self, _tenant: TenantId, _writes: bool) -> Result<Option<Box<dyn Shelf>>> {
        Ok(None)
    }

    /// Returns what texts are turned into vectors with.
    fn embedding(&self) -> &Embedding;

    /// Returns the store's time.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads a conversation's log, as [`History::read`](konstruct_core::store::History::read) does.
    async fn log(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>>;

    /// Reads what was said in a part of a log, as [`History::read_said`](konstruct_core::store::History::read_said) does.
    async fn said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.log(tenant, conversation, range).await
    }

    /// Reads the tenant's feed, as [`History::feed`](konstruct_core::store::History::feed) does.
    async fn fed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<Fed>>;

    /// Returns the tenant's key, for hashes of names; makes it when the tenant is new.
    async fn tenant_key(&self, tenant: TenantId) -> Result<Arc<TenantKey>>;

    /// Returns how often the tenant's memory was committed to, from 0.
    async fn revision(&self, tenant: TenantId) -> Result<u64>;

    /// Reads a row, opened. `None`: there is none, or it can no longer be opened.
    async fn get(&self, tenant: TenantId, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Reads rows and what was said in parts of logs, in the order in which they are wanted, as [`get`](Shelf::get) and
    /// [`said`](Shelf::said) do.
    ///
    /// A recall reads here all that its hits show. This one reads each by itself, side by side; a store where a transaction or the
    /// way to it costs something reads all of it in one.
    async fn read(&self, tenant: TenantId, wanted: &Wanted) -> Result<Read> {
        let rows = wanted.rows.iter();
        let rows = try_join_all(rows.map(|(kind, key)| self.get(tenant, *kind, key))).await?;
        let logs = wanted.logs.iter();
        let logs =
            logs.map(|(conversation, range)| self.said(tenant, *conversation, range.clone()));
        Ok((rows, try_join_all(logs).await?))
    }

    /// Reads the rows whose keys begin so and come after one, by key, opened; those that can no longer be opened are left out.
    /// Fewer than `limit` says that there are no more.
    async fn scan(
        &self,
        tenant: TenantId,
        kind: Kind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Writes a plan whole, if the tenant's revision is still the plan's. Returns whether it was. What it puts replaces what
    /// stands there; what it removes need not be there. Removals come first. A plan with a row that names a person without a key is
    /// refused as a [conflict](konstruct_core::ErrorKind::Conflict): no key of a person is made here.
    async fn commit(&self, tenant: TenantId, plan: Plan) -> Result<bool>;

    /// Finds the best passages, see [`Search`].
    async fn search(&self, tenant: TenantId, search: Search) -> Result<Vec<Candidate>>;

    /// Finds the best passages for several questions, in their order. This one asks them side by side; a store where the way to it
    /// costs something asks all of them at once.
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

    /// Lists some units with a passage that has no vector of this embedder, those after a key by key.
    async fn unembedded(
        &self,
        tenant: TenantId,
        embedder: EmbedderKey,
        after: Option<UnitKey>,
        limit: usize,
    ) -> Result<Vec<UnitKey>>;

    /// Lists the first units that name a person, by key.
    async fn units_of(
        &self,
        tenant: TenantId,
        person: PersonId,
        limit: usize,
    ) -> Result<Vec<UnitKey>>;

    /// Lists the units that have expired.
    async fn expired(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<UnitKey>>;

    /// Counts the passages, and those that have a vector of this embedder.
    async fn counts(&self, tenant: TenantId, embedder: Option<EmbedderKey>) -> Result<(u64, u64)>;

    /// Returns the cursor of the tenant's last record in the feed.
    async fn last_cursor(&self, tenant: TenantId) -> Result<u64>;

    /// Returns whether each of these persons has a key: they were heard, and not erased since.
    async fn known(&self, tenant: TenantId, persons: &[PersonId]) -> Result<bool>;

    /// Returns how many units or facts one plan of a person's erasure should change at most; what is more goes in plans before it.
    /// `None`: everything goes in one.
    fn part(&self) -> Option<usize> {
        None
    }

    /// Notes durably that a person is going to be erased, before the first of several plans: should the process end before
    /// [`erase_with`](Shelf::erase_with), the next one erases the person. Only called where there are [parts](Shelf::part).
    async fn prepare_to_erase(&self, _: TenantId, _: PersonId, _: Depth) -> Result<()> {
        Ok(())
    }

    /// Erases from the journal, the rows and the index, with its tombstone, and commits the plan, only if the tenant's revision is still
    /// the plan's; `None` if it is not. From one transaction on nothing of it can be read; a store may remove rows that cannot be read
    /// in later ones, before it answers. Of a
    /// * message: its record's content goes; the plan says what of the index and the rows does;
    /// * conversation: its log, inbox and places go; the plan says what of the index and the rows does;
    /// * person: their keys are destroyed; every record, event, row and unit that names them goes;
    /// * tenant: everything goes, whatever the plan says.
    ///
    /// A physical erasure is followed by a rewriting of the files. The receipt counts what the store did itself; the memory adds
    /// what its plan did.
    async fn erase_with(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        plan: Plan,
    ) -> Result<Option<ErasureReceipt>>;
}

/// What a row is. Rows of a kind are found by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
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
    /// conversation, index, fact -> nothing: what was learned from a record.
    FactOf = 6,
    /// conversation -> its summary.
    Summary = 7,
    /// conversation -> the channel that it is part of.
    Home = 8,
    /// channel -> the person who is alone there, or that there are several or none.
    Channel = 9,
    /// person, channel -> nothing: the channels that are direct for a person.
    DirectOf = 10,
    /// cursor, from the last -> the place of a question that found nothing.
    Gap = 11,
    /// conversation or person -> the revision at which something of it was last erased.
    Erased = 12,
}

/// What is to be read at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Rows, each once.
    pub(crate) rows: Vec<(Kind, Vec<u8>)>,
    /// Parts of logs.
    pub(crate) logs: Vec<(ConversationId, Range<u64>)>,
}

/// The rows that were wanted, and the parts of logs.
pub(crate) type Read = (Vec<Option<Vec<u8>>>, Vec<Vec<Stored>>);

/// A plan of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The revision that it was planned on.
    pub(crate) revision: u64,
    /// Rows to remove.
    pub(crate) remove: Vec<(Kind, Vec<u8>)>,
    /// Rows to remove by what their keys begin with.
    pub(crate) clear: Vec<(Kind, Vec<u8>)>,
    /// Units to take out of the index.
    pub(crate) take_out: Vec<UnitKey>,
    /// Everything to take out of a group of a space.
    pub(crate) take_out_groups: Vec<(Space, Group)>,
    /// Whether to take everything out of the index first.
    pub(crate) take_out_all: bool,
    /// Rows to write.
    pub(crate) put: Vec<RowPut>,
    /// Units to put into the index.
    pub(crate) put_in: Vec<Unit>,
    /// Vectors of passages that are in the index; those of a unit that is not are ignored.
    pub(crate) vectors: Vec<VectorPut>,
    /// Whether a commit that happens anyway is early enough. A store may ignore it.
    pub(crate) patient: bool,
}

impl Plan {
    /// Whether the follower has something to do once it is committed: vectors to make, or the feed to follow anew.
    pub(crate) fn leaves_work(&self) -> bool {
        !self.put_in.is_empty() || self.take_out_all
    }
}

/// A row to write: sealed to these persons.
#[derive(Clone, Debug)]
pub(crate) struct RowPut {
    pub(crate) kind: Kind,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) persons: Vec<PersonId>,
}

/// What one recall looks through: a kind of thing and its owner, as a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Space(pub(crate) [u8; 16]);

/// A part of a space: a conversation's id, or nil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group(pub(crate) [u8; 16]);

impl Group {
    /// What belongs to no conversation.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// A conversation.
    pub(crate) fn of(conversation: ConversationId) -> Self {
        Self(*conversation.as_bytes())
    }
}

/// Where a unit stands. The item is the id of a document or a fact, or the index of a record in the last eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UnitKey {
    pub(crate) space: Space,
    pub(crate) group: Group,
    pub(crate) item: [u8; 16],
}

/// A document, a fact or a record, analysed: what is put in and taken out as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    pub(crate) key: UnitKey,
    pub(crate) about: UnitInfo,
    /// Its passages, numbered from 0.
    pub(crate) passages: Vec<Passage>,
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum What {
    /// A document.
    Knowledge = 0,
    /// A record of a conversation.
    History = 1,
    /// A fact.
    Fact = 2,
}

/// What is known of a unit besides its words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UnitInfo {
    pub(crate) what: What,
    /// The version of a document; 0 for others.
    pub(crate) version: u32,
    /// When it was said, learned or added.
    pub(crate) at: Timestamp,
    /// Who said it.
    pub(crate) said_by: Option<SaidBy>,
    /// Whose words it may hold.
    pub(crate) persons: Vec<PersonId>,
    /// From when on it is not found any more.
    pub(crate) expires_at: Option<Timestamp>,
    /// The index of the record that was said right before, for a record.
    pub(crate) before: Option<u64>,
}

/// The words of a passage, as keyed hashes of their stems, and its vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Passage {
    /// Each stem once, by hash.
    pub(crate) stems: Vec<Stem>,
    /// How many terms it has in all, those of the heading included.
    pub(crate) terms: u16,
    /// Its vector of length 1, if it is known already, and whose it is.
    pub(crate) vector: Option<(EmbedderKey, Vec<f32>)>,
}

/// How often a stem stands in a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stem {
    pub(crate) hash: [u8; 16],
    /// In the text.
    pub(crate) text: u16,
    /// In the heading and the title.
    pub(crate) heading: u8,
}

/// What vectors are kept under: a hash of the embedder's id and its dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EmbedderKey(pub(crate) u64);

/// A vector of length 1 for a passage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VectorPut {
    pub(crate) unit: UnitKey,
    pub(crate) passage: u32,
    pub(crate) embedder: EmbedderKey,
    pub(crate) vector: Vec<f32>,
}

/// A question, ready to be searched for.
///
/// The *collection* is every passage of every unit in the places. A store answers with the best `limit` of it by
/// `fused`, best first, equal ones by (space, group, item, passage), where
/// * of the stems, only the [`STEMS`] rarest count (the number of the collection's passages that hold the stem; equal ones by hash), and those that stand in no
///   passage weigh in `coverage` alone;
/// * `lexical` is the sum of [`Term::score`](crate::bm25::Term::score) over the stems;
/// * `coverage` is the sum of [`Collection::weight`](crate::bm25::Collection::weight) times
///   [`Posting::covers`](crate::bm25::Posting::covers) over the stems that the passage holds, divided by the sum of the weights of all of the stems;
/// * `cosine` is the dot product with the question's vector, for passages that have a vector of its embedder;
/// * `fused` is the z-score of `lexical` over the collection (a passage without a stem counts as 0) plus the z-score of `cosine`
///   over the passages that have one (0 for a passage without); a z-score is 0 where the standard deviation (of the population) is;
/// * a passage that neither holds a stem nor has a vector is no candidate, nor is one of another time than `when`
///   ([`Place::timed`]); both count in the collection all the same.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// Where to look, each place once.
    pub(crate) places: Vec<Place>,
    /// Hashes of the question's stems, each once.
    pub(crate) stems: Vec<[u8; 16]>,
    /// The question's vector of length 1.
    pub(crate) vector: Option<(EmbedderKey, Vec<f32>)>,
    /// Only what is of such a time, the end excluded.
    pub(crate) when: Option<(Timestamp, Timestamp)>,
    /// How many at most.
    pub(crate) limit: usize,
}

/// The most stems of a question that count.
pub(crate) const STEMS: usize = 16;

/// A space to look in, or one group of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) space: Space,
    /// `None`: all of the space.
    pub(crate) group: Option<Group>,
    /// Whether `when` applies here.
    pub(crate) timed: bool,
}

/// A passage that may bear on a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) unit: UnitKey,
    pub(crate) passage: u32,
    pub(crate) about: UnitInfo,
    pub(crate) lexical: f32,
    pub(crate) coverage: f32,
    /// How many of the stems it holds.
    pub(crate) stems: u32,
    pub(crate) cosine: Option<f32>,
    pub(crate) fused: f32,
}
