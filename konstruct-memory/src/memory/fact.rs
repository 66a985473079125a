//! Facts: remembered with the words that they stand on, superseded and never changed.

use konstruct_core::{
    ConversationId, Error, ErrorKind, Result, TenantId,
    id::FactId,
    memory::{
        Fact, Facts, Language, NewFact, Quote, Scope,
        rules::{Ground, grounded},
    },
};

use super::{
    said,
    settings::{Tries, may_keep, row, rows, settings, unknown_person},
    shelf::{Group, Kind, Plan, Shelf, Unit, UnitInfo, UnitKey, What},
    space::{self, Owner, home, space},
    unit,
};
use crate::seal::TenantKey;

/// Remembers a fact.
pub(crate) async fn remember(shelf: &dyn Shelf, tenant: TenantId, new: NewFact) -> Result<Fact> {
    let mut tries = Tries::new(shelf, tenant);
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        let fact = add(shelf, tenant, &mut plan, &new).await?;
        if shelf.commit(tenant, plan).await? {
            return Ok(fact);
        }
        tries.again().await?;
    }
}

/// Ends a fact, and puts another in its place if there is one.
pub(crate) async fn supersede(
    shelf: &dyn Shelf,
    tenant: TenantId,
    old: FactId,
    new: Option<NewFact>,
) -> Result<Option<Fact>> {
    let key = shelf.tenant_key(tenant).await?;
    let mut tries = Tries::new(shelf, tenant);
    loop {
        let mut plan = Plan::on(shelf, tenant).await?;
        let kept: Option<Fact> = row(shelf, tenant, Kind::Fact, old.as_bytes()).await?;
        let mut kept = kept.ok_or_else(|| Error::not_found("fact"))?;
        if kept.valid_to.is_some() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the fact was superseded before",
            ));
        }
        let fact = match &new {
            Some(new) => Some(add(shelf, tenant, &mut plan, new).await?),
            None => None,
        };
        kept.valid_to = Some(shelf.now().await?);
        kept.superseded_by = fact.as_ref().map(|fact| fact.id);
        plan.take_out
            .extend(unit_key(shelf, &key, tenant, &kept).await?);
        plan.put_row(Kind::Fact, old.as_bytes().to_vec(), &kept, &kept.persons)?;
        if shelf.commit(tenant, plan).await? {
            return Ok(fact);
        }
        tries.again().await?;
    }
}

/// Lists facts, the newest first.
pub(crate) async fn facts(shelf: &dyn Shelf, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
    let key = shelf.tenant_key(tenant).await?;
    let when = match query.as_of {
        Some(when) => when,
        None => shelf.now().await?,
    };
    let seen = space::seen(shelf, &key, tenant, &query.audience).await?;
    let places = space::places(&key, &seen, Scope::FACTS);
    let mut found = Vec::new();
    for (_, fact) in rows::<Fact>(shelf, tenant, Kind::Fact, &[]).await? {
        let wanted = query.about.is_none_or(|person| fact.about == Some(person));
        if !wanted || !fact.holds_at(when) {
            continue;
        }
        let at = unit_key(shelf, &key, tenant, &fact).await?;
        let seen = at.is_some_and(|at| {
            places.iter().any(|place| {
                place.space == at.space && place.group.is_none_or(|group| group == at.group)
            })
        });
        if seen {
            found.push(fact);
        }
    }
    found.sort_by_key(|fact| std::cmp::Reverse((fact.known_from, fact.id)));
    Ok(found)
}

/// Checks a new fact and plans it.
async fn add(shelf: &dyn Shelf, tenant: TenantId, plan: &mut Plan, new: &NewFact) -> Result<Fact> {
    let key = shelf.tenant_key(tenant).await?;
    let now = shelf.now().await?;
    let owner = space::owner(shelf, &key, tenant, (new.owner, &new.sources)).await?;
    let mut grounds = Vec::with_capacity(new.sources.len());
    for quote in &new.sources {
        grounds.push(ground(shelf, tenant, &key, owner, quote).await?);
    }
    let fact = grounded(new, &grounds, now)?;
    let sources: Vec<ConversationId> = new.sources.iter().map(|of| of.conversation).collect();
    if !may_keep(shelf, tenant, (&sources, &fact.persons), new.mark).await? {
        return Err(unknown_person());
    }
    write(shelf, tenant, plan, &key, &fact).await?;
    Ok(fact)
}

