//! Facts. Each has quotes as its source. A fact is superseded, never changed.

use konstruct_core::{
    ConversationId, Error, ErrorKind, Result, TenantId,
    id::FactId,
    memory::{
        Fact, Facts, Language, NewFact, Quote, Scope,
        rules::{Ground, grounded},
    },
    text::language_of,
};

use super::{
    backend::{Group, MemoryBackend, Plan, RowKind, Unit, UnitInfo, UnitKey, UnitKind},
    messages,
    settings::{Retries, may_keep, row, rows, settings, unknown_person},
    space::{self, Owner, home, space},
    unit,
};
use crate::seal::TenantKey;

/// Stores a fact.
pub(crate) async fn remember(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    new: NewFact,
) -> Result<Fact> {
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        let fact = add(backend, tenant, &mut plan, &new).await?;
        if backend.commit(tenant, plan).await? {
            return Ok(fact);
        }
        tries.again().await?;
    }
}

/// Ends a fact, and adds its successor if there is one.
pub(crate) async fn supersede(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    old: FactId,
    new: Option<NewFact>,
) -> Result<Option<Fact>> {
    let key = backend.tenant_key(tenant).await?;
    let mut tries = Retries::new(backend, tenant);
    loop {
        let mut plan = Plan::on(backend, tenant).await?;
        let kept: Option<Fact> = row(backend, tenant, RowKind::Fact, old.as_bytes()).await?;
        let mut kept = kept.ok_or_else(|| Error::not_found("fact"))?;
        if kept.valid_to.is_some() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the fact is already superseded",
            ));
        }
        let fact = match &new {
            Some(new) => Some(add(backend, tenant, &mut plan, new).await?),
            None => None,
        };
        kept.valid_to = Some(backend.now().await?);
        kept.superseded_by = fact.as_ref().map(|fact| fact.id);
        plan.remove_units
            .extend(unit_key(backend, &key, tenant, &kept).await?);
        plan.put_row(RowKind::Fact, old.as_bytes().to_vec(), &kept, &kept.persons)?;
        if backend.commit(tenant, plan).await? {
            return Ok(fact);
        }
        tries.again().await?;
    }
}

/// Lists facts, the newest first.
pub(crate) async fn facts(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    query: Facts,
) -> Result<Vec<Fact>> {
    let key = backend.tenant_key(tenant).await?;
    let when = match query.as_of {
        Some(when) => when,
        None => backend.now().await?,
    };
    let seen = space::visible_to(backend, &key, tenant, &query.audience).await?;
    let places = space::places(&key, &seen, Scope::FACTS);
    let mut found = Vec::new();
    for (_, fact) in rows::<Fact>(backend, tenant, RowKind::Fact, &[]).await? {
        let wanted = query.about.is_none_or(|person| fact.about == Some(person));
        if !wanted || !fact.holds_at(when) {
            continue;
        }
        let at = unit_key(backend, &key, tenant, &fact).await?;
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

/// Checks a new fact and adds it to the plan.
async fn add(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    plan: &mut Plan,
    new: &NewFact,
) -> Result<Fact> {
    let key = backend.tenant_key(tenant).await?;
    let now = backend.now().await?;
    let owner = space::owner(backend, &key, tenant, (new.owner, &new.sources)).await?;
    let mut grounds = Vec::with_capacity(new.sources.len());
    for quote in &new.sources {
        grounds.push(read_evidence(backend, tenant, &key, owner, quote).await?);
    }
    let fact = grounded(new, &grounds, now)?;
    let sources: Vec<ConversationId> = new.sources.iter().map(|of| of.conversation).collect();
    if !may_keep(backend, tenant, (&sources, &fact.persons), new.mark).await? {
        return Err(unknown_person());
    }
    write(backend, tenant, plan, &key, &fact).await?;
    Ok(fact)
}

/// Adds a fact to the plan unchanged.
pub(super) async fn write(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    plan: &mut Plan,
    key: &TenantKey,
    fact: &Fact,
) -> Result<()> {
    let id = fact.id.as_bytes().to_vec();
    plan.put_row(RowKind::Fact, id, fact, &fact.persons)?;
    for source in &fact.sources {
        plan.put_row(RowKind::FactOf, source_key(source, fact.id), &(), &[])?;
    }
    if fact.valid_to.is_none() {
        let language = settings(backend, tenant).await?.language;
        plan.add_units
            .extend(unit(backend, key, (tenant, language), fact).await?);
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

/// Reads a source, and whether the owner may see it. `None` if there is no such message.
async fn read_evidence(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    key: &TenantKey,
    owner: Option<(Owner, Group)>,
    quote: &Quote,
) -> Result<Option<Ground>> {
    let place = (tenant, quote.conversation);
    let Some(said) = messages::at(backend, place, quote.index).await? else {
        return Ok(None);
    };
    let from = home(backend, key, tenant, quote.conversation).await?;
    let seen = match owner {
        Some((Owner::Channel(channel), group)) => {
            let in_group = group == Group::NONE || group == Group::of(quote.conversation);
            from == Some(channel) && in_group
        }
        Some((Owner::Person(person), _)) => {
            let direct = match from {
                Some(channel) => {
                    let at = [person.as_bytes().as_slice(), &channel.0].concat();
                    backend.get(tenant, RowKind::DirectOf, &at).await?.is_some()
                }
                None => false,
            };
            direct || said.speaker == Some(person)
        }
        Some((Owner::Tenant, _)) | None => false,
    };
    Ok(Some(Ground { said, seen }))
}

/// Returns the key of a fact's unit in the index.
pub(super) async fn unit_key(
    backend: &dyn MemoryBackend,
    key: &TenantKey,
    tenant: TenantId,
    fact: &Fact,
) -> Result<Option<UnitKey>> {
    let owner = space::owner(backend, key, tenant, (fact.owner, &fact.sources)).await?;
    Ok(owner.map(|(owner, group): (Owner, Group)| UnitKey {
        space: space(key, UnitKind::Fact, owner),
        group,
        item: *fact.id.as_bytes(),
    }))
}

async fn unit(
    backend: &dyn MemoryBackend,
    key: &TenantKey,
    (tenant, language): (TenantId, Language),
    fact: &Fact,
) -> Result<Option<Unit>> {
    let at = unit_key(backend, key, tenant, fact).await?;
    Ok(at.map(|at| Unit {
        key: at,
        about: UnitInfo {
            what: UnitKind::Fact,
            version: 0,
            at: fact.known_from,
            said_by: None,
            persons: fact.persons.clone(),
            expires_at: fact.expires_at,
            before: None,
        },
        passages: vec![unit::passage(
            key,
            language_of(&fact.text, language),
            "",
            &fact.text,
        )],
    }))
}

/// Analyses every current fact again.
pub(super) async fn units(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    language: Language,
) -> Result<Vec<Unit>> {
    let key = backend.tenant_key(tenant).await?;
    let now = backend.now().await?;
    let mut units = Vec::new();
    for (_, fact) in rows::<Fact>(backend, tenant, RowKind::Fact, &[]).await? {
        if fact.holds_at(now) {
            units.extend(unit(backend, &key, (tenant, language), &fact).await?);
        }
    }
    Ok(units)
}

/// Returns the text of a fact, for embedding.
pub(super) async fn texts(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    unit: &UnitKey,
) -> Result<Vec<String>> {
    let fact: Option<Fact> = row(backend, tenant, RowKind::Fact, &unit.item).await?;
    Ok(fact.map(|fact| fact.text).into_iter().collect())
}
