//! The index: units, passages, postings and vectors.

use std::collections::{BTreeMap, BTreeSet};

use konstruct_core::{Error, ErrorKind, Result, SaidBy};
use uuid::Uuid;

use super::{
    super::{claim::signed, error::stored, tenant::TenantTx, vault::uuids},
    EmbedderKey, Keys, Plan, UnitKey,
};
use crate::memory::shelf::Unit;

/// The most dimensions of a vector: its row must fit into a page.
const DIMENSIONS: usize = 3_900;

/// Takes out what a plan takes out, and what it puts in anew.
pub(super) async fn take_out(tx: &mut TenantTx, plan: &Plan) -> Result<()> {
    if plan.take_out_all {
        for sql in [
            "delete from konstruct.postings where tenant = $1",
            "delete from konstruct.vectors where tenant = $1",
            "delete from konstruct.passages where tenant = $1",
            "delete from konstruct.unit_persons where tenant = $1",
            "delete from konstruct.sizes where tenant = $1",
            "delete from konstruct.units where tenant = $1",
        ] {
            sqlx::query(sql)
                .bind(tx.id())
                .execute(tx.db())
                .await
                .map_err(stored)?;
        }
        return Ok(());
    }
    let anew = plan.put_in.iter().map(|unit| &unit.key);
    let mut keys: Keys = plan.take_out.iter().chain(anew).collect();
    if !plan.take_out_groups.is_empty() {
        let (spaces, groups): (Vec<_>, Vec<_>) = plan
            .take_out_groups
            .iter()
            .map(|(space, group)| (Uuid::from_bytes(space.0), Uuid::from_bytes(group.0)))
            .unzip();
        let rows: Vec<(Uuid, Uuid, Uuid)> = sqlx::query_as(
            "select u.space, u.grp, u.item
             from unnest($2::uuid[], $3::uuid[]) g(space, grp) cross join lateral (
                 select * from konstruct.units u where u.tenant = $1 and u.space = g.space and u.grp = g.grp offset 0) u",
        )
        .bind(tx.id())
        .bind(spaces)
        .bind(groups)
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        for row in rows {
            keys.push(&super::unit_key(row));
        }
    }
    take_out_units(tx, keys).await
}

/// `offset 0` has each table looked up by its key for each row before it, whatever the planner knows of the tables yet.
const TAKE_OUT: &str = "
with gone as (
    delete from konstruct.units where ctid = any(array(
        select u.at from unnest($2::uuid[], $3::uuid[], $4::uuid[]) k(space, grp, item) cross join lateral (
            select u.ctid as at from konstruct.units u
            where u.tenant = $1 and u.space = k.space and u.grp = k.grp and u.item = k.item offset 0) u))
    returning space, grp, item, persons, stems
), postings as (
    delete from konstruct.postings where ctid = any(array(
        select p.at from (select g.*, unnest(g.stems) as stem from gone g) g cross join lateral (
            select p.ctid as at from konstruct.postings p
            where p.tenant = $1 and p.space = g.space and p.stem = g.stem and p.grp = g.grp and p.item = g.item offset 0) p))
), passages as (
    delete from konstruct.passages where ctid = any(array(
        select p.at from gone g cross join lateral (
            select p.ctid as at from konstruct.passages p
            where p.tenant = $1 and p.space = g.space and p.grp = g.grp and p.item = g.item offset 0) p))
), vectors as (
    delete from konstruct.vectors where ctid = any(array(
        select v.at from gone g cross join lateral (
            select v.ctid as at from konstruct.vectors v
            where v.tenant = $1 and v.space = g.space and v.grp = g.grp and v.item = g.item offset 0) v))
)
delete from konstruct.unit_persons where ctid = any(array(
    select p.at from (select g.*, unnest(g.persons) as person from gone g) g cross join lateral (
        select p.ctid as at from konstruct.unit_persons p
        where p.tenant = $1 and p.person = g.person and p.space = g.space and p.grp = g.grp and p.item = g.item offset 0) p))";

/// Takes units out with all that they have.
pub(super) async fn take_out_units(tx: &mut TenantTx, keys: Keys) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(TAKE_OUT)
        .bind(tx.id())
        .bind(keys.spaces)
        .bind(keys.groups)
        .bind(keys.items)
        .execute(tx.db())
        .await
        .map(drop)
        .map_err(stored)
}

/// Puts units in; of two with one key, the last one.
pub(super) async fn put_in(tx: &mut TenantTx, units: &[Unit]) -> Result<()> {
    let units: BTreeMap<UnitKey, &Unit> = units.iter().map(|unit| (unit.key, unit)).collect();
    if units.is_empty() {
        return Ok(());
    }
    let units: Vec<&Unit> = units.into_values().collect();
    put_units(tx, &units).await?;
    put_passages(tx, &units).await
}

