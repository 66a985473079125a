//! Forgetting: what an erasure takes along of what was derived.

use std::collections::BTreeSet;

use konstruct_core::{
    ConversationId, Depth, Erase, PersonId, Result, TenantId,
    id::FactId,
    memory::{ErasureReceipt, Fact, Language, Remains, Remnant, Summary, Until},
};

use super::{
    fact::{self, source_key},
    follow::{history_key, unit_of},
    said,
    settings::{Tries, row, rows, settings},
    shelf::{Group, Kind, Plan, Shelf, UnitKey, What},
    space::{Owner, home, space},
};
use crate::seal::TenantKey;

/// Erases something from the journal and from the memory.
///
/// A person of whom much is indexed is taken out of the index first, in several [parts](Shelf::part), for the index is not sealed with the
/// person's key: once that is destroyed, nothing of the person may be found.
pub(crate) async fn forget(
    shelf: &dyn Shelf,
    tenant: TenantId,
    what: Erase,
    depth: Depth,
) -> Result<ErasureReceipt> {
    let key = shelf.tenant_key(tenant).await?;
    let mut tries = Tries::new(shelf, tenant);
    let (mut passages, mut facts) = (0, 0);
    let mut prepared = false;
    loop {
        let mut planner = Planner {
            shelf,
            tenant,
            key: &key,
            plan: Plan::on(shelf, tenant).await?,
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
                        shelf.prepare_to_erase(tenant, person, depth).await?;
                        prepared = true;
                    }
                    if shelf.commit(tenant, planner.plan).await? {
                        passages += part;
                        facts += planner.facts.len() as u64;
                        tries.reset();
                    } else {
                        tries.again().await?;
                    }
                    continue;
                }
            }
            // Of a tenant everything goes.
            _ => {}
        }
        let last = (planner.plan.take_out.len(), planner.facts.len());
        let erased = shelf.erase_with(tenant, what, depth, planner.plan);
        if let Some(mut receipt) = erased.await? {
            receipt.facts += facts + last.1 as u64;
            receipt.passages += passages + last.0 as u64;
            index_remains(shelf, &mut receipt);
            return Ok(receipt);
        }
        tries.again().await?;
    }
}

/// Says what remains of the index in files that were not rewritten, and in old copies.
fn index_remains(shelf: &dyn Shelf, receipt: &mut ErasureReceipt) {
    if receipt.passages == 0 {
        return;
    }
    let vectors = shelf.embedding().is_there().then_some(Remnant::Vectors);
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
    shelf: &'a dyn Shelf,
    tenant: TenantId,
    key: &'a TenantKey,
    plan: Plan,
    /// The facts that go.
    facts: BTreeSet<FactId>,
}

