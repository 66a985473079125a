//! The search: the database returns postings and cosines by number, and they are combined here.

use std::collections::{BTreeSet, HashMap, HashSet};

use konstruct_core::{PersonId, Result, TenantId, memory::SaidBy};
use sqlx::{FromRow, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    super::{
        Inner,
        error::{corrupt, stored},
        graph,
        tenant::{Mode, TenantTx},
        time::time,
    },
    Candidate, Search,
    found::{Slots, Sums, best},
    near::GraphSearch,
    unit_key,
};
use crate::{
    bm25::{Collection, Posting},
    memory::{
        backend::{SearchArea, UnitInfo, UnitKind, WordStem},
        fuse::{self, Distribution, Postings},
    },
};

/// The number of passages in each area, their terms, and whether its space has a graph of the question's embedder.
///
/// Here and below, `offset 0` makes each table be looked up by key for each of the few rows before it, whatever the planner's
/// statistics are.
const SIZE: &str = "
select l.i, z.passages, z.terms, exists (select from konstruct.graphs g
    where g.tenant = $1 and g.space = l.space and g.embedder = $4 and g.dim = $5)
from unnest($2::uuid[], $3::uuid[]) with ordinality l(space, grp, i) cross join lateral (
    select coalesce(sum(z.passages), 0)::bigint as passages, coalesce(sum(z.terms), 0)::bigint as terms
    from (select * from konstruct.sizes z
          where z.tenant = $1 and z.space = l.space and (l.grp is null or z.grp = l.grp) offset 0) z) z";

/// The postings of each stem in each area.
const POSTINGS: &str = "
select l.i, s.i, p.n, p.text, p.heading, p.terms
from unnest($2::uuid[], $3::uuid[]) with ordinality l(space, grp, i)
    cross join unnest($4::uuid[]) with ordinality s(stem, i)
    cross join lateral (
        select array_agg(p.n) n, array_agg(p.text) as text, array_agg(p.heading) heading, array_agg(p.terms) terms
        from (select * from konstruct.postings p
              where p.tenant = $1 and p.space = l.space and p.stem = s.stem and (l.grp is null or p.grp = l.grp) offset 0) p) p
where p.n is not null";