/// Gives out so many numbers of passages, and returns the first. The tenant's head is locked by the commit.
async fn numbers(tx: &mut TenantTx, many: usize) -> Result<i64> {
    let many = signed(many as u64);
    let last: i64 = sqlx::query_scalar(
        "update konstruct.memory_heads set numbered = numbered + $2 where tenant = $1 returning numbered",
    )
    .bind(tx.id())
    .bind(many)
    .fetch_one(tx.db())
    .await
    .map_err(stored)?;
    Ok(last - many + 1)
}

async fn put_units(tx: &mut TenantTx, units: &[&Unit]) -> Result<()> {
    let keys: Keys = units.iter().map(|unit| &unit.key).collect();
    let (mut of, mut persons) = (Vec::new(), Vec::new());
    let (mut stem_of, mut stems) = (Vec::new(), Vec::new());
    for (n, unit) in (1_i64..).zip(units) {
        for person in uuids(&unit.about.persons) {
            of.push(n);
            persons.push(person);
        }
        let all: BTreeSet<_> = unit
            .passages
            .iter()
            .flat_map(|passage| passage.stems.iter().map(|stem| stem.hash))
            .collect();
        for stem in all {
            stem_of.push(n);
            stems.push(Uuid::from_bytes(stem));
        }
    }
    let about =
        |pick: fn(&Unit) -> Option<i64>| units.iter().map(|unit| pick(unit)).collect::<Vec<_>>();
    sqlx::query(
        "with person as (
             select n, array_agg(person order by at) persons
             from unnest($11::bigint[], $12::uuid[]) with ordinality p(n, person, at) group by n
         ), stem as (
             select n, array_agg(stem) stems from unnest($13::bigint[], $14::uuid[]) s(n, stem) group by n
         ), unit as (
             insert into konstruct.units
                 (tenant, space, grp, item, what, version, at, said_by, persons, expires_at, before, stems)
             select $1, u.space, u.grp, u.item, u.what, u.version, u.at, u.said_by, coalesce(p.persons, '{}'),
                 u.expires_at, u.before, coalesce(s.stems, '{}')
             from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                     $9::bigint[], $10::bigint[]) with ordinality
                     u(space, grp, item, what, version, at, said_by, expires_at, before, n)
                 left join person p using (n) left join stem s using (n)
         )
         insert into konstruct.unit_persons (tenant, person, space, grp, item)
         select distinct $1, p.person, u.space, u.grp, u.item
         from unnest($11::bigint[], $12::uuid[]) p(n, person)
             join unnest($2::uuid[], $3::uuid[], $4::uuid[]) with ordinality u(space, grp, item, n) using (n)",
    )
    .bind(tx.id())
    .bind(keys.spaces)
    .bind(keys.groups)
    .bind(keys.items)
    .bind(about(|unit| Some(unit.about.what as i64)))
    .bind(about(|unit| Some(i64::from(unit.about.version))))
    .bind(about(|unit| Some(unit.about.at.as_micros())))
    .bind(about(|unit| unit.about.said_by.map(said_by)))
    .bind(about(|unit| unit.about.expires_at.map(konstruct_core::Timestamp::as_micros)))
    .bind(about(|unit| unit.about.before.map(signed)))
    .bind(of)
    .bind(persons)
    .bind(stem_of)
    .bind(stems)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

fn said_by(who: SaidBy) -> i64 {
    match who {
        SaidBy::Employee => 1,
        _ => 0,
    }
}

async fn put_passages(tx: &mut TenantTx, units: &[&Unit]) -> Result<()> {
    let many = units.iter().map(|unit| unit.passages.len()).sum();
    let mut number = numbers(tx, many).await?;
    let (mut keys, mut passages, mut terms) = (Keys::default(), Vec::new(), Vec::new());
    let (mut ns, mut of) = (Vec::new(), Vec::new());
    let mut held = Keys::default();
    let (mut stems, mut at, mut text, mut heading, mut long) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for unit in units {
        for (n, passage) in (0_i32..).zip(&unit.passages) {
            keys.push(&unit.key);
            passages.push(n);
            terms.push(i32::from(passage.terms));
            ns.push(number);
            for stem in &passage.stems {
                held.push(&unit.key);
                at.push(n);
                of.push(number);
                stems.push(Uuid::from_bytes(stem.hash));
                text.push(i16::try_from(stem.text).unwrap_or(i16::MAX));
                heading.push(i16::from(stem.heading));
                long.push(i32::from(passage.terms));
            }
            number += 1;
        }
    }
    sqlx::query(
        "insert into konstruct.passages (tenant, space, grp, item, passage, terms, n)
         select $1, p.* from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::integer[], $6::integer[], $7::bigint[]) p",
    )
    .bind(tx.id())
    .bind(keys.spaces)
    .bind(keys.groups)
    .bind(keys.items)
    .bind(passages)
    .bind(terms)
    .bind(ns)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    sqlx::query(
        "insert into konstruct.postings (tenant, space, stem, grp, item, passage, text, heading, terms, n)
         select $1, p.space, p.stem, p.grp, p.item, p.passage, p.text, p.heading, p.terms, p.n
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::integer[], $7::smallint[], $8::smallint[],
             $9::integer[], $10::bigint[]) p(space, stem, grp, item, passage, text, heading, terms, n)
         order by p.space, p.stem, p.grp, p.item, p.passage",
    )
    .bind(tx.id())
    .bind(held.spaces)
    .bind(stems)
    .bind(held.groups)
    .bind(held.items)
    .bind(at)
    .bind(text)
    .bind(heading)
    .bind(long)
    .bind(of)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// Vectors of one embedder, one after the other.
