//! A store whose data or behaviour is altered during a test.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use konstruct_core::{
    ConversationId, Error, ErrorKind, NanoUsd, Result, TenantId,
    message::RoutedEvent,
    store::{
        Accepted, Append, AppendOutcome, Charge, Charged, Claim, ClaimRequest, Claimed,
        ConversationCursor, ConversationSummary, FeedEntry, History, ItemEntry, Ledger, LedgerPage,
        LedgerQuery, Loaded, Mailbox, Store, Stored,
    },
    testkit::VirtualClock,
    turn::{Action, Entry, ItemId},
};

/// The alteration of an [`Altered`] store.
#[derive(Clone, Debug)]
pub(crate) enum Alteration {
    /// The person of the n-th turn, counted from 1, is forgotten: all records from that turn up to the first read are `None`.
    Forgotten(usize),
    /// The claim is lost when the first send is recorded.
    Stolen,
    /// Recording the first send takes this long.
    Slow(VirtualClock, Duration),
    /// A reservation succeeds, but the caller receives no response.
    Unheard,
    /// No conversation can be loaded. Counts the attempts, and panics after too many.
    Unreadable(Arc<AtomicUsize>),
    /// The store is away: so many loads fail, and then it works again.
    Away(Arc<AtomicUsize>),
}

/// How often an unreadable conversation may be loaded.
const MOST_LOADS: usize = 20;

#[derive(Debug)]
pub(crate) struct Altered {
    inner: Arc<dyn Store>,
    alteration: Alteration,
    gone: Mutex<Option<Range<u64>>>,
}

impl Altered {
    pub(crate) fn new(inner: Arc<dyn Store>, alteration: Alteration) -> Self {
        Self {
            inner,
            alteration,
            gone: Mutex::default(),
        }
    }

    async fn gone(&self, tenant: TenantId, conversation: ConversationId) -> Result<Range<u64>> {
        let known = self.gone.lock().unwrap().clone();
        let (Alteration::Forgotten(number), None) = (&self.alteration, &known) else {
            return Ok(known.unwrap_or_default());
        };
        let log = self.inner.read(tenant, conversation, 0..u64::MAX).await?;
        let mut turns = Vec::new();
        for stored in &log {
            let turn = stored.record.as_ref().map(|record| record.turn);
            if !turns.contains(&turn) {
                turns.push(turn);
            }
            if turns.len() == *number {
                let gone = stored.index..log.len() as u64;
                *self.gone.lock().unwrap() = Some(gone.clone());
                return Ok(gone);
            }
        }
        Ok(0..0)
    }
}

#[async_trait]
impl Mailbox for Altered {
    async fn accept(&self, tenant: TenantId, events: Vec<RoutedEvent>) -> Result<Vec<Accepted>> {
        self.inner.accept(tenant, events).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.inner.claim(request).await
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        if let Alteration::Unreadable(loads) = &self.alteration {
            let before = loads.fetch_add(1, Ordering::Relaxed);
            assert!(
                before < MOST_LOADS,
                "the conversation is loaded again and again"
            );
            return Err(Error::new(ErrorKind::Corrupt, "a broken row"));
        }
        if let Alteration::Away(loads) = &self.alteration {
            let left = loads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
            if left.is_ok() {
                return Err(Error::internal("the disk is full"));
            }
        }
        let gone = self.gone(claim.tenant, claim.conversation).await?;
        let mut loaded = self.inner.load(claim).await?;
        for stored in loaded.iter_mut().flat_map(|loaded| &mut loaded.records) {
            stored.record = stored
                .record
                .take()
                .filter(|_| !gone.contains(&stored.index));
        }
        Ok(loaded)
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        self.inner.renew(claim, lease).await
    }

    async fn append(&self, claim: &Claim, len: u64, append: Append) -> Result<AppendOutcome> {
        let first = append
            .records
            .iter()
            .any(|record| matches!(record.entry, Entry::Action(Action::Send { attempt: 1, .. })));
        match &self.alteration {
            Alteration::Slow(clock, by) if first => clock.advance(*by),
            Alteration::Stolen if first => return Ok(AppendOutcome::Lost),
            _ => {}
        }
        self.inner.append(claim, len, append).await
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        self.inner.release(claim, seen).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

#[async_trait]
impl History for Altered {
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let gone = self.gone(tenant, conversation).await?;
        let mut log = self.inner.read(tenant, conversation, range).await?;
        for stored in &mut log {
            stored.record = stored
                .record
                .take()
                .filter(|_| !gone.contains(&stored.index));
        }
        Ok(log)
    }

    async fn list(
        &self,
        tenant: TenantId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        self.inner.list(tenant, after, limit).await
    }

    async fn items(
        &self,
        tenant: TenantId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<ItemEntry>> {
        self.inner.items(tenant, after, limit).await
    }

    async fn feed(&self, tenant: TenantId, after: u64, limit: usize) -> Result<Vec<FeedEntry>> {
        self.inner.feed(tenant, after, limit).await
    }
}

#[async_trait]
impl Ledger for Altered {
    async fn charge(&self, tenant: TenantId, charge: Charge) -> Result<Charged> {
        let unheard = matches!(self.alteration, Alteration::Unheard) && charge.reserve.is_some();
        let fits = self.inner.charge(tenant, charge).await;
        if unheard {
            std::future::pending::<()>().await;
        }
        fits
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        self.inner.reserved(tenant, call).await
    }

    async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage> {
        self.inner.ledger(tenant, query).await
    }
}

konstruct_core::forward_archive!(Altered);

impl Altered {
    fn inner(&self) -> Result<&dyn Store> {
        Ok(&*self.inner)
    }
}