/// Plans a fact as it is.
pub(super) async fn write(
    shelf: &dyn Shelf,
    tenant: TenantId,
    plan: &mut Plan,
    key: &TenantKey,
    fact: &Fact,
) -> Result<()> {
    let id = fact.id.as_bytes().to_vec();
    plan.put_row(Kind::Fact, id, fact, &fact.persons)?;
    for source in &fact.sources {
        plan.put_row(Kind::FactOf, source_key(source, fact.id), &(), &[])?;
    }
    if fact.valid_to.is_none() {
        let language = settings(shelf, tenant).await?.language;
        plan.put_in
            .extend(unit(shelf, key, (tenant, language), fact).await?);
    }
    Ok(())
}

pub(super) fn source_key(source: &Quote, fact: FactId) -> Vec<u8> {
    [
        source.conversation.as_bytes().as_slice(),
        &source.index.to_be_bytes(),
        fact.as_bytes(),
    ]
    .concat()
}

/// Reads a source, and whether the owner may see it. `None`: there is no such message.
async fn ground(
    shelf: &dyn Shelf,
    tenant: TenantId,
    key: &TenantKey,
    owner: Option<(Owner, Group)>,
    quote: &Quote,
) -> Result<Option<Ground>> {
    let place = (tenant, quote.conversation);
    let Some(said) = said::at(shelf, place, quote.index).await? else {
        return Ok(None);
    };
    let from = home(shelf, key, tenant, quote.conversation).await?;
    let seen = match owner {
        Some((Owner::Channel(channel), group)) => {
            let in_group = group == Group::NONE || group == Group::of(quote.conversation);
            from == Some(channel) && in_group
        }
        Some((Owner::Person(person), _)) => {
            let direct = match from {
                Some(channel) => {
                    let at = [person.as_bytes().as_slice(), &channel.0].concat();
                    shelf.get(tenant, Kind::DirectOf, &at).await?.is_some()
                }
                None => false,
            };
            direct || said.speaker == Some(person)
        }
        Some((Owner::Tenant, _)) | None => false,
    };
    Ok(Some(Ground { said, seen }))
}

/// Where a fact stands in the index.
pub(super) async fn unit_key(
    shelf: &dyn Shelf,
    key: &TenantKey,
    tenant: TenantId,
    fact: &Fact,
) -> Result<Option<UnitKey>> {
    let owner = space::owner(shelf, key, tenant, (fact.owner, &fact.sources)).await?;
    Ok(owner.map(|(owner, group): (Owner, Group)| UnitKey {
        space: space(key, What::Fact, owner),
        group,
        item: *fact.id.as_bytes(),
    }))
}

async fn unit(
    shelf: &dyn Shelf,
    key: &TenantKey,
    (tenant, language): (TenantId, Language),
    fact: &Fact,
) -> Result<Option<Unit>> {
    let at = unit_key(shelf, key, tenant, fact).await?;
    Ok(at.map(|at| Unit {
        key: at,
        about: UnitInfo {
            what: What::Fact,
            version: 0,
            at: fact.known_from,
            said_by: None,
            persons: fact.persons.clone(),
            expires_at: fact.expires_at,
            before: None,
        },
        passages: vec![unit::passage(key, language, "", &fact.text)],
    }))
}

/// Analyses every current fact anew.
pub(super) async fn units(
    shelf: &dyn Shelf,
    tenant: TenantId,
    language: Language,
) -> Result<Vec<Unit>> {
    let key = shelf.tenant_key(tenant).await?;
    let now = shelf.now().await?;
    let mut units = Vec::new();
    for (_, fact) in rows::<Fact>(shelf, tenant, Kind::Fact, &[]).await? {
        if fact.holds_at(now) {
            units.extend(unit(shelf, &key, (tenant, language), &fact).await?);
        }
    }
    Ok(units)
}

/// The text of a fact, for embedding.
pub(super) async fn texts(
    shelf: &dyn Shelf,
    tenant: TenantId,
    unit: &UnitKey,
) -> Result<Vec<String>> {
    let fact: Option<Fact> = row(shelf, tenant, Kind::Fact, &unit.item).await?;
    Ok(fact.map(|fact| fact.text).into_iter().collect())
}
