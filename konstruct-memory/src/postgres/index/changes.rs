//! Changes of the index: units, passages, postings and vectors.

use std::collections::{BTreeMap, BTreeSet};

use konstruct_core::{Error, ErrorKind, Result, memory::SaidBy};
use uuid::Uuid;

use super::{
    super::{claim::signed, error::stored, tenant::TenantTx, vault::uuids},
    EmbedderKey, Keys, Plan, UnitKey,
};
use crate::memory::backend::Unit;

/// The most dimensions of a vector: its row must fit into a page.
const DIMENSIONS: usize = 3_900;

/// Removes the units that a plan removes, and those that it replaces.
pub(super) async fn remove_units(tx: &mut TenantTx, plan: &Plan) -> Result<()> {
    if plan.clear_index {
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
    let replaced = plan.add_units.iter().map(|unit| &unit.key);
    let mut keys: Keys = plan.remove_units.iter().chain(replaced).collect();
    if !plan.remove_groups.is_empty() {
        let (spaces, groups): (Vec<_>, Vec<_>) = plan
            .remove_groups
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
    remove_by_keys(tx, keys).await
}

/// `offset 0` makes each table be looked up by key for each row before it, whatever the planner's statistics are.
const REMOVE: &str = "
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
    returning space, grp, terms
), sizes as (
    update konstruct.sizes z set passages = z.passages - g.passages, terms = z.terms - g.terms
    from (select p.space, p.grp, count(*) as passages, sum(p.terms) as terms from passages p group by p.space, p.grp) g
    where z.tenant = $1 and z.space = g.space and z.grp = g.grp
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

/// Removes units with all their data.
pub(super) async fn remove_by_keys(tx: &mut TenantTx, keys: Keys) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(REMOVE)
        .bind(tx.id())
        .bind(keys.spaces)
        .bind(keys.groups)
        .bind(keys.items)
        .execute(tx.db())
        .await
        .map(drop)
        .map_err(stored)
}

/// Adds units, with their passages numbered from `first`. Of two units with the same key, the last one counts.
pub(super) async fn add_units(tx: &mut TenantTx, units: &[Unit], first: i64) -> Result<()> {
    let units: BTreeMap<UnitKey, &Unit> = units.iter().map(|unit| (unit.key, unit)).collect();
    if units.is_empty() {
        return Ok(());
    }
    let units: Vec<&Unit> = units.into_values().collect();
    let mut rows = Rows::default();
    rows.put_units(&units);
    rows.put_passages(&units, first);
    rows.write(tx, &units).await
}

/// Writes units with their persons, passages and postings, and adds the passages to the sizes of their groups. The cost depends
/// on the added units, not on the size of the index.
const ADD: &str = "
with person as (
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
), unit_persons as (
    insert into konstruct.unit_persons (tenant, person, space, grp, item)
    select distinct $1, p.person, u.space, u.grp, u.item
    from unnest($11::bigint[], $12::uuid[]) p(n, person)
        join unnest($2::uuid[], $3::uuid[], $4::uuid[]) with ordinality u(space, grp, item, n) using (n)
), passages as (
    insert into konstruct.passages (tenant, space, grp, item, passage, terms, n)
    select $1, p.* from unnest($15::uuid[], $16::uuid[], $17::uuid[], $18::integer[], $19::integer[], $20::bigint[]) p
), sizes as (
    insert into konstruct.sizes as z (tenant, space, grp, passages, terms)
    select $1, p.space, p.grp, count(*), sum(p.terms)
    from unnest($15::uuid[], $16::uuid[], $19::integer[]) p(space, grp, terms) group by p.space, p.grp order by p.space, p.grp
    on conflict (tenant, space, grp) do update set
        passages = z.passages + excluded.passages, terms = z.terms + excluded.terms
)
insert into konstruct.postings (tenant, space, stem, grp, item, passage, text, heading, terms, n)
select $1, p.space, p.stem, p.grp, p.item, p.passage, p.text, p.heading, p.terms, p.n
from unnest($21::uuid[], $22::uuid[], $23::uuid[], $24::uuid[], $25::integer[], $26::smallint[], $27::smallint[],
    $28::integer[], $29::bigint[]) p(space, stem, grp, item, passage, text, heading, terms, n)
order by p.space, p.stem, p.grp, p.item, p.passage";

/// Units as bound by the statement: an array for each column.
#[derive(Debug, Default)]
struct Rows {
    keys: Keys,
    /// The unit of each person and of each stem.
    person_of: Vec<i64>,
    persons: Vec<Uuid>,
    stem_of: Vec<i64>,
    stems: Vec<Uuid>,
    passage_keys: Keys,
    passages: Vec<i32>,
    terms: Vec<i32>,
    numbers: Vec<i64>,
    posting_keys: Keys,
    posting_stems: Vec<Uuid>,
    posting_passages: Vec<i32>,
    text: Vec<i16>,
    heading: Vec<i16>,
    posting_terms: Vec<i32>,
    posting_numbers: Vec<i64>,
}

impl Rows {
    fn put_units(&mut self, units: &[&Unit]) {
        for (n, unit) in (1_i64..).zip(units) {
            self.keys.push(&unit.key);
            for person in uuids(&unit.about.persons) {
                self.person_of.push(n);
                self.persons.push(person);
            }
            let all: BTreeSet<_> = unit
                .passages
                .iter()
                .flat_map(|passage| passage.stems.iter().map(|stem| stem.hash))
                .collect();
            for stem in all {
                self.stem_of.push(n);
                self.stems.push(Uuid::from_bytes(stem));
            }
        }
    }

    /// Adds passages, numbered from `first`.
    fn put_passages(&mut self, units: &[&Unit], first: i64) {
        let mut number = first;
        for unit in units {
            for (n, passage) in (0_i32..).zip(&unit.passages) {
                self.passage_keys.push(&unit.key);
                self.passages.push(n);
                self.terms.push(i32::from(passage.terms));
                self.numbers.push(number);
                for stem in &passage.stems {
                    self.posting_keys.push(&unit.key);
                    self.posting_stems.push(Uuid::from_bytes(stem.hash));
                    self.posting_passages.push(n);
                    self.text.push(i16::try_from(stem.text).unwrap_or(i16::MAX));
                    self.heading.push(i16::from(stem.heading));
                    self.posting_terms.push(i32::from(passage.terms));
                    self.posting_numbers.push(number);
                }
                number += 1;
            }
        }
    }

    async fn write(self, tx: &mut TenantTx, units: &[&Unit]) -> Result<()> {
        let about = |pick: fn(&Unit) -> Option<i64>| {
            units.iter().map(|unit| pick(unit)).collect::<Vec<_>>()
        };
        sqlx::query(ADD)
            .bind(tx.id())
            .bind(self.keys.spaces)
            .bind(self.keys.groups)
            .bind(self.keys.items)
            .bind(about(|unit| Some(unit.about.what as i64)))
            .bind(about(|unit| Some(i64::from(unit.about.version))))
            .bind(about(|unit| Some(unit.about.at.as_micros())))
            .bind(about(|unit| unit.about.said_by.map(said_by)))
            .bind(about(|unit| unit.about.expires_at.map(|at| at.as_micros())))
            .bind(about(|unit| unit.about.before.map(signed)))
            .bind(self.person_of)
            .bind(self.persons)
            .bind(self.stem_of)
            .bind(self.stems)
            .bind(self.passage_keys.spaces)
            .bind(self.passage_keys.groups)
            .bind(self.passage_keys.items)
            .bind(self.passages)
            .bind(self.terms)
            .bind(self.numbers)
            .bind(self.posting_keys.spaces)
            .bind(self.posting_stems)
            .bind(self.posting_keys.groups)
            .bind(self.posting_keys.items)
            .bind(self.posting_passages)
            .bind(self.text)
            .bind(self.heading)
            .bind(self.posting_terms)
            .bind(self.posting_numbers)
            .execute(tx.db())
            .await
            .map(drop)
            .map_err(stored)
    }
}

fn said_by(who: SaidBy) -> i64 {
    match who {
        SaidBy::Employee => 1,
        _ => 0,
    }
}

/// Vectors of one embedder, concatenated.
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
                    "a vector has {} dimensions; allowed are 1 to {DIMENSIONS}",
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

/// Writes the vectors of existing passages. Of two for one passage, the last one counts.
pub(super) async fn put_vectors(tx: &mut TenantTx, plan: &Plan) -> Result<()> {
    let mut last: BTreeMap<(UnitKey, u32), (EmbedderKey, &[f32])> = BTreeMap::new();
    for unit in &plan.add_units {
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
