//! Workforces: AI employees in your own app, built from a store, a model and optional channels.
//!
//! | file | what |
//! |---|---|
//! | `builder` | the builder |
//! | `ask` | direct questions and their answers |
//! | `proactive` | messages that the employee sends first |
//! | `activity` | a stream of what happens |
//! | `app` | the built-in channel |
//! | `changes` | waiting for news in the log |

mod activity;
mod app;
mod ask;
mod builder;
mod changes;
mod proactive;

use std::{
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{FutureExt as _, future::join};
use tokio::sync::oneshot;

pub use self::{
    activity::{Activity, ActivityKind},
    ask::Answer,
    builder::WorkforceBuilder,
    proactive::ProactiveMessage,
};
use crate::{
    ChannelKind, ConnectionId, ConversationId, Depth, Directory, Document, DocumentId, Employee,
    Erase, Error, ErrorKind, Hit, Inbound, LocalDirectory, MemoryStore, NanoUsd, NewDocument,
    PersonId, Recall, Result, TenantId,
    learn::Learner,
    limit::{BudgetSum, CapScope, Period},
    memory::ErasureReceipt,
    message::{Decision, RoutedEvent},
    store::{
        Accepted, ConversationCursor, ConversationSummary, ItemEntry, LedgerPage, LedgerQuery,
        Store, Stored, rules::month,
    },
    turn::{DriverStats, ItemId, ItemKind, OpenReason, Worker, attachment_erasures},
};

/// AI employees that are embedded in an app, for one tenant or [many](Self::for_tenant).
///
/// Cloning is cheap. All clones use the same store.
///
/// ```
/// use konstruct_core::{Employee, SystemClock, Workforce, testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel}};
/// # use std::sync::Arc;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // In an app: `Redb::open("ava.redb")?` or `Postgres` of konstruct-memory, and a backend of konstruct-llm.
/// let store = ReferenceStore::new(Arc::new(SystemClock));
/// let model = ScriptedModel::new(|_| ScriptedAnswer::text("Yes, until six."));
///
/// let workforce = Workforce::builder_without_memory(store)
///     .model(model)
///     .hire(Employee::builder("Ava").role("front desk of Acme Bikes").build()?)
///     .build()?;
/// assert_eq!(workforce.ask("you", "Are you open?").await?.text, "Yes, until six.");
///
/// // Settings change while it runs.
/// workforce.change(|ava| ava.persona = "formal".into())?;
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Workforce {
    tenant: TenantId,
    store: Arc<dyn Store>,
    memory: Option<Memory>,
    directory: Arc<dyn Directory>,
    /// The directory that the builder created, if any.
    local: Option<Arc<LocalDirectory>>,
    worker: Worker,
    learner: Option<Learner>,
    running: RunCounter,
}

/// A memory, and whether it is part of the store.
#[derive(Clone, Debug)]
struct Memory {
    memory: Arc<dyn MemoryStore>,
    of_store: bool,
}

/// The number of running calls of [`Workforce::run`].
#[derive(Clone, Debug, Default)]
struct RunCounter(Arc<AtomicUsize>);

impl RunCounter {
    fn is_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn begin(&self) -> RunGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        RunGuard(Arc::clone(&self.0))
    }
}

struct RunGuard(Arc<AtomicUsize>);

impl Drop for RunGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The amounts spent and reserved in a calendar month (UTC), and the cap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spend {
    /// The month, such as `2026-11`.
    pub month: String,
    /// The amount spent.
    pub spent: NanoUsd,
    /// The amount reserved for running calls.
    pub reserved: NanoUsd,
    /// The tenant's monthly cap.
    pub cap: Option<NanoUsd>,
    /// The sums of the current periods with a cap, see [`LedgerPage::budgets`]; at most 100.
    pub budgets: Vec<BudgetSum>,
}

impl Spend {
    /// Returns the amount that can still be spent; `None` without a cap.
    pub fn left(&self) -> Option<NanoUsd> {
        let taken = self.spent.saturating_add(self.reserved);
        self.cap.map(|cap| cap.saturating_sub(taken))
    }
}

impl Workforce {
    /// Starts building a workforce on a store that keeps both the conversations and the memory.
    pub fn builder<S: Store + MemoryStore + Clone>(store: S) -> WorkforceBuilder {
        let memory = Memory {
            memory: Arc::new(store.clone()),
            of_store: true,
        };
        WorkforceBuilder::new(Arc::new(store), Some(memory))
    }

    /// Starts building a workforce on a store that keeps only the conversations. Without a [memory](WorkforceBuilder::memory),
    /// the employee sees only the most recent history.
    pub fn builder_without_memory(store: impl Store) -> WorkforceBuilder {
        WorkforceBuilder::new(Arc::new(store), None)
    }

