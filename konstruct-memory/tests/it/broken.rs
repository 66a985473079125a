//! Tests of the suite: a store with one fault fails the cases about it.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use konstruct_core::{
    ConversationId, NanoUsd, Result, TenantId,
    message::RoutedEvent,
    store::{
        Accepted, Append, AppendOutcome, Charge, Charged, Claim, ClaimRequest, Claimed,
        ConversationCursor, ConversationSummary, FeedEntry, History, ItemEntry, Ledger, LedgerPage,
        LedgerQuery, Loaded, Mailbox, Store, Stored,
    },
    testkit::{STORE_CASES, StoreSubject, store_case},
    turn::ItemId,
};

use crate::store::in_memory;

/// The fault of a broken store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// None: tests the wrapper itself.
    Nothing,
    /// Accepts every redelivery of an event as new.
    NoDedupe,
    /// Accepts an append under any claim as that of the current holder.
    NoFence,
    /// Shows data of other tenants.
    LeakingTenant,
    /// Ignores the cap.
    NoCap,
    /// Ignores all caps of a call but the first.
    FirstCap,
    /// Does not make a conversation ready again if an event arrived while it was claimed.
    DeafRelease,
    /// Writes the money and the inbox but nothing else, when the budget is exceeded.
    HalfAppend,
    /// Forgets timers.
    NoTimers,
    /// Wakes nobody.
    NoWaking,
    /// Omits the last message.
    LostWords,
}

#[derive(Debug)]
struct Broken {
    inner: Arc<dyn Store>,
    fault: Fault,
    events: AtomicU64,
    tenants: Mutex<Vec<TenantId>>,
    holders: Mutex<HashMap<(TenantId, ConversationId), Claim>>,
}

impl Broken {
    fn subject(fault: Fault) -> StoreSubject {
        let StoreSubject { store, clock } = in_memory();
        let broken = Self {
            inner: store,
            fault,
            events: AtomicU64::new(0),
            tenants: Mutex::default(),
            holders: Mutex::default(),
        };
        StoreSubject {
            store: Arc::new(broken),
            clock,
        }
    }

    fn inner(&self) -> Result<&dyn Store> {
        Ok(&*self.inner)
    }

    /// Returns the tenants whose data a tenant sees.
    fn seen_by(&self, tenant: TenantId) -> Vec<TenantId> {
        let mut tenants = vec![tenant];
        if self.fault == Fault::LeakingTenant {
            tenants.extend(
                self.tenants
                    .lock()
                    .unwrap()
                    .iter()
                    .filter(|t| **t != tenant),
            );
        }
        tenants
    }
}

konstruct_core::forward_archive!(Broken);

#[async_trait]
impl Ledger for Broken {
    async fn charge(&self, tenant: TenantId, mut charge: Charge) -> Result<Charged> {
        if let Some(reserve) = &mut charge.reserve
            && self.fault == Fault::FirstCap
        {
            reserve.caps.truncate(1);
        }
        self.inner.charge(tenant, charge).await
    }

    async fn reserved(&self, tenant: TenantId, call: &str) -> Result<Option<NanoUsd>> {
        self.inner.reserved(tenant, call).await
    }

    async fn ledger(&self, tenant: TenantId, query: LedgerQuery) -> Result<LedgerPage> {
        self.inner.ledger(tenant, query).await
    }
}

#[async_trait]
impl Mailbox for Broken {
    async fn accept(
        &self,
        tenant: TenantId,
        mut events: Vec<RoutedEvent>,
    ) -> Result<Vec<Accepted>> {
        self.tenants.lock().unwrap().push(tenant);
        if self.fault == Fault::NoDedupe {
            for routed in &mut events {
                let n = self.events.fetch_add(1, Ordering::Relaxed);
                routed.event.id = format!("{}-{n}", routed.event.id);
                routed.event.logical_id.clear();
            }
        }
        self.inner.accept(tenant, events).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        let claimed = self.inner.claim(request).await?;
        if let Claimed::Conversation(claim) = &claimed {
            let of = (claim.tenant, claim.conversation);
            self.holders.lock().unwrap().insert(of, claim.clone());
        }
        Ok(claimed)
    }

