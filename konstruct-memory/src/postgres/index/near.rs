//! Cosines by graphs, only of passages that may be among the best.
//!
//! A graph returns the nearest vectors. For passages with a stem, a cosine is looked up if it could lift the passage among the
//! best. All others score less whatever their cosine is; if that cannot be shown, the graphs are not used.

use std::collections::{HashMap, HashSet};

use konstruct_core::Result;
use uuid::Uuid;

use super::{
    super::{
        error::stored,
        graph::{Graph, MOST, use_graphs},
        tenant::TenantTx,
    },
    found::{Slots, Sums, best},
};
use crate::memory::fuse::Distribution;

/// The ratio of requested to needed vectors.
const SPARE: usize = 4;
/// If more than one in this many vectors of a graph would be looked up one by one, a scan is faster.
const PART: usize = 8;

/// The mean cosine of all vectors of a graph with a question, and the mean of the squares, from its moments. The question is
/// rounded to half precision where it meets a vector.
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
pub(super) struct GraphSearch<'a> {
    /// The embedder, and the question's vector.
    pub(super) question: (i64, &'a [f32]),
    pub(super) words: Distribution,
    /// The number of passages needed.
    pub(super) limit: usize,
}

impl GraphSearch<'_> {
    /// Finds the cosines of possible best passages of spaces that have a graph, by area, and removes the other passages. `None`
    /// if that may be incomplete; the cosines are then not usable.
    pub(super) async fn find(
        &self,
        tx: &mut TenantTx,
        spaces: HashMap<usize, Uuid>,
        others: &Sums,
        slots: &mut Slots,
    ) -> Result<Option<Distribution>> {
        let asked = (self.limit * SPARE).min(MOST);
        sqlx::raw_sql(use_graphs(asked))
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
        let meaning = sums.distribution();
        // The highest score of a passage that is not nearer than the last vector from the graph.
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

    /// Returns the sums over all vectors of a space at the last run of the graph.
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
