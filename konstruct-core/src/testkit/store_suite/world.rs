//! The data of the cases: a tenant with a connection, its events, and shortcuts to process a conversation.

use std::{collections::BTreeSet, time::Duration};

use serde_json::value::RawValue;

use super::{Failed, StoreSubject, ensure};
use crate::{
    AccountId, ChannelKind, ConnectionId, ConversationId, ConversationRef, Inbound, TenantId,
    Timestamp, TurnId,
    id::WorkerId,
    limit::BudgetSum,
    message::{Actor, Addressing, Body, Content, Forwarded, IdKind, RoutedEvent},
    store::{Accepted, Append, AppendOutcome, Claim, ClaimRequest, Claimed, Exported, Loaded},
    turn::{Cause, Entry, Event, RECORD_VERSION, Record},
};
use futures_util::TryStreamExt as _;

/// The length of a lease.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A tenant with one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) tenant: TenantId,
    pub(super) connection: ConnectionId,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            tenant: TenantId::new(),
            connection: ConnectionId::new(),
        }
    }

    /// Returns a message in a place, with an id and no logical id.
    pub(super) fn message(&self, place: &str, id: &str) -> RoutedEvent {
        let raw = format!(r#"{{"text": "about {id}" }}"#);
        RoutedEvent {
            connection: self.connection,
            event: Inbound {
                id: id.into(),
                logical_id: String::new(),
                channel: ChannelKind::SLACK,
                account: AccountId("T1".into()),
                conversation: Some(ConversationRef::direct(place)),
                sender: Actor::human(IdKind::SlackUser, "U1"),
                occurred_at: Timestamp::from_secs(1_794_657_000),
                redelivery: 0,
                body: Body::Message {
                    message: format!("m-{id}"),
                    content: Content::text(format!("about {id}")),
                },
                addressed: Addressing::default(),
                quoted: None,
                label: None,
                description: None,
                referral: None,
                product: None,
                viewing: Vec::new(),
                origin: None,
                forwarded: Forwarded::No,
                raw: RawValue::from_string(raw).ok().map(Into::into),
            },
        }
    }

    /// Returns the same with a logical id, and whether it mentions the employee.
    pub(super) fn logical_event(
        &self,
        place: &str,
        id: &str,
        logical: &str,
        mention: bool,
    ) -> RoutedEvent {
        let mut routed = self.message(place, id);
        routed.event.logical_id = logical.into();
        routed.event.addressed.mention = mention;
        routed
    }
}

/// Returns a record with a text.
pub(super) fn record(text: &str) -> Record {
    Record {
        v: RECORD_VERSION,
        turn: TurnId::from_bytes([7; 16]),
        at: Timestamp::from_secs(1_794_657_600),
        cause: Cause::Employee,
        persons: BTreeSet::new(),
        entry: Entry::Event(Event::ToolReturned {
            id: "call".into(),
            content: text.into(),
            error: false,
        }),
    }
}

/// Returns an append with one record for each text.
pub(super) fn records(texts: &[&str]) -> Append {
    Append {
        records: texts.iter().map(|text| record(text)).collect(),
        ..Append::default()
    }
}

impl StoreSubject {
    /// Accepts one event.
    pub(super) async fn accept(
        &self,
        world: &World,
        event: RoutedEvent,
    ) -> Result<Accepted, Failed> {
        let outcomes = self.store.accept(world.tenant, vec![event]).await?;
        ensure!(outcomes.len() == 1, "one event has {outcomes:?}");
        Ok(outcomes[0])
    }

    /// Accepts one event that must be new.
    pub(super) async fn accept_new(
        &self,
        world: &World,
        event: RoutedEvent,
    ) -> Result<(ConversationId, u64), Failed> {
        let id = event.event.id.clone();
        match self.accept(world, event).await? {
            Accepted::New { conversation, seq } => Ok((conversation, seq)),
            other => Err(format!("event {id} is {other:?}, expected New").into()),
        }
    }

    /// Claims a ready conversation, if there is one.
    pub(super) async fn try_claim(&self) -> Result<Option<Claim>, Failed> {
        let request = ClaimRequest::new(WorkerId::new(), LEASE);
        Ok(self.store.claim(request).await?.conversation())
    }

    /// Claims a conversation, which must be ready.
    pub(super) async fn claim(&self) -> Result<Claim, Failed> {
        let claim = self.try_claim().await?;
        Ok(claim.ok_or("nothing is ready, expected a conversation")?)
    }

    /// Fails if a conversation is ready.
    pub(super) async fn claim_nothing(&self, when: &str) -> Result<(), Failed> {
        let claim = self.try_claim().await?;
        ensure!(claim.is_none(), "{when}: {claim:?} was ready");
        Ok(())
    }

    /// Returns when the next timer is due. No conversation may be ready.
    pub(super) async fn next_due(&self) -> Result<Option<Timestamp>, Failed> {
        let request = ClaimRequest::new(WorkerId::new(), LEASE);
        match self.store.claim(request).await? {
            Claimed::Nothing { next_due } => Ok(next_due),
            Claimed::Conversation(claim) => Err(format!("{claim:?} was ready").into()),
        }
    }

    /// Loads with a claim, which must be valid.
    pub(super) async fn load(&self, claim: &Claim) -> Result<Loaded, Failed> {
        let loaded = self.store.load(claim).await?;
        Ok(loaded.ok_or("a valid claim does not load")?)
    }

    /// Appends, which must succeed.
    pub(super) async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        append: Append,
    ) -> Result<(), Failed> {
        let outcome = self.store.append(claim, expected_len, append).await?;
        ensure!(
            outcome == AppendOutcome::Appended,
            "the outcome of an append is {outcome:?}"
        );
        Ok(())
    }

    /// Accepts an event in a new place and claims its conversation.
    pub(super) async fn claimed(&self, world: &World, place: &str) -> Result<Claim, Failed> {
        let event = world.message(place, &format!("first of {place}"));
        let (conversation, _) = self.accept_new(world, event).await?;
        let claim = self.claim().await?;
        ensure!(
            (claim.tenant, claim.conversation) == (world.tenant, conversation),
            "the ready conversation is not the one with the new event"
        );
        Ok(claim)
    }

    /// Returns everything that is exported of a tenant.
    pub(super) async fn exported(&self, tenant: TenantId) -> Result<Vec<Exported>, Failed> {
        Ok(self.store.export(tenant).await?.try_collect().await?)
    }

    /// Returns the sums of a tenant's ledger.
    pub(super) async fn budgets(&self, tenant: TenantId) -> Result<Vec<BudgetSum>, Failed> {
        let exported = self.exported(tenant).await?;
        let budgets = exported.into_iter().filter_map(|item| match item {
            Exported::Budget(sum) => Some(sum),
            _ => None,
        });
        Ok(budgets.collect())
    }

    /// Returns all readable records of a conversation's log as texts.
    pub(super) async fn texts(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> Result<Vec<String>, Failed> {
        let log = self.store.read(tenant, conversation, 0..u64::MAX).await?;
        for (index, stored) in (0..).zip(&log) {
            ensure!(stored.index == index, "the log's indices are not 0, 1, 2");
        }
        Ok(log
            .into_iter()
            .filter_map(|stored| stored.record)
            .map(|record| text_of(&record))
            .collect())
    }
}

/// Returns the text of a record of the suite.
pub(super) fn text_of(record: &Record) -> String {
    match &record.entry {
        Entry::Event(Event::ToolReturned { content, .. }) => content.clone(),
        other => format!("{other:?}"),
    }
}