impl Planner<'_> {
    async fn message(&mut self, conversation: ConversationId, index: u64) -> Result<()> {
        let (shelf, tenant) = (self.shelf, self.tenant);
        if said::at(shelf, (tenant, conversation), index)
            .await?
            .is_none()
        {
            return Ok(());
        }
        let channel = home(shelf, self.key, tenant, conversation).await?;
        if let Some(channel) = channel {
            let space = space(self.key, What::History, Owner::Channel(channel));
            self.plan
                .take_out
                .push(history_key(space, conversation, index));
            // What was said right after is found by these words as well.
            if let Some((next, said)) =
                said::after(shelf, (tenant, conversation), (index, index + 1)).await?
            {
                let before = said::before(shelf, (tenant, conversation), index, None).await?;
                let place = history_key(space, conversation, next);
                let language = settings(shelf, tenant).await?.language;
                let unit = unit_of(self.key, language, place, &said, before.as_ref());
                self.plan.put_in.push(unit);
            }
        }
        let prefix = [conversation.as_bytes().as_slice(), &index.to_be_bytes()].concat();
        self.facts_of(&prefix).await?;
        let id = conversation.as_bytes();
        let summary: Option<Summary> = row(shelf, tenant, Kind::Summary, id).await?;
        if summary.is_some_and(|summary| summary.to > index) {
            self.plan.remove.push((Kind::Summary, id.to_vec()));
        }
        self.plan.erases(*id)
    }

    async fn conversation(&mut self, conversation: ConversationId) -> Result<()> {
        let (shelf, tenant) = (self.shelf, self.tenant);
        let id = conversation.as_bytes();
        if let Some(channel) = home(shelf, self.key, tenant, conversation).await? {
            for what in [What::History, What::Fact] {
                let space = space(self.key, what, Owner::Channel(channel));
                self.plan
                    .take_out_groups
                    .push((space, Group::of(conversation)));
            }
        }
        self.facts_of(id).await?;
        for kind in [Kind::Summary, Kind::Home] {
            self.plan.remove.push((kind, id.to_vec()));
        }
        for (key, (of, _)) in rows::<(ConversationId, u64)>(shelf, tenant, Kind::Gap, &[]).await? {
            if of == conversation {
                self.plan.remove.push((Kind::Gap, key));
            }
        }
        self.plan.erases(*id)
    }

    /// The store itself removes what names the person; what others said right after stays, and is not found by the person's
    /// words any more. If that is too much for one plan, this one is for a part of it: returns how many units of it go.
    async fn person(&mut self, person: PersonId) -> Result<Option<u64>> {
        let (shelf, tenant) = (self.shelf, self.tenant);
        let most = shelf.part().unwrap_or(usize::MAX);
        let language = settings(shelf, tenant).await?.language;
        let mut units = shelf
            .units_of(tenant, person, most.saturating_add(1))
            .await?;
        if units.len() > most {
            units.truncate(most);
            self.units(person, language, &units).await?;
            self.plan.take_out.extend(units);
            return Ok(Some(most as u64));
        }
        let all = rows::<Fact>(shelf, tenant, Kind::Fact, &[]).await?;
        let mut facts = all.iter().map(|(_, fact)| fact);
        let mut facts = facts.by_ref().filter(|fact| fact.persons.contains(&person));
        for fact in facts.by_ref().take(most) {
            self.fact_goes(fact).await?;
        }
        if facts.next().is_some() {
            return Ok(Some(self.plan.take_out.len() as u64));
        }
        self.units(person, language, &units).await?;
        self.plan.erases(*person.as_bytes())?;
        Ok(None)
    }

    /// Analyses again what others said, of these units, without what the person said before.
    async fn units(
        &mut self,
        person: PersonId,
        language: Language,
        units: &[UnitKey],
    ) -> Result<()> {
        let (shelf, tenant) = (self.shelf, self.tenant);
        for unit in units {
            if unit.item[..8] != [0; 8] {
                continue;
            }
            let place = (tenant, ConversationId::from_bytes(unit.group.0));
            let Some(said) = said::at(shelf, place, unit.index()).await? else {
                continue;
            };
            if said.persons.contains(&person) {
                continue;
            }
            let before = said::before(shelf, place, unit.index(), Some(person)).await?;
            let unit = unit_of(self.key, language, *unit, &said, before.as_ref());
            self.plan.put_in.push(unit);
        }
        Ok(())
    }

    /// Takes sources away from facts; a fact goes with its last one.
    async fn facts_of(&mut self, prefix: &[u8]) -> Result<()> {
        let (shelf, tenant) = (self.shelf, self.tenant);
        let mut touched = BTreeSet::new();
        for (key, ()) in rows(shelf, tenant, Kind::FactOf, prefix).await? {
            if let Some(id) = key.get(24..).and_then(|id| id.try_into().ok()) {
                touched.insert(FactId::from_bytes(id));
            }
            self.plan.remove.push((Kind::FactOf, key));
        }
        for id in touched {
            let kept: Option<Fact> = row(shelf, tenant, Kind::Fact, id.as_bytes()).await?;
            let Some(whole) = kept else { continue };
            let mut kept = whole.clone();
            kept.sources
                .retain(|source| !source_key(source, id).starts_with(prefix));
            if kept.sources.is_empty() {
                self.fact_goes(&whole).await?;
            } else {
                let at = id.as_bytes().to_vec();
                self.plan.put_row(Kind::Fact, at, &kept, &kept.persons)?;
            }
        }
        Ok(())
    }

    async fn fact_goes(&mut self, fact: &Fact) -> Result<()> {
        let at: Option<UnitKey> = fact::unit_key(self.shelf, self.key, self.tenant, fact).await?;
        self.plan.take_out.extend(at);
        let id = fact.id.as_bytes().to_vec();
        self.plan.remove.push((Kind::Fact, id));
        let sources = fact.sources.iter();
        let keys = sources.map(|source| (Kind::FactOf, source_key(source, fact.id)));
        self.plan.remove.extend(keys);
        self.facts.insert(fact.id);
        Ok(())
    }
}
