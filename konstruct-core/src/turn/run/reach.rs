//! Finds the addresses at which a part of a reply reaches the person.

use super::Run;
use crate::{
    ConversationRef, Result, Secret,
    channel::Via,
    turn::{Entry, Event, SentVia},
};

/// How far before the record of an earlier reply the request that it answers is searched, and how far after it.
const BEFORE: u64 = 256;
const AFTER: u64 = 16;

impl Run<'_> {
    /// Returns where and how a part is sent. `record` is the part's record of an earlier turn. `None` if the address can no longer
    /// be read.
    pub(super) async fn reach(
        &self,
        via: SentVia,
        record: Option<u64>,
    ) -> Result<Option<(ConversationRef, Via)>> {
        let place = self.state.started().conversation.clone();
        let own = self.state.origin();
        let person = || own.and_then(|(_, person)| person.map(str::to_owned));
        Ok(match via {
            SentVia::Conversation => Some((place, Via::Conversation)),
            SentVia::Response => own.and_then(|(origin, _)| {
                let url = Secret::new(origin.response_url.as_ref()?);
                let ephemeral = !origin.selected;
                Some((place, Via::Response { url, ephemeral }))
            }),
            SentVia::Ephemeral => person().map(|person| (place, Via::Ephemeral { person })),
            SentVia::Direct => {
                let earlier = record.or_else(|| self.state.question().map(|item| item.record));
                let person = match (person(), earlier) {
                    (_, Some(earlier)) => self.person_of(earlier).await?,
                    (person, None) => person,
                };
                person.map(|person| (ConversationRef::direct(person), Via::Conversation))
            }
        })
    }

    /// Returns the channel's id of the person who made the request of an earlier turn, by a record of that turn.
    async fn person_of(&self, record: u64) -> Result<Option<String>> {
        let claim = self.lease.claim();
        let range = record.saturating_sub(BEFORE)..record.saturating_add(AFTER);
        let store = &self.driver.store;
        let page = store.read(claim.tenant, claim.conversation, range).await?;
        let turn = page
            .iter()
            .find(|stored| stored.index == record)
            .and_then(|stored| Some(stored.record.as_ref()?.turn));
        let mut records = page
            .iter()
            .rev()
            .filter_map(|stored| stored.record.as_deref())
            .filter(|record| Some(record.turn) == turn);
        Ok(records.find_map(|record| match &record.entry {
            Entry::Event(Event::Received(input)) => {
                input.event.origin.as_ref()?;
                input.event.sender.id().map(str::to_owned)
            }
            _ => None,
        }))
    }
}