    /// Returns the workforce of another tenant, with the same store, directory and workers. The directory must know the tenant,
    /// see [`WorkforceBuilder::directory`].
    #[must_use]
    pub fn for_tenant(&self, tenant: TenantId) -> Self {
        Self {
            tenant,
            ..self.clone()
        }
    }

    /// Returns the tenant of this workforce.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the directory for a gateway.
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.directory)
    }

    /// Returns the store for a gateway.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Returns the memory, if the workforce has one.
    pub fn memory_store(&self) -> Option<Arc<dyn MemoryStore>> {
        self.memory.as_ref().map(|own| Arc::clone(&own.memory))
    }

    /// Returns the learner, if [`learn_every`](WorkforceBuilder::learn_every) was set.
    pub fn learner(&self) -> Option<&Learner> {
        self.learner.as_ref()
    }

    /// Changes the settings of the employee, starting with the next turn. Returns the new version.
    ///
    /// # Errors
    /// Those of [`LocalDirectory::change`], and [`ErrorKind::Unsupported`] if the workforce was built with your own directory;
    /// change the employee there.
    pub fn change(&self, change: impl FnOnce(&mut Employee)) -> Result<u32> {
        match &self.local {
            Some(local) => local.change(self.tenant, change),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                "change: the workforce was built with a directory; change the employee there",
            )),
        }
    }

    /// Accepts an event. When the call returns, the event is stored, and [`Workforce::run`] will process it. An event of the kind
    /// [`ChannelKind::APP`] belongs to the built-in channel.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an account without a channel of the tenant, and those of the store.
    pub async fn accept(&self, event: Inbound) -> Result<Accepted> {
        let connection = self.connection(&event.channel, &event.account).await?;
        self.accept_on(connection, event).await
    }

    async fn accept_on(&self, connection: ConnectionId, event: Inbound) -> Result<Accepted> {
        let routed = vec![RoutedEvent { connection, event }];
        let outcomes = self.store.accept(self.tenant, routed).await?;
        let outcome = outcomes.into_iter().next();
        outcome.ok_or_else(|| Error::internal("the store returned no outcome"))
    }

    /// Processes the conversations of all tenants until `shutdown` completes, and learns from them in the background.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let _running = self.running.begin();
        let Some(learner) = self.learner else {
            return self.worker.run(shutdown).await;
        };
        let (learn_queue, learn_loop) = learner.into_queue_and_loop();
        let (ended, end) = oneshot::channel::<()>();
        let working = async {
            let worker = self.worker.with_learn_queue(learn_queue);
            worker.run(shutdown).await;
            drop(ended);
        };
        // Learning continues until the worker has ended.
        join(working, learn_loop.run(end.map(drop))).await;
    }

    /// Processes everything that is ready now, of all tenants, learns from it, and returns.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn run_until_idle(&self) -> Result<()> {
        let Some(learner) = &self.learner else {
            return self.worker.run_until_idle().await;
        };
        let (learn_queue, learn_loop) = learner.clone().into_queue_and_loop();
        let worker = self.worker.clone().with_learn_queue(learn_queue);
        worker.run_until_idle().await?;
        learn_loop.run_until_idle().await;
        Ok(())
    }

    /// Returns counters of the turns, calls and sends of this process.
    pub fn stats(&self) -> &DriverStats {
        self.worker.stats()
    }

    /// Returns the person behind an address of a channel: a Slack user id such as `U77`, a WhatsApp phone number in any notation
    /// or user id, or your app's own id on [`ChannelKind::APP`]. `None` if no message came from the address and
    /// none was sent to it with [`for_person`](ProactiveMessage::for_person), or the person was erased.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn person(&self, channel: &ChannelKind, address: &str) -> Result<Option<PersonId>> {
        let address = match channel {
            channel if *channel == ChannelKind::WHATSAPP => phone(address),
            _ => address.trim().to_owned(),
        };
        self.store.person(self.tenant, channel, &address).await
    }

    /// Lists the conversations after a cursor, most recently active first.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn conversations(
        &self,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        self.store.list(self.tenant, after, limit).await
    }

    /// Reads a range of a conversation's log; [`spoken_message`](crate::turn::spoken_message) returns the message in a record.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn transcript(
        &self,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.store.read(self.tenant, conversation, range).await
    }

    /// Decides on an open item, see [`Decision`] for the possible decisions and [`ItemKind`] for the kinds
    /// of items. Returns whether this was the first decision on the item; later ones have no effect.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a decision that does not fit the item, [`ErrorKind::NotFound`] if the conversation does not
    /// exist, and any error of the store.
    pub async fn decide(&self, entry: &ItemEntry, decision: Decision) -> Result<bool> {
        if !fits(&entry.item.kind, decision) {
            let message = "does not fit the item; see `Decision` for what fits which item";
            return Err(Error::invalid("decision", message));
        }
        let conversation = entry.conversation;
        let known = self.store.conversation(self.tenant, conversation).await?;
        let connection = known
            .ok_or_else(|| Error::not_found("conversation"))?
            .connection;
        let now = self.worker.driver().clock.now();
        let event = Inbound::decision(conversation, entry.item.id.clone(), decision, now);
        let accepted = self.accept_on(connection, event).await?;
        Ok(matches!(accepted, Accepted::New { .. }))
    }

    /// Lists the open items, which wait for a person or a time.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn open_items(&self, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemEntry>> {
        self.store.items(self.tenant, after, limit).await
    }

    /// Returns the amounts spent and reserved in this calendar month (UTC), and the cap.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::NotFound`] if the tenant has no employee.
    pub async fn spend(&self) -> Result<Spend> {
        let month = month(self.worker.driver().clock.now());
        let query = LedgerQuery {
            month: month.clone(),
            budgets: 100,
            ..LedgerQuery::default()
        };
        let page = self.store.ledger(self.tenant, query).await?;
        let staff = self.directory.staff(self.tenant, None).await?;
        Ok(Spend {
            month,
            spent: page.spent,
            reserved: page.reserved,
            cap: staff.employee.cap(CapScope::Tenant, Period::Month),
            budgets: page.budgets,
        })
    }

    /// Returns the sums of a month and a page of the ledger's rows, each with its time and conversation.
    ///
    /// # Errors
    /// Any error of the store.
    pub async fn ledger(&self, query: LedgerQuery) -> Result<LedgerPage> {
        self.store.ledger(self.tenant, query).await
    }

    /// Searches the memory.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of the memory.
    pub async fn recall(&self, query: Recall) -> Result<Vec<Hit>> {
        self.memory()?.recall(self.tenant, query).await
    }

    /// Adds a document to the memory, or a new version of it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of [`put_document`](crate::memory::KnowledgeStore::put_document).
    pub async fn teach(&self, document: NewDocument) -> Result<Document> {
        self.memory()?.put_document(self.tenant, document).await
    }

    /// Lists the documents, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of the memory.
    pub async fn documents(&self) -> Result<Vec<Document>> {
        self.memory()?.documents(self.tenant).await
    }

    /// Removes a document with all of its versions. Returns whether it existed.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of the memory.
    pub async fn delete_document(&self, id: DocumentId) -> Result<bool> {
        self.memory()?.delete_document(self.tenant, id).await
    }

    /// Erases something from the conversations and from the memory, and returns what remains. With a message, what was read in its
    /// attachments is erased as well. If it fails, it must be called
    /// again; what was erased stays erased.
    ///
    /// # Errors
    /// Those of the store and of the memory.
    pub async fn erase(&self, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        let mut attachments = 0;
        for own in attachment_erasures(&*self.store, self.tenant, what).await? {
            attachments += self.erase_one(own, depth).await?.records;
        }
        let mut receipt = self.erase_one(what, depth).await?;
        receipt.records += attachments;
        Ok(receipt)
    }

    async fn erase_one(&self, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        let mut receipt = self.store.erase(self.tenant, what, depth).await?;
        // A store that contains the memory has erased from both.
        if let Some(Memory { memory, .. }) = self.memory.as_ref().filter(|own| !own.of_store) {
            let own = memory.forget(self.tenant, what, depth).await?;
            receipt.passages += own.passages;
            receipt.facts += own.facts;
            receipt.keys += own.keys;
            receipt.remains.extend(own.remains);
        }
        Ok(receipt)
    }

    fn memory(&self) -> Result<&dyn MemoryStore> {
        match &self.memory {
            Some(own) => Ok(&*own.memory),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                "memory: the workforce was built without one",
            )),
        }
    }
}

/// Returns whether a decision fits an open item. Any other would close the item without an effect.
fn fits(kind: &ItemKind, decision: Decision) -> bool {
    match kind {
        ItemKind::Send { reason, .. } => match decision {
            Decision::Arrived => *reason == OpenReason::Unresolved,
            Decision::Resend | Decision::Drop => true,
            Decision::Answer => false,
        },
        ItemKind::Question { .. } => matches!(decision, Decision::Answer | Decision::Drop),
        ItemKind::Rest => decision == Decision::Drop,
    }
}

/// Returns a phone number in digits only, as WhatsApp writes it; any other address unchanged.
fn phone(address: &str) -> String {
    let address = address.trim();
    let is_phone = |c: char| c.is_ascii_digit() || " +-.()/".contains(c);
    if address.chars().all(is_phone) {
        let digits = address.chars().filter(char::is_ascii_digit);
        return digits.collect();
    }
    address.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_is_found_however_it_is_written() {
        for written in ["+49 (171) 123-45/67", "491711234567", " 49.171.1234567 "] {
            assert_eq!(phone(written), "491711234567");
        }
        assert_eq!(phone("US.13491208655302741918"), "US.13491208655302741918");
    }
}