/// The dot product of the question with every vector of its embedder in each area.
const COSINES: &str = "
select l.i, v.n, v.cosine
from unnest($2::uuid[], $3::uuid[]) with ordinality l(space, grp, i) cross join lateral (
    select array_agg(v.n) n, array_agg(v.cosine) cosine
    from (select v.n, (-(v.e <#> (select $4::real[]::halfvec)))::real as cosine from konstruct.vectors v
          where v.tenant = $1 and v.space = l.space and (l.grp is null or v.grp = l.grp) and v.embedder = $5 offset 0) v) v
where v.n is not null";

/// The passages in areas that are of a time.
const TIMED: &str = "
select p.n from unnest($2::uuid[], $3::uuid[]) l(space, grp) cross join lateral (
    select * from konstruct.units u
    where u.tenant = $1 and u.space = l.space and (l.grp is null or u.grp = l.grp) and u.at >= $4 and u.at < $5 offset 0) u
cross join lateral (
    select p.n from konstruct.passages p
    where p.tenant = $1 and p.space = u.space and p.grp = u.grp and p.item = u.item offset 0) p";

/// The metadata of passages.
const PASSAGES: &str = "
select p.n, p.space, p.grp, p.item, p.passage, u.what, u.version, u.at, u.said_by, u.persons, u.expires_at, u.before
from unnest($2::bigint[]) w(n) cross join lateral (
    select * from konstruct.passages p where p.tenant = $1 and p.n = w.n offset 0) p
cross join lateral (
    select * from konstruct.units u where u.tenant = $1 and u.space = p.space and u.grp = p.grp and u.item = p.item offset 0) u";

/// Areas as bound by a statement: an array for each part.
#[derive(Debug, Default)]
struct Areas {
    /// The position of each area in the search.
    of: Vec<usize>,
    spaces: Vec<Uuid>,
    groups: Vec<Option<Uuid>>,
}

impl<'a> FromIterator<(usize, &'a SearchArea)> for Areas {
    fn from_iter<I: IntoIterator<Item = (usize, &'a SearchArea)>>(iter: I) -> Self {
        let mut places = Self::default();
        for (at, place) in iter {
            places.of.push(at);
            places.spaces.push(Uuid::from_bytes(place.space.0));
            let group = place.group.map(|group| Uuid::from_bytes(group.0));
            places.groups.push(group);
        }
        places
    }
}

impl Areas {
    /// Converts an area number of a statement, counted from 1, to its position in the search.
    fn of(&self, number: i64) -> Result<usize> {
        let at = usize::try_from(number - 1).map_err(|_| corrupt())?;
        self.of.get(at).copied().ok_or_else(corrupt)
    }
}

/// The size of the searched collection.
struct Size {
    collection: Collection,
    /// The spaces that have a graph.
    graphs: Vec<Uuid>,
}

impl Inner {
    /// Finds the best passages. All its statements see the same snapshot.
    pub(super) async fn find(&self, tenant: TenantId, search: &Search) -> Result<Vec<Candidate>> {
        let mut tx = self.db.tenant(tenant, Mode::Snapshot).await?;
        find(&mut tx, search).await
    }
}

/// Finds the best passages.
pub(super) async fn find(tx: &mut TenantTx, search: &Search) -> Result<Vec<Candidate>> {
    let mut found = find_each(tx, std::slice::from_ref(search)).await?;
    Ok(found.pop().unwrap_or_default())
}

/// The result of one search before its passages are read.
struct Scored {
    slots: Slots,
    words: Distribution,
    meaning: Distribution,
    best: Vec<i64>,
}

/// Runs several searches. Sizes, postings and passages of all of them are read together.
pub(super) async fn find_each(
    tx: &mut TenantTx,
    searches: &[Search],
) -> Result<Vec<Vec<Candidate>>> {
    if searches.is_empty() {
        return Ok(Vec::new());
    }
    let sizes = sizes(tx, searches).await?;
    let postings = postings(tx, searches).await?;
    let mut all = Vec::with_capacity(searches.len());
    for ((search, size), stems) in searches.iter().zip(&sizes).zip(postings) {
        let mut slots = Slots::default();
        let words = score_words(size.collection, stems, &mut slots);
        let meaning = score_vectors(tx, search, (&size.graphs, words), &mut slots).await?;
        let of_time = of_time(tx, search).await?;
        let scored = slots.iter().filter(|(n, slot)| {
            let timed = search
                .places
                .get(slot.place)
                .is_some_and(|place| place.timed);
            let of_time = of_time.as_ref().filter(|_| timed);
            of_time.is_none_or(|all| all.contains(n))
        });
        let scored = scored.map(|(n, slot)| (slot.fused(words, meaning), *n));
        let best = best(scored.collect(), search.limit);
        all.push(Scored {
            best: best.into_iter().map(|(_, n)| n).collect(),
            slots,
            words,
            meaning,
        });
    }
    let numbers: BTreeSet<i64> = all
        .iter()
        .flat_map(|one| one.best.iter().copied())
        .collect();
    let mut rows = HashMap::new();
    if !numbers.is_empty() {
        let read = sqlx::query(PASSAGES)
            .bind(tx.id())
            .bind(numbers.into_iter().collect::<Vec<_>>())
            .fetch_all(tx.db())
            .await
            .map_err(stored)?;
        for row in read {
            let n: i64 = row.try_get("n").map_err(stored)?;
            rows.insert(n, row);
        }
    }
    let each = searches.iter().zip(&all).map(|(search, one)| {
        let read = one.best.iter().filter_map(|n| rows.get(n));
        let found = read.map(|row| candidate(row, &one.slots, (one.words, one.meaning)));
        let mut found = found.collect::<Result<Vec<_>>>()?;
        found.sort_by(|a, b| {
            let by_score = b.fused.total_cmp(&a.fused);
            by_score.then_with(|| (a.unit, a.passage).cmp(&(b.unit, b.passage)))
        });
        found.truncate(search.limit);
        Ok(found)
    });
    each.collect()
}

/// Returns the areas of all searches, concatenated.
fn all_areas(searches: &[Search]) -> Areas {
    let places = searches.iter().flat_map(|search| &search.places);
    places.enumerate().collect()
}

/// Returns for each of the areas of all searches its search and its position there.
fn belonging(searches: &[Search]) -> Vec<(usize, usize)> {
    let of = |(n, search): (usize, &Search)| (0..search.places.len()).map(move |at| (n, at));
    searches.iter().enumerate().flat_map(of).collect()
}

async fn sizes(tx: &mut TenantTx, searches: &[Search]) -> Result<Vec<Size>> {
    let (places, of) = (all_areas(searches), belonging(searches));
    // Graphs cannot filter by time.
    let by_graph = |search: &Search| search.when.is_none() && search.limit <= graph::MOST;
    let vector = searches.iter().find_map(|search| search.vector.as_ref());
    let rows: Vec<(i64, i64, i64, bool)> = sqlx::query_as(SIZE)
        .bind(tx.id())
        .bind(&places.spaces)
        .bind(&places.groups)
        .bind(vector.map(|(embedder, _)| embedder.0.cast_signed()))
        .bind(vector.map(|(_, question)| i32::try_from(question.len()).unwrap_or(i32::MAX)))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
    let none = || Size {
        collection: Collection {
            chunks: 0,
            terms: 0,
        },
        graphs: Vec::new(),
    };
    let mut sizes: Vec<Size> = searches.iter().map(|_| none()).collect();
    for (number, chunks, terms, graph) in rows {
        let at = places.of(number)?;
        let (search, _) = of.get(at).copied().ok_or_else(corrupt)?;
        let size = &mut sizes[search];
        size.collection.chunks += chunks.cast_unsigned();
        size.collection.terms += terms.cast_unsigned();
        if graph && by_graph(&searches[search]) {
            size.graphs.push(places.spaces[at]);
        }
    }
    Ok(sizes)
}

/// The postings of each stem of a search, each with its passage and area.
type Stems = Vec<Postings<(i64, usize)>>;

/// Reads the postings of the searches' stems in their areas.
async fn postings(tx: &mut TenantTx, searches: &[Search]) -> Result<Vec<Stems>> {
    let (places, of) = (all_areas(searches), belonging(searches));
    let stems: BTreeSet<[u8; 16]> = searches
        .iter()
        .flat_map(|search| search.stems.iter().map(|stem| stem.hash))
        .collect();
    let stems: Vec<_> = stems.into_iter().collect();
    let mut all: Vec<Stems> = searches
        .iter()
        .map(|search| {
            let postings = |stem: &WordStem| Postings {
                stem: *stem,
                passages: Vec::new(),
            };
            search.stems.iter().map(postings).collect()
        })
        .collect();
    if stems.is_empty() {
        return Ok(all);
    }
    type Row = (i64, i64, Vec<i64>, Vec<i16>, Vec<i16>, Vec<i32>);
    let rows: Vec<Row> = sqlx::query_as(POSTINGS)
        .bind(tx.id())
        .bind(&places.spaces)
        .bind(&places.groups)
        .bind(
            stems
                .iter()
                .copied()
                .map(Uuid::from_bytes)
                .collect::<Vec<_>>(),
        )
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
    for (place, stem, ns, text, heading, terms) in rows {
        let (search, place) = of.get(places.of(place)?).copied().ok_or_else(corrupt)?;
        let stem = usize::try_from(stem - 1).map_err(|_| corrupt())?;
        let hash = stems.get(stem).ok_or_else(corrupt)?;
        // It may belong to another search.
        let Some(stem) = all[search]
            .iter_mut()
            .find(|postings| postings.stem.hash == *hash)
        else {
            continue;
        };
        stem.passages.reserve(ns.len());
        for (((n, text), heading), terms) in ns.into_iter().zip(text).zip(heading).zip(terms) {
            let posting = Posting {
                text: u16::try_from(text).map_err(|_| corrupt())?,
                heading: u8::try_from(heading).map_err(|_| corrupt())?,
                terms: u16::try_from(terms).map_err(|_| corrupt())?,
            };
            stem.passages.push(((n, place), posting));
        }
    }
    Ok(all)
}

/// Scores the passages that contain one of the stems.
fn score_words(size: Collection, stems: Stems, slots: &mut Slots) -> Distribution {
    let most = stems.iter().map(|stem| stem.passages.len()).max();
    slots.reserve(most.unwrap_or(0));
    fuse::lexical(size, stems, |(n, place), stem| {
        let slot = slots.entry(n).or_default();
        slot.place = place;
        slot.lexical.add(stem);
    });
    let scores = slots.values().map(|slot| slot.lexical.score);
    Distribution::of(scores, size.chunks)
}

/// Finds cosines: of possible best passages by graphs where they exist, otherwise of all passages with a vector.
async fn score_vectors(
    tx: &mut TenantTx,
    search: &Search,
    (graphs, words): (&[Uuid], Distribution),
    slots: &mut Slots,
) -> Result<Distribution> {
    let Some((embedder, question)) = &search.vector else {
        return Ok(Distribution::of([], 0));
    };
    let has_graph = |place: &SearchArea| {
        place.group.is_none() && graphs.contains(&Uuid::from_bytes(place.space.0))
    };
    let (with, without): (Vec<_>, Vec<_>) = search
        .places
        .iter()
        .enumerate()
        .partition(|(_, place)| has_graph(place));
    let question = (embedder.0.cast_signed(), question.as_slice());
    let without: Areas = without.into_iter().collect();
    let mut sums = cosines(tx, &without, question, slots).await?;
    if with.is_empty() {
        return Ok(sums.distribution());
    }
    let near = GraphSearch {
        question,
        words,
        limit: search.limit,
    };
    let spaces = with
        .iter()
        .map(|(at, place)| (*at, Uuid::from_bytes(place.space.0)));
    if let Some(spread) = near.find(tx, spaces.collect(), &sums, slots).await? {
        return Ok(spread);
    }
    let with: Areas = with.into_iter().collect();
    sums.add(&cosines(tx, &with, question, slots).await?);
    Ok(sums.distribution())
}

/// Finds the cosine of every passage with a vector in some areas.
async fn cosines(
    tx: &mut TenantTx,
    places: &Areas,
    (embedder, question): (i64, &[f32]),
    slots: &mut Slots,
) -> Result<Sums> {
    let mut sums = Sums::default();
    if places.of.is_empty() {
        return Ok(sums);
    }
    let rows: Vec<(i64, Vec<i64>, Vec<f32>)> = sqlx::query_as(COSINES)
        .bind(tx.id())
        .bind(&places.spaces)
        .bind(&places.groups)
        .bind(question)
        .bind(embedder)
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
    slots.reserve(rows.iter().map(|(_, ns, _)| ns.len()).sum());
    for (place, ns, cosines) in &rows {
        let place = places.of(*place)?;
        for (n, cosine) in ns.iter().zip(cosines) {
            sums.count(*cosine);
            let slot = slots.entry(*n).or_default();
            slot.cosine = Some(*cosine);
            slot.place = place;
        }
    }
    Ok(sums)
}

/// Returns the passages of the requested time in the areas to which it applies; `None` if any time is allowed.
async fn of_time(tx: &mut TenantTx, search: &Search) -> Result<Option<HashSet<i64>>> {
    let Some((from, to)) = search.when else {
        return Ok(None);
    };
    let timed = search.places.iter().enumerate();
    let places: Areas = timed.filter(|(_, place)| place.timed).collect();
    let numbers: Vec<i64> = sqlx::query_scalar(TIMED)
        .bind(tx.id())
        .bind(places.spaces)
        .bind(places.groups)
        .bind(from.as_micros())
        .bind(to.as_micros())
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
    Ok(Some(numbers.into_iter().collect()))
}

fn candidate(
    row: &PgRow,
    slots: &Slots,
    (words, meaning): (Distribution, Distribution),
) -> Result<Candidate> {
    let (n, space, group, item, passage): (i64, Uuid, Uuid, Uuid, i32) =
        FromRow::from_row(row).map_err(stored)?;
    let slot = slots.get(&n).ok_or_else(corrupt)?;
    Ok(Candidate {
        unit: unit_key((space, group, item)),
        passage: u32::try_from(passage).map_err(|_| corrupt())?,
        about: about(row)?,
        lexical: slot.lexical.score,
        coverage: slot.lexical.coverage.clamp(0.0, 1.0),
        stems: slot.lexical.stems,
        cosine: slot.cosine,
        words: words.z(slot.lexical.score),
        fused: slot.fused(words, meaning),
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
            0 => UnitKind::Knowledge,
            1 => UnitKind::History,
            2 => UnitKind::Fact,
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