#[derive(Default)]
struct Vectors<'a> {
    keys: Keys,
    passages: Vec<i32>,
    dim: usize,
    numbers: Vec<&'a [f32]>,
}

impl<'a> Vectors<'a> {
    fn push(&mut self, unit: &UnitKey, passage: u32, vector: &'a [f32]) -> Result<()> {
        let there = self.numbers.is_empty() || self.dim == vector.len();
        if !there || vector.is_empty() || vector.len() > DIMENSIONS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "a vector has {} dimensions, and may have 1 to {DIMENSIONS}",
                    vector.len()
                ),
            ));
        }
        self.dim = vector.len();
        self.keys.push(unit);
        self.passages
            .push(i32::try_from(passage).unwrap_or(i32::MAX));
        self.numbers.push(vector);
        Ok(())
    }
}

/// Puts vectors to the passages that are there; of two for one passage, the last one.
pub(super) async fn put_vectors(tx: &mut TenantTx, plan: &Plan) -> Result<()> {
    let mut last: BTreeMap<(UnitKey, u32), (EmbedderKey, &[f32])> = BTreeMap::new();
    for unit in &plan.put_in {
        for (n, passage) in (0..).zip(&unit.passages) {
            if let Some((embedder, vector)) = &passage.vector {
                last.insert((unit.key, n), (*embedder, vector));
            }
        }
    }
    for put in &plan.vectors {
        last.insert((put.unit, put.passage), (put.embedder, &put.vector));
    }
    let mut by_embedder: BTreeMap<EmbedderKey, Vectors<'_>> = BTreeMap::new();
    for ((unit, passage), (embedder, vector)) in last {
        let vectors = by_embedder.entry(embedder).or_default();
        vectors.push(&unit, passage, vector)?;
    }
    for (embedder, vectors) in by_embedder {
        write_vectors(tx, embedder, vectors).await?;
    }
    Ok(())
}

async fn write_vectors(
    tx: &mut TenantTx,
    embedder: EmbedderKey,
    vectors: Vectors<'_>,
) -> Result<()> {
    let dim = i32::try_from(vectors.dim).unwrap_or(i32::MAX);
    sqlx::query(
        "insert into konstruct.vectors (tenant, space, grp, item, passage, n, embedder, e)
         select $1, v.space, v.grp, v.item, v.passage, p.n, $7, ($6::real[])[(v.n - 1) * $8 + 1 : v.n * $8]::halfvec
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::integer[]) with ordinality v(space, grp, item, passage, n)
             cross join lateral (
                 select p.n from konstruct.passages p
                 where p.tenant = $1 and p.space = v.space and p.grp = v.grp and p.item = v.item and p.passage = v.passage
                 offset 0) p
         on conflict (tenant, space, grp, item, passage) do update set embedder = excluded.embedder, e = excluded.e",
    )
    .bind(tx.id())
    .bind(vectors.keys.spaces)
    .bind(vectors.keys.groups)
    .bind(vectors.keys.items)
    .bind(vectors.passages)
    .bind(vectors.numbers.concat())
    .bind(embedder.0.cast_signed())
    .bind(dim)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// Counts the groups anew that a plan touched.
pub(super) async fn measure(tx: &mut TenantTx, plan: &Plan) -> Result<()> {
    let units = plan
        .take_out
        .iter()
        .chain(plan.put_in.iter().map(|unit| &unit.key));
    let mut groups: BTreeSet<_> = units.map(|key| (key.space, key.group)).collect();
    groups.extend(plan.take_out_groups.iter().copied());
    measure_groups(tx, groups).await
}

/// Counts groups anew.
pub(super) async fn measure_groups(
    tx: &mut TenantTx,
    groups: BTreeSet<(super::Space, super::Group)>,
) -> Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let (spaces, groups): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .map(|(space, group)| (Uuid::from_bytes(space.0), Uuid::from_bytes(group.0)))
        .unzip();
    sqlx::query(
        "insert into konstruct.sizes (tenant, space, grp, passages, terms)
         select $1, g.space, g.grp, count(p.passage), coalesce(sum(p.terms), 0)
         from unnest($2::uuid[], $3::uuid[]) g(space, grp)
             left join konstruct.passages p on p.tenant = $1 and p.space = g.space and p.grp = g.grp
         group by g.space, g.grp
         on conflict (tenant, space, grp) do update set passages = excluded.passages, terms = excluded.terms",
    )
    .bind(tx.id())
    .bind(spaces)
    .bind(groups)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}
