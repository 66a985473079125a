//! Graphs over the vectors of large spaces: partial HNSW indexes, used only by statements that name the tenant and the space.
//!
//! A graph returns neighbours, but not all distances. The mean and deviation of all cosines are computed from the
//! [`moments`](moments::Moments).

mod make;
mod moments;

use konstruct_core::TenantId;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

pub(super) use self::make::make;

/// The number of neighbours of a vector in a graph, and the number of candidates they are chosen from (HNSW `m`,
/// `ef_construction`).
const NEIGHBOURS: u32 = 16;
const CANDIDATES: u32 = 128;
/// The most vectors that a graph search visits: the limit of pgvector.
const MAX_VISITED: usize = 1_000;
/// The ratio of visited to requested vectors.
const VISITED_RATIO: usize = 2;

/// The most vectors that can be requested from a graph.
pub(super) const MOST: usize = MAX_VISITED / 2;

/// The vectors of one embedder in one space of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Graph {
    pub(super) tenant: Uuid,
    pub(super) space: Uuid,
    pub(super) embedder: i64,
    pub(super) dim: usize,
}

/// Its statements consist of constants, UUIDs and numbers, so they are safe. Values are literals, because the planner must know
/// without parameters that the index applies.
impl Graph {
    /// Returns the name of the index. A space is a hash with its tenant's key, so the name is unique.
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
             with (m = {NEIGHBOURS}, ef_construction = {CANDIDATES}) where {which}"
        ))
    }

    /// Returns a query for the nearest vectors, best first: their numbers and their dot products with a question.
    pub(super) fn near(&self, limit: usize) -> AssertSqlSafe<String> {
        let (which, dim) = (self.which(), self.dim);
        AssertSqlSafe(format!(
            "select n, (-(e::halfvec({dim}) <#> $1::real[]::halfvec({dim})))::real from konstruct.vectors where {which}
             order by e::halfvec({dim}) <#> $1::real[]::halfvec({dim}) limit {limit}"
        ))
    }
}

/// Makes the rest of a transaction use graphs: with sorting disabled, no other plan returns the requested order. A scan continues
/// until it has found enough vectors that the transaction may see.
pub(super) fn use_graphs(limit: usize) -> AssertSqlSafe<String> {
    let visited = (limit * VISITED_RATIO).clamp(200, MAX_VISITED);
    AssertSqlSafe(format!(
        "set local enable_sort = off; set local hnsw.iterative_scan = strict_order; set local hnsw.ef_search = {visited}"
    ))
}

fn drop_index(name: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "drop index concurrently if exists konstruct.{name}"
    ))
}

/// A graph that was created or tested by [`Postgres::index_vectors`](super::Postgres::index_vectors).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VectorIndex {
    /// The tenant of the vectors.
    pub tenant: TenantId,
    /// The number of vectors.
    pub vectors: u64,
    /// The share of the ten nearest vectors that it found, over several questions.
    pub recall: f64,
    /// Whether recalls use it: it found all of them.
    pub used: bool,
}
