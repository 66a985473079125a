//! The gateway: verifies, decodes, routes and stores an event before it acknowledges it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use konstruct_core::{
    AccountId, ChannelKind, Clock, Directory, ErrorKind, Inbound, Result, SystemClock, TenantId,
    Timestamp, Workforce,
    directory::Route,
    message::{Body, RoutedEvent},
    store::{Accepted, Store},
    text::contains_name,
};
use tracing::Instrument as _;

use crate::{HttpReply, Received, Webhook, WebhookRequest};

/// The largest accepted body, in bytes: Meta's payloads have at most 3 MB.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// The seconds between two log lines about rejected requests.
const WARN_PERIOD: i64 = 10;

/// Accepts webhooks for all tenants.
///
/// # Contract
/// * A 200 means that every event of a known account is durable. If the directory or the store fails, the response is 503, and
///   the provider delivers the events again.
/// * Events of unknown accounts are answered with 200, counted and dropped: after errors the provider would disable the webhook
///   for every tenant.
///
/// ```
/// use konstruct_channels::{Gateway, SlackWebhook, WebhookRequest};
/// use konstruct_core::{ChannelKind, Employee, Secret, SystemClock, Workforce};
/// # use konstruct_core::testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel};
/// # use std::sync::Arc;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let workforce = Workforce::builder_without_memory(ReferenceStore::new(Arc::new(SystemClock)))
/// #     .model(ScriptedModel::new(|_| ScriptedAnswer::text("Hi.")))
/// #     .hire(Employee::builder("Ava").build()?)
/// #     .build()?;
/// let webhook = SlackWebhook::new(Secret::new("signing secret"))?;
/// let gateway = Gateway::of(&workforce).with(ChannelKind::SLACK, webhook);
/// // Without axum: hand it each request and send its reply.
/// let unsigned = WebhookRequest::post(r#"{"type":"event_callback"}"#);
/// let reply = gateway.handle(&ChannelKind::SLACK, &unsigned).await;
/// assert_eq!(reply.status, 401);
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
///
/// # Security
/// A gateway has one secret for each kind of channel, and whoever holds it can send events for every account that the directory
/// routes. One Slack app and one Meta app therefore serve all tenants. For a tenant with an app of its own, make another gateway
/// under a path of its own, on a directory that routes only that tenant's accounts.
#[derive(Debug)]
pub struct Gateway {
    directory: Arc<dyn Directory>,
    journal: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    webhooks: HashMap<ChannelKind, Box<dyn Webhook>>,
    counters: Counters,
    /// When a rejected request was logged.
    warned: Mutex<Option<Timestamp>>,
}