    async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        self.inner.load(claim).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        self.inner.renew(claim, lease).await
    }

    async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        let deaf = self.fault == Fault::DeafRelease;
        let seen = if deaf { u64::MAX } else { seen };
        self.inner.release(claim, seen).await
    }

    async fn append(
        &self,
        claim: &Claim,
        expected_len: u64,
        mut append: Append,
    ) -> Result<AppendOutcome> {
        let mut claim = claim.clone();
        match self.fault {
            Fault::NoFence => {
                let of = (claim.tenant, claim.conversation);
                let holder = self.holders.lock().unwrap().get(&of).cloned();
                claim = holder.unwrap_or(claim);
            }
            Fault::NoCap => {
                if let Some(reserve) = &mut append.reserve {
                    reserve.caps.clear();
                }
            }
            Fault::NoTimers => append.timers.clear(),
            Fault::HalfAppend => {
                let rest = Append {
                    reserve: append.reserve.take(),
                    ..Append::default()
                };
                let outcome = self.inner.append(&claim, expected_len, append).await?;
                let len = self
                    .inner
                    .load(&claim)
                    .await?
                    .map_or(0, |loaded| loaded.len);
                return match outcome {
                    AppendOutcome::Appended => self.inner.append(&claim, len, rest).await,
                    other => Ok(other),
                };
            }
            _ => {}
        }
        self.inner.append(&claim, expected_len, append).await
    }

    async fn changed(&self) {
        if self.fault == Fault::NoWaking {
            std::future::pending().await
        }
        self.inner.changed().await;
    }
}

#[async_trait]
impl History for Broken {
    async fn read(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        for tenant in self.seen_by(tenant) {
            let found = self.inner.read(tenant, conversation, range.clone()).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    async fn read_said(
        &self,
        tenant: TenantId,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        let mut read = self.inner.read_said(tenant, conversation, range).await?;
        if self.fault == Fault::LostWords
            && let Some(last) = read.iter_mut().rfind(|stored| says_something(stored))
        {
            last.record = None;
        }
        Ok(read)
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

fn says_something(stored: &Stored) -> bool {
    let record = stored.record.as_ref();
    record.is_some_and(|record| record.says_something())
}

/// Returns the cases that fail on a store with a fault. A case that waits forever is ended soon.
async fn failures(fault: Fault, cases: &[&'static str]) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for case in cases {
        let outcome = store_case(case, &async || Broken::subject(fault)).await;
        if outcome.is_err() {
            failed.push(*case);
        }
    }
    failed
}

async fn check(fault: Fault, expected: &[&'static str]) {
    let failed = failures(fault, expected).await;
    assert_eq!(failed, expected, "{fault:?} must fail all of these");
}

#[tokio::test]
async fn the_wrapper_itself_breaks_nothing() {
    assert!(failures(Fault::Nothing, STORE_CASES).await.is_empty());
}

#[tokio::test]
async fn a_store_without_dedupe_fails() {
    let cases = [
        "redelivery_is_accepted_once",
        "logical_duplicates_fold",
        "a_batch_is_deduped_within",
        "agrees_with_a_model",
    ];
    check(Fault::NoDedupe, &cases).await;
}

#[tokio::test]
async fn a_store_without_fences_fails() {
    let cases = ["a_lease_ends", "agrees_with_a_model"];
    check(Fault::NoFence, &cases).await;
}

#[tokio::test]
async fn a_store_that_leaks_tenants_fails() {
    let cases = ["tenants_do_not_see_each_other", "agrees_with_a_model"];
    check(Fault::LeakingTenant, &cases).await;
}

#[tokio::test]
async fn a_store_without_a_cap_fails() {
    let cases = [
        "over_budget_changes_nothing",
        "money_adds_up",
        "a_cap_holds_under_concurrency",
        "agrees_with_a_model",
    ];
    check(Fault::NoCap, &cases).await;
}

#[tokio::test]
async fn a_store_that_checks_one_cap_of_several_fails() {
    check(Fault::FirstCap, &["every_cap_holds"]).await;
}

#[tokio::test]
async fn a_store_that_forgets_what_came_in_meanwhile_fails() {
    let cases = ["a_release_reports_what_was_seen", "agrees_with_a_model"];
    check(Fault::DeafRelease, &cases).await;
}

#[tokio::test]
async fn a_store_that_writes_by_halves_fails() {
    let cases = ["over_budget_changes_nothing", "agrees_with_a_model"];
    check(Fault::HalfAppend, &cases).await;
}

#[tokio::test]
async fn a_store_without_timers_fails() {
    let cases = ["a_timer_makes_ready", "agrees_with_a_model"];
    check(Fault::NoTimers, &cases).await;
}

#[tokio::test]
async fn a_store_that_leaves_out_what_was_said_fails() {
    check(Fault::LostWords, &["messages_are_read"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_wakes_nobody_fails() {
    check(Fault::NoWaking, &["changes_wake"]).await;
}
