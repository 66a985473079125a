//! Forgetting: removes what was derived from erased content.

use std::collections::BTreeSet;

use konstruct_core::{
    ConversationId, Depth, Erase, PersonId, Result, TenantId,
    id::FactId,
    memory::{ErasureReceipt, Fact, Language, Remains, Remnant, Summary, Until},
};

use super::{
    backend::{Group, MemoryBackend, Plan, RowKind, UnitKey, UnitKind},
    fact::{self, source_key},
    follow::{history_key, unit_of},
    messages,
    settings::{Retries, row, rows, settings},
    space::{Owner, home, space},
};
use crate::seal::TenantKey;

/// Erases something from the log and from the memory.
///
/// A person with many indexed units is removed from the index first, in several [batches](MemoryBackend::erasure_batch). The
/// index is not sealed with the person's key, and nothing of the person may be found once that key is destroyed.
pub(crate) async fn forget(
    backend: &dyn MemoryBackend,
    tenant: TenantId,
    what: Erase,
    depth: Depth,
) -> Result<ErasureReceipt> {
    let key = backend.tenant_key(tenant).await?;
    let mut tries = Retries::new(backend, tenant);
    let (mut passages, mut facts) = (0, 0);
    let mut prepared = false;
    loop {
        let mut planner = Planner {
            backend,
            tenant,
            key: &key,
            plan: Plan::on(backend, tenant).await?,
            facts: BTreeSet::new(),
        };
        match what {
            Erase::Message {
                conversation,
                index,
            } => planner.message(conversation, index).await?,
            Erase::Conversation { conversation } => planner.conversation(conversation).await?,
            Erase::Person { person } => {
                if let Some(part) = planner.person(person).await? {
                    if !prepared {
                        backend.prepare_to_erase(tenant, person, depth).await?;
                        prepared = true;
                    }
                    if backend.commit(tenant, planner.plan).await? {
                        passages += part;
                        facts += planner.facts.len() as u64;
                        tries.reset();
                    } else {
                        tries.again().await?;
                    }
                    continue;
                }
            }
            // For a tenant everything is erased, without a plan.
            _ => {}
        }
        let last = (planner.plan.remove_units.len(), planner.facts.len());
        let erased = backend.erase_with(tenant, what, depth, planner.plan);
        if let Some(mut receipt) = erased.await? {
            receipt.facts += facts + last.1 as u64;
            receipt.passages += passages + last.0 as u64;
            index_remains(backend, &mut receipt);
            return Ok(receipt);
        }
        tries.again().await?;
    }
}

/// Reports what remains of the index in files that were not rewritten, and in old copies.
fn index_remains(backend: &dyn MemoryBackend, receipt: &mut ErasureReceipt) {
    if receipt.passages == 0 {
        return;
    }
    let vectors = backend
        .embedder()
        .is_configured()
        .then_some(Remnant::Vectors);
    for what in [Remnant::TermHashes].into_iter().chain(vectors) {
        let untils = match receipt.depth {
            Depth::Logical => &[Until::Rewritten, Until::BackupsExpire][..],
            _ => &[Until::BackupsExpire],
        };
        receipt.remains.extend(untils.iter().map(|until| Remains {
            what,
            count: None,
            until: until.clone(),
        }));
    }
}

struct Planner<'a> {
    backend: &'a dyn MemoryBackend,
    tenant: TenantId,
    key: &'a TenantKey,
    plan: Plan,
    /// The deleted facts.
    facts: BTreeSet<FactId>,
}

