//! The search: words and meaning, added up in one statement.

use konstruct_core::{PersonId, Result, SaidBy, TenantId};
use sqlx::{FromRow, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    super::{
        Inner,
        claim::signed,
        error::{corrupt, stored},
        tenant::Mode,
        time::time,
    },
    Candidate, Search, unit_key,
};
use crate::memory::shelf::{STEMS, UnitInfo, What};

/// `hit`: the postings of the question's stems in the places. `lexical`: BM25 by the rarest of them. `cosine`: the dot product
/// with every vector in the places. `fused`: the sum of their z-scores.
///
/// `offset 0` has each table looked up by its key for each of the few rows before it, whatever the planner knows of it yet.
const SEARCH: &str = "
with place as (
    select * from unnest($2::uuid[], $3::uuid[], $4::boolean[]) l(space, grp, timed)
), size as (
    select coalesce(sum(z.passages), 0)::float8 as passages,
        greatest(coalesce(sum(z.terms)::float8 / greatest(sum(z.passages), 1), 0), 1) as average
    from place l cross join lateral (
        select * from konstruct.sizes z where z.tenant = $1 and z.space = l.space and (l.grp is null or z.grp = l.grp) offset 0) z
), hit as materialized (
    select p.space, p.grp, p.item, p.passage, p.stem, p.text + 2.5::float8 * p.heading as often, p.heading, p.terms
    from place l cross join lateral (
        select * from konstruct.postings p
        where p.tenant = $1 and p.space = l.space and p.stem = any($5::uuid[]) and (l.grp is null or p.grp = l.grp) offset 0) p
), stem as (
    select stem, coalesce(n, 0)::float8 as n
    from unnest($5::uuid[]) s(stem) left join (select stem, count(*) as n from hit group by stem) d using (stem)
), weighed as materialized (
    select stem,
        ln(1 + greatest(passages - n + 0.5, 0) / (n + 0.5)) as rarity,
        ln(1 + greatest(greatest(passages, 50) - n + 0.5, 0) / (n + 0.5)) as weight,
        row_number() over (order by n = 0, n, stem) as rank
    from stem, size
), lexical as materialized (
    select space, grp, item, passage,
        sum(rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * terms / average))) as score,
        sum(weight * case when heading > 0 then 1 else 0.85 end) / (select sum(weight) from weighed) as coverage,
        count(*) as stems
    from hit join weighed using (stem), size
    where rank <= $11 group by space, grp, item, passage
), cosine as materialized (
    select v.space, v.grp, v.item, v.passage, v.cosine
    from place l cross join lateral (
        select v.space, v.grp, v.item, v.passage, -(v.e <#> (select $6::real[]::halfvec)) as cosine
        from konstruct.vectors v
        where v.tenant = $1 and v.space = l.space and (l.grp is null or v.grp = l.grp) and v.embedder = $7 offset 0) v
), words as (
    select coalesce(sum(score), 0) / greatest(passages, 1) as mean,
        sqrt(greatest(coalesce(sum(score * score), 0) / greatest(passages, 1)
            - (coalesce(sum(score), 0) / greatest(passages, 1)) ^ 2, 0)) as deviation
    from size left join lexical on true group by passages
), meaning as (
    select coalesce(avg(cosine), 0) as mean, coalesce(stddev_pop(cosine), 0) as deviation from cosine
), fused as (
    select space, grp, item, passage, coalesce(score, 0) as score, coalesce(coverage, 0) as coverage,
        coalesce(stems, 0) as stems, cosine,
        case when words.deviation < 1e-6 then 0 else (coalesce(score, 0) - words.mean) / words.deviation end
        + case when cosine is null or meaning.deviation < 1e-6 then 0
               else (cosine - meaning.mean) / meaning.deviation end as fused
    from lexical full join cosine using (space, grp, item, passage), words, meaning
), best as (
    select * from fused f
    where $8::bigint is null
        or not (select bool_or(l.timed) from place l where l.space = f.space)
        or exists (select from konstruct.units u
                   where u.tenant = $1 and u.space = f.space and u.grp = f.grp and u.item = f.item
                       and u.at >= $8 and u.at < $9)
    order by fused desc, space, grp, item, passage limit $10
)
select b.space, b.grp, b.item, b.passage, b.score, b.coverage, b.stems, b.cosine, b.fused,
    u.what, u.version, u.at, u.said_by, u.persons, u.expires_at, u.before
from best b cross join lateral (
    select * from konstruct.units u where u.tenant = $1 and u.space = b.space and u.grp = b.grp and u.item = b.item offset 0) u
order by b.fused desc, b.space, b.grp, b.item, b.passage";

impl Inner {
    pub(super) async fn find(&self, tenant: TenantId, search: &Search) -> Result<Vec<Candidate>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let spaces: Vec<_> = search
            .places
            .iter()
            .map(|place| Uuid::from_bytes(place.space.0))
            .collect();
        let groups: Vec<_> = search
            .places
            .iter()
            .map(|place| place.group.map(|group| Uuid::from_bytes(group.0)))
            .collect();
        let timed: Vec<_> = search.places.iter().map(|place| place.timed).collect();
        let stems: Vec<_> = search.stems.iter().copied().map(Uuid::from_bytes).collect();
        let vector = search.vector.as_ref();
        let rows = sqlx::query(SEARCH)
            .bind(tx.id())
            .bind(spaces)
            .bind(groups)
            .bind(timed)
            .bind(stems)
            .bind(vector.map(|(_, vector)| vector.as_slice()))
            .bind(vector.map(|(embedder, _)| embedder.0.cast_signed()))
            .bind(search.when.map(|(from, _)| from.as_micros()))
            .bind(search.when.map(|(_, to)| to.as_micros()))
            .bind(signed(search.limit as u64))
            .bind(signed(STEMS as u64))
            .fetch_all(tx.db())
            .await
            .map_err(stored)?;
        tx.commit().await?;
        rows.iter().map(candidate).collect()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn candidate(row: &PgRow) -> Result<Candidate> {
    let key: (Uuid, Uuid, Uuid) = FromRow::from_row(row).map_err(stored)?;
    let number = |name: &str| row.try_get::<f64, _>(name).map_err(stored);
    let passage: i32 = row.try_get("passage").map_err(stored)?;
    let stems: i64 = row.try_get("stems").map_err(stored)?;
    let cosine: Option<f64> = row.try_get("cosine").map_err(stored)?;
    Ok(Candidate {
        unit: unit_key(key),
        passage: u32::try_from(passage).map_err(|_| corrupt())?,
        about: about(row)?,
        lexical: number("score")? as f32,
        coverage: number("coverage")?.clamp(0.0, 1.0) as f32,
        stems: u32::try_from(stems).map_err(|_| corrupt())?,
        cosine: cosine.map(|cosine| cosine as f32),
        fused: number("fused")? as f32,
    })
}

fn about(row: &PgRow) -> Result<UnitInfo> {
    let what: i16 = row.try_get("what").map_err(stored)?;
    let version: i32 = row.try_get("version").map_err(stored)?;
    let said_by: Option<i16> = row.try_get("said_by").map_err(stored)?;
    let persons: Vec<Uuid> = row.try_get("persons").map_err(stored)?;
    let expires_at: Option<i64> = row.try_get("expires_at").map_err(stored)?;
    let before: Option<i64> = row.try_get("before").map_err(stored)?;
    Ok(UnitInfo {
        what: match what {
            0 => What::Knowledge,
            1 => What::History,
            2 => What::Fact,
            _ => return Err(corrupt()),
        },
        version: u32::try_from(version).map_err(|_| corrupt())?,
        at: time(row.try_get("at").map_err(stored)?),
        said_by: said_by.map(|who| {
            if who == 1 {
                SaidBy::Employee
            } else {
                SaidBy::Person
            }
        }),
        persons: persons
            .iter()
            .map(|person| PersonId::from_bytes(*person.as_bytes()))
            .collect(),
        expires_at: expires_at.map(time),
        before: before.map(i64::cast_unsigned),
    })
}
