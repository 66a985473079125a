//! Cosines by graphs: of those that may be among the best, and of no others.
//!
//! A graph tells the nearest. Of what holds a stem, a cosine is looked up where it could lift the passage among the best. What is left
//! then scores less, whatever its cosine is; where that is not so, the graphs do not do.

use std::collections::{HashMap, HashSet};

use konstruct_core::Result;
use uuid::Uuid;

use super::{
    super::{
        error::stored,
        graph::{Graph, MOST, by_graph},
        tenant::TenantTx,
    },
    found::{Slots, Sums, best},
};
use crate::memory::fuse::Distribution;

/// So many times what is wanted is asked for.
const SPARE: usize = 4;
/// More than this part of a graph's vectors is not looked up one by one: to scan them is faster.
const PART: usize = 8;

/// The mean cosine of all vectors of a graph with a question, and that of the squares, by its moments. The question is rounded as it is
/// where it meets a vector.
const MOMENTS: &str = "
with q as materialized (
    select $3::real[]::halfvec::vector as question, $3::real[]::halfvec::vector::real[] as numbers
)
select g.vectors, s.mean, s.square
from q cross join konstruct.graphs g cross join lateral (
    select -sum(case when m.row = 0 then m.e <#> q.question else 0 end) as mean,
        -sum(case when m.row = 0 then 0 else q.numbers[m.row]::float8 * (m.e <#> q.question) end) as square
    from konstruct.moments m
    where m.tenant = $1 and m.space = g.space and m.embedder = g.embedder) s
where g.tenant = $1 and g.space = $2 and g.embedder = $4";

/// The cosines of some passages.
const LOOK_UP: &str = "
select w.n, v.cosine
from unnest($2::bigint[]) w(n) cross join lateral (
    select * from konstruct.passages p where p.tenant = $1 and p.n = w.n offset 0) p
cross join lateral (
    select (-(v.e <#> (select $3::real[]::halfvec)))::real as cosine from konstruct.vectors v
    where v.tenant = $1 and v.space = p.space and v.grp = p.grp and v.item = p.item and v.passage = p.passage
        and v.embedder = $4 offset 0) v";

/// A search by graphs.
pub(super) struct Near<'a> {
    /// The embedder, and the question's vector.
    pub(super) question: (i64, &'a [f32]),
    pub(super) words: Distribution,
    /// How many are wanted.
    pub(super) limit: usize,
}

impl Near<'_> {
    /// Finds the cosines of what may be among the best of spaces that have a graph, by their places; removes what cannot be.
    /// `None`: nobody knows whether that is all, and cosines are not to be relied on.
    pub(super) async fn find(
        &self,
        tx: &mut TenantTx,
        spaces: HashMap<usize, Uuid>,
        others: &Sums,
        slots: &mut Slots,
    ) -> Result<Option<Distribution>> {
        let asked = (self.limit * SPARE).min(MOST);
        sqlx::raw_sql(by_graph(asked))
            .execute(tx.db())
            .await
            .map_err(stored)?;
        let (mut sums, mut least) = (*others, HashMap::new());
        let mut vectors = 0;
        for (place, space) in &spaces {
            let Some(moments) = self.moments(tx, *space).await? else {
                return Ok(None);
            };
            sums.add(&moments);
            vectors += usize::try_from(moments.many).unwrap_or(usize::MAX);
            let near = self.near(tx, *space, asked).await?;
            let Some((_, last)) = near.last().filter(|_| near.len() == asked) else {
                return Ok(None);
            };
            least.insert(*place, *last);
            for (n, cosine) in near {
                let slot = slots.entry(n).or_default();
                slot.place = *place;
                slot.cosine = Some(cosine);
            }
        }
        let meaning = sums.spread();
        // What is no nearer than the last that a graph told of scores no more than this.
        let most = |place: &usize, lexical: f32| {
            let last = least.get(place).map_or(0.0, |last| meaning.z(*last));
            self.words.z(lexical) + last.max(0.0)
        };
        let mut known: HashSet<i64> = HashSet::new();
        let first = slots.iter().filter(|(_, slot)| slot.cosine.is_none());
        let first = first.filter(|(_, slot)| least.contains_key(&slot.place));
        let first = first.map(|(n, slot)| (slot.lexical.score, *n)).collect();
        let mut wanted = best(first, self.limit);
        loop {
            if wanted.len() > vectors / PART {
                return Ok(None);
            }
            let numbers: Vec<i64> = wanted.iter().map(|(_, n)| *n).collect();
            self.look_up(tx, &numbers, slots).await?;
            known.extend(numbers);
            let sure = slots.iter().filter(|(n, slot)| {
                slot.cosine.is_some() || known.contains(n) || !least.contains_key(&slot.place)
            });
            let sure = sure.map(|(n, slot)| (slot.fused(self.words, meaning), *n));
            let sure = best(sure.collect(), self.limit);
            let worst = sure
                .iter()
                .map(|(score, _)| *score)
                .fold(f32::INFINITY, f32::min);
            if sure.len() < self.limit || least.keys().any(|place| most(place, 0.0) > worst) {
                return Ok(None);
            }
            let open = slots.iter().filter(|(n, slot)| {
                slot.cosine.is_none()
                    && !known.contains(n)
                    && least.contains_key(&slot.place)
                    && most(&slot.place, slot.lexical.score) >= worst
            });
            wanted = open.map(|(n, slot)| (slot.lexical.score, *n)).collect();
            if wanted.is_empty() {
                break;
            }
        }
        slots.retain(|n, slot| {
            slot.cosine.is_some() || known.contains(n) || !least.contains_key(&slot.place)
        });
        Ok(Some(meaning))
    }

    /// The sums over all vectors of a space, as they were when its graph was looked at last.
    async fn moments(&self, tx: &mut TenantTx, space: Uuid) -> Result<Option<Sums>> {
        let found: Option<(i64, Option<f64>, Option<f64>)> = sqlx::query_as(MOMENTS)
            .bind(tx.id())
            .bind(space)
            .bind(self.question.1)
            .bind(self.question.0)
            .fetch_optional(tx.db())
            .await
            .map_err(stored)?;
        let Some((vectors, Some(mean), Some(square))) = found else {
            return Ok(None);
        };
        #[expect(clippy::cast_precision_loss, reason = "a count of vectors")]
        let many = vectors as f64;
        Ok(Some(Sums {
            sum: mean * many,
            squares: square * many,
            many: vectors.cast_unsigned(),
        }))
    }

    async fn near(&self, tx: &mut TenantTx, space: Uuid, limit: usize) -> Result<Vec<(i64, f32)>> {
        let graph = Graph {
            tenant: tx.id(),
            space,
            embedder: self.question.0,
            dim: self.question.1.len(),
        };
        sqlx::query_as(graph.near(limit))
            .bind(self.question.1)
            .fetch_all(tx.db())
            .await
            .map_err(stored)
    }

    async fn look_up(&self, tx: &mut TenantTx, numbers: &[i64], slots: &mut Slots) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let found: Vec<(i64, f32)> = sqlx::query_as(LOOK_UP)
            .bind(tx.id())
            .bind(numbers)
            .bind(self.question.1)
            .bind(self.question.0)
            .fetch_all(tx.db())
            .await
            .map_err(stored)?;
        for (n, cosine) in found {
            slots.entry(n).or_default().cosine = Some(cosine);
        }
        Ok(())
    }
}