impl Planner<'_> {
    async fn message(&mut self, conversation: ConversationId, index: u64) -> Result<()> {
        let (backend, tenant) = (self.backend, self.tenant);
        if messages::at(backend, (tenant, conversation), index)
            .await?
            .is_none()
        {
            return Ok(());
        }
        let channel = home(backend, self.key, tenant, conversation).await?;
        if let Some(channel) = channel {
            let space = space(self.key, UnitKind::History, Owner::Channel(channel));
            self.plan
                .remove_units
                .push(history_key(space, conversation, index));
            // The next message is also found by the words of this one.
            if let Some((next, said)) =
                messages::after(backend, (tenant, conversation), (index, index + 1)).await?
            {
                let before = messages::before(backend, (tenant, conversation), index, None).await?;
                let place = history_key(space, conversation, next);
                let language = settings(backend, tenant).await?.language;
                let unit = unit_of(self.key, language, place, &said, before.as_ref());
                self.plan.add_units.push(unit);
            }
        }
        let prefix = [conversation.as_bytes().as_slice(), &index.to_be_bytes()].concat();
        self.remove_sources(&prefix).await?;
        let id = conversation.as_bytes();
        let summary: Option<Summary> = row(backend, tenant, RowKind::Summary, id).await?;
        if summary.is_some_and(|summary| summary.to > index) {
            self.plan.remove.push((RowKind::Summary, id.to_vec()));
        }
        self.plan.erases(*id)
    }

    async fn conversation(&mut self, conversation: ConversationId) -> Result<()> {
        let (backend, tenant) = (self.backend, self.tenant);
        let id = conversation.as_bytes();
        if let Some(channel) = home(backend, self.key, tenant, conversation).await? {
            for what in [UnitKind::History, UnitKind::Fact] {
                let space = space(self.key, what, Owner::Channel(channel));
                self.plan
                    .remove_groups
                    .push((space, Group::of(conversation)));
            }
        }
        self.remove_sources(id).await?;
        for kind in [RowKind::Summary, RowKind::Home] {
            self.plan.remove.push((kind, id.to_vec()));
        }
        for (key, (of, _)) in
            rows::<(ConversationId, u64)>(backend, tenant, RowKind::Gap, &[]).await?
        {
            if of == conversation {
                self.plan.remove.push((RowKind::Gap, key));
            }
        }
        self.plan.erases(*id)
    }

    /// Plans the erasure of a person. The store itself removes rows that name the person. The next messages of others stay, but
    /// are no longer found by the person's words. If there is too much for one plan, plans a part and returns its number of
    /// units.
    async fn person(&mut self, person: PersonId) -> Result<Option<u64>> {
        let (backend, tenant) = (self.backend, self.tenant);
        let most = backend.erasure_batch().unwrap_or(usize::MAX);
        let language = settings(backend, tenant).await?.language;
        let mut units = backend
            .units_of(tenant, person, most.saturating_add(1))
            .await?;
        if units.len() > most {
            units.truncate(most);
            self.units(person, language, &units).await?;
            self.plan.remove_units.extend(units);
            return Ok(Some(most as u64));
        }
        let all = rows::<Fact>(backend, tenant, RowKind::Fact, &[]).await?;
        let mut facts = all.iter().map(|(_, fact)| fact);
        let mut facts = facts.by_ref().filter(|fact| fact.persons.contains(&person));
        for fact in facts.by_ref().take(most) {
            self.delete_fact(fact).await?;
        }
        if facts.next().is_some() {
            return Ok(Some(self.plan.remove_units.len() as u64));
        }
        self.units(person, language, &units).await?;
        self.plan.erases(*person.as_bytes())?;
        Ok(None)
    }

    /// Analyses again those of the units that others wrote, without the person's messages before them.
    async fn units(
        &mut self,
        person: PersonId,
        language: Language,
        units: &[UnitKey],
    ) -> Result<()> {
        let (backend, tenant) = (self.backend, self.tenant);
        for unit in units {
            if unit.item[..8] != [0; 8] {
                continue;
            }
            let place = (tenant, ConversationId::from_bytes(unit.group.0));
            let Some(said) = messages::at(backend, place, unit.index()).await? else {
                continue;
            };
            if said.persons.contains(&person) {
                continue;
            }
            let before = messages::before(backend, place, unit.index(), Some(person)).await?;
            let unit = unit_of(self.key, language, *unit, &said, before.as_ref());
            self.plan.add_units.push(unit);
        }
        Ok(())
    }

    /// Removes sources from facts. A fact without sources is deleted.
    async fn remove_sources(&mut self, prefix: &[u8]) -> Result<()> {
        let (backend, tenant) = (self.backend, self.tenant);
        let mut touched = BTreeSet::new();
        for (key, ()) in rows(backend, tenant, RowKind::FactOf, prefix).await? {
            if let Some(id) = key.get(24..).and_then(|id| id.try_into().ok()) {
                touched.insert(FactId::from_bytes(id));
            }
            self.plan.remove.push((RowKind::FactOf, key));
        }
        for id in touched {
            let kept: Option<Fact> = row(backend, tenant, RowKind::Fact, id.as_bytes()).await?;
            let Some(whole) = kept else { continue };
            let mut kept = whole.clone();
            kept.sources
                .retain(|source| !source_key(source, id).starts_with(prefix));
            if kept.sources.is_empty() {
                self.delete_fact(&whole).await?;
            } else {
                let at = id.as_bytes().to_vec();
                self.plan.put_row(RowKind::Fact, at, &kept, &kept.persons)?;
            }
        }
        Ok(())
    }

    async fn delete_fact(&mut self, fact: &Fact) -> Result<()> {
        let at: Option<UnitKey> = fact::unit_key(self.backend, self.key, self.tenant, fact).await?;
        self.plan.remove_units.extend(at);
        let id = fact.id.as_bytes().to_vec();
        self.plan.remove.push((RowKind::Fact, id));
        let sources = fact.sources.iter();
        let keys = sources.map(|source| (RowKind::FactOf, source_key(source, fact.id)));
        self.plan.remove.extend(keys);
        self.facts.insert(fact.id);
        Ok(())
    }
}