impl Gateway {
    /// Creates a gateway without channels.
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
            warned: Mutex::default(),
        }
    }

    /// Creates a gateway for the channels of a workforce, on the system's clock.
    pub fn of(workforce: &Workforce) -> Self {
        let clock = Arc::new(SystemClock);
        Self::new(workforce.directory(), workforce.store(), clock)
    }

    /// Adds a channel's webhook and replaces an earlier one of the same kind.
    #[must_use]
    pub fn with(mut self, kind: ChannelKind, webhook: impl Webhook) -> Self {
        self.webhooks.insert(kind, Box::new(webhook));
        self
    }

    /// Returns whether a kind of channel is served.
    pub fn serves(&self, kind: &ChannelKind) -> bool {
        self.webhooks.contains_key(kind)
    }

    /// Returns the counts since the start.
    pub fn counts(&self) -> GatewayCounts {
        self.counters.read()
    }

    /// Handles a request to a channel's webhook and returns the response.
    ///
    /// # Cancel safety
    /// A dropped future may leave the events accepted but not acknowledged. The provider then delivers them again, and they count
    /// as duplicates.
    pub async fn handle(&self, kind: &ChannelKind, request: &WebhookRequest) -> HttpReply {
        let span = tracing::info_span!(
            "webhook",
            channel = kind.as_str(),
            bytes = request.body().len()
        );
        self.answer(kind, request).instrument(span).await
    }

    /// Returns the refusal of a request that needs no look at its body: a kind that is not served (404), a body that is declared as
    /// too large (413), or headers without which [`handle`](Self::handle) would reject it. `head` is the request without its body.
    ///
    /// The [routes](crate::routes) call it before they read a body. A handler of your own can do the same.
    ///
    /// ```
    /// # use konstruct_channels::{Gateway, SlackWebhook, WebhookRequest};
    /// # use konstruct_core::{ChannelKind, Employee, Secret, SystemClock, Workforce};
    /// # use konstruct_core::testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel};
    /// # use std::sync::Arc;
    /// # let workforce = Workforce::builder_without_memory(ReferenceStore::new(Arc::new(SystemClock)))
    /// #     .model(ScriptedModel::new(|_| ScriptedAnswer::text("Hi.")))
    /// #     .hire(Employee::builder("Ava").build()?)
    /// #     .build()?;
    /// # let webhook = SlackWebhook::new(Secret::new("signing secret"))?;
    /// let gateway = Gateway::of(&workforce).with(ChannelKind::SLACK, webhook);
    /// let unsigned = WebhookRequest::post("").with_header("content-length", "3000000");
    /// let refused = gateway.refuse_head(&ChannelKind::SLACK, &unsigned);
    /// assert_eq!(refused.map(|reply| reply.status), Some(401));
    /// # Ok::<(), konstruct_core::Error>(())
    /// ```
    pub fn refuse_head(&self, kind: &ChannelKind, head: &WebhookRequest) -> Option<HttpReply> {
        let Some(webhook) = self.webhooks.get(kind) else {
            return Some(HttpReply::empty(404));
        };
        let length = head
            .header("content-length")
            .and_then(|text| text.parse().ok());
        if length.is_some_and(|length: usize| length > MAX_BODY) {
            return Some(HttpReply::empty(413));
        }
        let refused = webhook.refuse_head(head, self.clock.now());
        if refused.is_some() {
            self.counters.rejected_signature.fetch_add(1, Relaxed);
            // A flood of them must not fill the log.
            tracing::debug!("refused a webhook request by its headers");
        }
        refused
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
                let rejected = self.counters.rejected_signature.fetch_add(1, Relaxed) + 1;
                if self.warns() {
                    tracing::warn!(
                        rejected,
                        "rejected a webhook request with an invalid signature; check the channel's signing secret"
                    );
                }
                return reply;
            }
            Received::Events(decoded, reply) => (decoded, reply),
        };
        self.counters
            .undecodable
            .fetch_add(decoded.undecodable as u64, Relaxed);
        match self.store(decoded.events).await {
            Ok(()) => reply,
            Err(error) => {
                self.counters.failed.fetch_add(1, Relaxed);
                tracing::error!(%error, "could not store the events of a webhook request; the provider will deliver them again");
                HttpReply::empty(503)
            }
        }
    }

    /// Returns whether a rejected request is logged: one in a while, so that a flood of them does not fill the log.
    fn warns(&self) -> bool {
        let now = self.clock.now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let due = warned.is_none_or(|at| now.as_secs() - at.as_secs() >= WARN_PERIOD);
        if due {
            *warned = Some(now);
        }
        due
    }

    /// Routes events to their tenants and makes them durable.
    async fn store(&self, events: Vec<Inbound>) -> Result<()> {
        for (tenant, events) in self.route(events).await? {
            let outcomes = self.journal.accept(tenant, events).await?;
            for outcome in outcomes {
                self.counters.outcome(outcome).fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// Marks an event that names the tenant's employee as a mention, where its channel has no other mentions.
    async fn named(&self, tenant: TenantId, mut event: Inbound) -> Result<Inbound> {
        let by_name = std::mem::take(&mut event.addressed.by_name);
        if by_name
            && !event.addressed.mention
            && let Body::Message { content, .. } = &event.body
        {
            event.addressed.mention = match self.directory.staff(tenant, None).await {
                Ok(staff) => contains_name(&content.text, &staff.employee.name),
                // Whoever is hired later was not meant.
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
        }
        Ok(event)
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
            let event = self.named(tenant, event).await?;
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

/// The gateway's counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayCounts {
    /// New events that were stored.
    pub accepted: u64,
    /// Events that were already stored.
    pub duplicate: u64,
    /// Events that added information to one that was already stored.
    pub upgraded: u64,
    /// Delivery reports, whether they changed a delivery state or belong to messages of other senders.
    pub folded: u64,
    /// Events of unknown accounts.
    pub unknown_account: u64,
    /// Requests with an invalid signature.
    pub rejected_signature: u64,
    /// Events of unknown kinds; they are stored.
    pub unsupported: u64,
    /// Parts of verified requests that could not be parsed or attributed to an account.
    pub undecodable: u64,
    /// Requests that were answered with 503.
    pub failed: u64,
}
