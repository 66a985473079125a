//! Facts: remembered with their sources, and superseded, never changed.

use async_trait::async_trait;

use super::{
    super::{Fact, FactStore, Facts, ItemKey, Mark, NewFact, Remembered, rules},
    ScanMemory, TRIES, busy, put, unknown_person,
};
use crate::{ConversationId, Error, ErrorKind, Result, TenantId, id::FactId};

#[async_trait]
impl FactStore for ScanMemory {
    async fn remember(&self, tenant: TenantId, new: NewFact) -> Result<Fact> {
        for _ in 0..TRIES {
            let mark = self.items.mark(tenant).await?;
            let fact = self.grounded(tenant, &new, mark).await?;
            let item = Remembered::Fact { fact: fact.clone() };
            if self.items.commit(tenant, put(mark, [item])).await? {
                return Ok(fact);
            }
        }
        Err(busy())
    }

    async fn supersede(
        &self,
        tenant: TenantId,
        old: FactId,
        new: Option<NewFact>,
    ) -> Result<Option<Fact>> {
        let key = ItemKey::Fact { id: old };
        for _ in 0..TRIES {
            let mark = self.items.mark(tenant).await?;
            let known = self.facts_of(tenant, key..=key).await?.pop();
            let mut known = known.ok_or_else(|| Error::not_found("fact"))?;
            if known.valid_to.is_some() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "the fact was superseded before",
                ));
            }
            let fact = match &new {
                Some(new) => Some(self.grounded(tenant, new, mark).await?),
                None => None,
            };
            known.valid_to = Some(self.clock.now());
            known.superseded_by = fact.as_ref().map(|fact| fact.id);
            let items = [known].into_iter().chain(fact.clone());
            let change = put(mark, items.map(|fact| Remembered::Fact { fact }));
            if self.items.commit(tenant, change).await? {
                return Ok(fact);
            }
        }
        Err(busy())
    }

    async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
        let talk = self.conversations(tenant).await?;
        let when = query.as_of.unwrap_or_else(|| self.clock.now());
        let mut facts = self.facts_of(tenant, ItemKey::FACTS).await?;
        facts.retain(|fact| {
            let about = query.about.is_none_or(|person| fact.about == Some(person));
            about && fact.holds_at(when) && talk.sees_fact(&query.audience, fact)
        });
        facts.sort_by_key(|fact| std::cmp::Reverse((fact.known_from, fact.id)));
        Ok(facts)
    }
}

impl ScanMemory {
    /// Makes a fact, if its sources say what it quotes and it may be kept at `mark`.
    async fn grounded(&self, tenant: TenantId, new: &NewFact, mark: Mark) -> Result<Fact> {
        let talk = self.conversations(tenant).await?;
        let fact = rules::grounded(new, &talk.grounds(new), self.clock.now())?;
        let sources = fact.sources.iter().map(|of| of.conversation);
        let sources: Vec<ConversationId> = sources.collect();
        let of = (&*sources, &*fact.persons);
        let since = new.mark.unwrap_or(mark);
        if !self.may_keep((tenant, &talk), of, since).await? {
            return Err(unknown_person());
        }
        Ok(fact)
    }
}
