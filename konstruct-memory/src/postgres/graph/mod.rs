//! Graphs over the vectors of large spaces: partial HNSW indexes, which only a statement that names tenant and space can use.
//!
//! A graph knows neighbours, and not all distances: the mean and the deviation of all cosines come from what
//! [`moments`](moments::Moments) keeps.

mod make;
mod moments;

use konstruct_core::TenantId;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

pub(super) use self::make::make;

/// How many neighbours a vector of a graph has, and among how many they are chosen.
const NEIGHBOURS: u32 = 16;
const CHOSEN_AMONG: u32 = 128;
/// The most vectors that a graph looks at for a question: what pgvector allows.
const LOOKED_AT: usize = 1_000;
/// How many times as many vectors are looked at for a question as are wanted.
const SPARE: usize = 2;

/// The most that a graph is asked for at once.
pub(super) const MOST: usize = LOOKED_AT / 2;

/// The vectors of one embedder in one space of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Graph {
    pub(super) tenant: Uuid,
    pub(super) space: Uuid,
    pub(super) embedder: i64,
    pub(super) dim: usize,
}

/// All statements of it are made of constants, UUIDs and numbers, so they are safe. They name what they mean as literals: the planner
/// must know before it sees values that the index serves.
impl Graph {
    /// The name of the index. A space is a hash under its tenant's key: no two tenants have the same.
    pub(super) fn name(&self) -> String {
        let (space, embedder) = (self.space.simple(), self.embedder.cast_unsigned());
        format!("graph_{space}_{embedder:016x}")
    }

    fn which(&self) -> String {
        let Self {
            tenant,
            space,
            embedder,
            ..
        } = self;
        format!("tenant = '{tenant}' and space = '{space}' and embedder = {embedder}")
    }

    fn create(&self) -> AssertSqlSafe<String> {
        let (name, which, dim) = (self.name(), self.which(), self.dim);
        AssertSqlSafe(format!(
            "create index concurrently {name} on konstruct.vectors using hnsw ((e::halfvec({dim})) halfvec_ip_ops)
             with (m = {NEIGHBOURS}, ef_construction = {CHOSEN_AMONG}) where {which}"
        ))
    }

    /// Finds the nearest, best first: their numbers and their dot products with a question.
    pub(super) fn near(&self, limit: usize) -> AssertSqlSafe<String> {
        let (which, dim) = (self.which(), self.dim);
        AssertSqlSafe(format!(
            "select n, (-(e::halfvec({dim}) <#> $1::real[]::halfvec({dim})))::real from konstruct.vectors where {which}
             order by e::halfvec({dim}) <#> $1::real[]::halfvec({dim}) limit {limit}"
        ))
    }
}

/// Has the rest of a transaction use graphs: no other way is in the order that is asked for without sorting. A scan goes on until
/// enough is found of what the transaction may see.
pub(super) fn by_graph(limit: usize) -> AssertSqlSafe<String> {
    let looked_at = (limit * SPARE).clamp(200, LOOKED_AT);
    AssertSqlSafe(format!(
        "set local enable_sort = off; set local hnsw.iterative_scan = strict_order; set local hnsw.ef_search = {looked_at}"
    ))
}

fn drop_index(name: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "drop index concurrently if exists konstruct.{name}"
    ))
}

/// A graph that was made or looked at, as [`Postgres::index_vectors`](super::Postgres::index_vectors) tells of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VectorIndex {
    /// Whose vectors they are.
    pub tenant: TenantId,
    /// How many.
    pub vectors: u64,
    /// Which share of the ten nearest it found, over some questions.
    pub recall: f64,
    /// Whether recalls use it: it found all of them.
    pub used: bool,
}
