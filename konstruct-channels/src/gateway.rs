//! The gateway: verify, decode, route, make durable, and only then acknowledge.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use konstruct_core::{
    AccountId, ChannelKind, Clock, Directory, Inbound, Result, TenantId,
    directory::Route,
    message::{Body, RoutedEvent},
    store::{Accepted, Store},
};
use tracing::Instrument as _;

use crate::{HttpReply, Received, Webhook, WebhookRequest};

/// The largest body that is looked at: Meta's payloads have at most 3 MB.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// Takes webhooks in for all tenants.
///
/// # Contract
/// * A 200 means that every event of a known account is durable. Where the directory or the journal fails, the answer is
///   503, and the provider delivers again.
/// * Events of unknown accounts are answered with 200, counted and dropped: an error would make the provider give up on
///   everybody's webhook.
#[derive(Debug)]
pub struct Gateway {
    directory: Arc<dyn Directory>,
    journal: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    webhooks: HashMap<ChannelKind, Box<dyn Webhook>>,
    counters: Counters,
}

impl Gateway {
    /// Makes a gateway that knows no channel yet.
    pub fn new(
        directory: Arc<dyn Directory>,
        journal: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory,
            journal,
            clock,
            webhooks: HashMap::new(),
            counters: Counters::default(),
        }
    }

    /// Adds a channel's webhook, in place of one of the same kind.
    #[must_use]
    pub fn with(mut self, kind: ChannelKind, webhook: impl Webhook) -> Self {
        self.webhooks.insert(kind, Box::new(webhook));
        self
    }

    /// Returns whether a kind of channel is served.
    pub fn serves(&self, kind: &ChannelKind) -> bool {
        self.webhooks.contains_key(kind)
    }

    /// Returns what has come in since the start.
    pub fn counts(&self) -> GatewayCounts {
        self.counters.read()
    }

    /// Handles a request to a channel's webhook, and returns what to answer.
    ///
    /// # Cancel safety
    /// A dropped future may leave the events accepted and unacknowledged: they come again, and are known then.
    pub async fn handle(&self, kind: &ChannelKind, request: &WebhookRequest) -> HttpReply {
        let span = tracing::info_span!(
            "webhook",
            channel = kind.as_str(),
            bytes = request.body().len()
        );
        self.answer(kind, request).instrument(span).await
    }

    async fn answer(&self, kind: &ChannelKind, request: &WebhookRequest) -> HttpReply {
        let Some(webhook) = self.webhooks.get(kind) else {
            return HttpReply::empty(404);
        };
        if request.body().len() > MAX_BODY {
            return HttpReply::empty(413);
        }
        let (decoded, reply) = match webhook.receive(request, self.clock.now()) {
            Received::Reply(reply) => return reply,
            Received::Rejected(reply) => {
                self.counters.rejected_signature.fetch_add(1, Relaxed);
                tracing::warn!("a signature does not fit");
                return reply;
            }
            Received::Events(decoded, reply) => (decoded, reply),
        };
        self.counters
            .undecodable
            .fetch_add(decoded.undecodable as u64, Relaxed);
        match self.take_in(decoded.events).await {
            Ok(()) => reply,
            Err(error) => {
                self.counters.failed.fetch_add(1, Relaxed);
                tracing::error!(%error, "a webhook could not be made durable");
                HttpReply::empty(503)
            }
        }
    }

    /// Routes events to their tenants and makes them durable.
    async fn take_in(&self, events: Vec<Inbound>) -> Result<()> {
        for (tenant, events) in self.route(events).await? {
            let outcomes = self.journal.accept(tenant, events).await?;
            for outcome in outcomes {
                self.counters.outcome(outcome).fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// Groups events by tenant, in their order.
    async fn route(&self, events: Vec<Inbound>) -> Result<Vec<(TenantId, Vec<RoutedEvent>)>> {
        let mut routes: HashMap<AccountId, Option<Route>> = HashMap::new();
        let mut tenants: Vec<(TenantId, Vec<RoutedEvent>)> = Vec::new();
        for event in events {
            let route = match routes.get(&event.account) {
                Some(route) => *route,
                None => {
                    let route = self.directory.route(&event.channel, &event.account).await?;
                    routes.insert(event.account.clone(), route);
                    route
                }
            };
            let Some(Route { tenant, connection }) = route else {
                self.counters.unknown_account.fetch_add(1, Relaxed);
                continue;
            };
            if matches!(event.body, Body::Unsupported { .. }) {
                self.counters.unsupported.fetch_add(1, Relaxed);
            }
            let routed = RoutedEvent { connection, event };
            match tenants.iter_mut().find(|(known, _)| *known == tenant) {
                Some((_, events)) => events.push(routed),
                None => tenants.push((tenant, vec![routed])),
            }
        }
        Ok(tenants)
    }
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    duplicate: AtomicU64,
    upgraded: AtomicU64,
    folded: AtomicU64,
    unknown_account: AtomicU64,
    rejected_signature: AtomicU64,
    unsupported: AtomicU64,
    undecodable: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    fn outcome(&self, outcome: Accepted) -> &AtomicU64 {
        match outcome {
            Accepted::Duplicate => &self.duplicate,
            Accepted::Upgraded => &self.upgraded,
            Accepted::Folded => &self.folded,
            _ => &self.accepted,
        }
    }

    fn read(&self) -> GatewayCounts {
        GatewayCounts {
            accepted: self.accepted.load(Relaxed),
            duplicate: self.duplicate.load(Relaxed),
            upgraded: self.upgraded.load(Relaxed),
            folded: self.folded.load(Relaxed),
            unknown_account: self.unknown_account.load(Relaxed),
            rejected_signature: self.rejected_signature.load(Relaxed),
            unsupported: self.unsupported.load(Relaxed),
            undecodable: self.undecodable.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// What has come in since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayCounts {
    /// Events that were new and are durable.
    pub accepted: u64,
    /// Events that were there already.
    pub duplicate: u64,
    /// Events that told more about one that was there already.
    pub upgraded: u64,
    /// Reports about messages that changed a delivery state, or were about messages of others.
    pub folded: u64,
    /// Events of accounts that nobody here has.
    pub unknown_account: u64,
    /// Requests whose signature did not fit.
    pub rejected_signature: u64,
    /// Events of kinds that this version does not know; kept.
    pub unsupported: u64,
    /// Parts of verified requests that could not be read, nor attributed to anybody.
    pub undecodable: u64,
    /// Requests that were answered with 503.
    pub failed: u64,
}
