//! The workforce: AI employees in an app of your own, made of a store, a model, and channels if you want them.
//!
//! | file | what |
//! |---|---|
//! | `builder` | what it is made of |
//! | `ask` | a question of the app, and its answer |
//! | `proactive` | a message that the employee sends first |
//! | `activity` | what happens, as a stream |
//! | `app` | the built-in channel |

mod activity;
mod app;
mod ask;
mod builder;
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
    proactive::Proactive,
};
use crate::{
    ChannelKind, ConversationId, Depth, Directory, Document, DocumentId, Employee, Erase, Error,
    ErrorKind, Hit, Inbound, LocalDirectory, MemoryStore, NanoUsd, NewDocument, PersonId, Recall,
    Result, TenantId,
    learn::Learner,
    memory::ErasureReceipt,
    message::{Body, Decision, RoutedEvent},
    store::{
        Accepted, ConversationCursor, ConversationSummary, ItemEntry, LedgerPage, LedgerQuery,
        Store, Stored, rules::month,
    },
    turn::{DriverStats, ItemId, Worker},
};

/// AI employees in an app that embeds them: one tenant, or [many](Self::for_tenant).
///
/// Cloning is cheap, and every clone works on the same store.
///
/// ```
/// use konstruct_core::{Employee, SystemClock, Workforce, testkit::{Answer, ReferenceStore, ScriptedModel}};
/// # use std::sync::Arc;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // In an app: `Redb::open("ava.redb")?` or `Postgres` of konstruct-memory, and a backend of konstruct-llm.
/// let store = ReferenceStore::new(Arc::new(SystemClock));
/// let model = ScriptedModel::new(|_| Answer::text("Yes, until six."));
///
/// let workforce = Workforce::builder_on(store)
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
    /// The directory that the builder made, if it made one.
    local: Option<Arc<LocalDirectory>>,
    worker: Worker,
    learner: Option<Learner>,
    running: Running,
}

/// A memory, and whether it is a part of the store.
#[derive(Clone, Debug)]
struct Memory {
    memory: Arc<dyn MemoryStore>,
    of_store: bool,
}

/// How many calls of [`Workforce::run`] are under way.
#[derive(Clone, Debug, Default)]
struct Running(Arc<AtomicUsize>);

impl Running {
    fn is_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn begin(&self) -> Run {
        self.0.fetch_add(1, Ordering::Relaxed);
        Run(Arc::clone(&self.0))
    }
}

struct Run(Arc<AtomicUsize>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was spent and is reserved in a calendar month (UTC), and the cap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spend {
    /// The month, such as `2026-11`.
    pub month: String,
    /// What was spent.
    pub spent: NanoUsd,
    /// What is reserved for calls that are under way.
    pub reserved: NanoUsd,
    /// The employee's monthly cap.
    pub cap: Option<NanoUsd>,
}

impl Spend {
    /// Returns what can still be spent; `None` without a cap.
    pub fn left(&self) -> Option<NanoUsd> {
        let taken = self.spent.saturating_add(self.reserved);
        self.cap.map(|cap| cap.saturating_sub(taken))
    }
}

impl Workforce {
    /// Starts with a store that keeps the conversations and the memory.
    pub fn builder<S: Store + MemoryStore + Clone>(store: S) -> WorkforceBuilder {
        let memory = Memory {
            memory: Arc::new(store.clone()),
            of_store: true,
        };
        WorkforceBuilder::new(Arc::new(store), Some(memory))
    }

    /// Starts with a store that keeps only the conversations. Without a [memory](WorkforceBuilder::memory) the employee knows the
    /// window of history and nothing else.
    pub fn builder_on(store: impl Store) -> WorkforceBuilder {
        WorkforceBuilder::new(Arc::new(store), None)
    }

    /// Returns the same workforce for another tenant: the same store, directory and workers, with the other's data and employee. It
    /// needs a directory that knows the tenant, see [`WorkforceBuilder::directory`].
    #[must_use]
    pub fn for_tenant(&self, tenant: TenantId) -> Self {
        Self {
            tenant,
            ..self.clone()
        }
    }

    /// Returns the tenant that the methods of this value are about.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Returns the directory, for a gateway.
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.directory)
    }

    /// Returns the store, for a gateway.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Changes settings of the employee, from the next turn on. Returns the new version.
    ///
    /// # Errors
    /// Those of [`LocalDirectory::change`], and [`ErrorKind::Unsupported`] for a workforce that was built with a directory of its
    /// own: change it there.
    pub fn change(&self, change: impl FnOnce(&mut Employee)) -> Result<u32> {
        match &self.local {
            Some(local) => local.change(self.tenant, change),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                "change: the workforce was built with a directory; change the employee there",
            )),
        }
    }

    /// Accepts an event. When it returns, the event is durable, and [`Workforce::run`] will process it. An event of the kind
    /// [`ChannelKind::APP`] belongs to the built-in channel.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an account that the tenant has no channel for, and those of the store.
    pub async fn accept(&self, event: Inbound) -> Result<Accepted> {
        let connection = self.connection(&event.channel, &event.account).await?;
        let outcomes = self
            .store
            .accept(self.tenant, vec![RoutedEvent { connection, event }])
            .await?;
        outcomes
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("the store gave no outcome"))
    }

    /// Processes the conversations of all tenants until `shutdown` is ready, and learns meanwhile.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let _running = self.running.begin();
        let Some(learner) = self.learner else {
            return self.worker.run(shutdown).await;
        };
        let (lessons, learning) = learner.lessons();
        let (ended, end) = oneshot::channel::<()>();
        let working = async {
            let worker = self.worker.with_lessons(lessons);
            worker.run(shutdown).await;
            drop(ended);
        };
        // It learns until the worker has ended.
        join(working, learning.run(end.map(drop))).await;
    }

    /// Processes what is ready now, of all tenants, learns from it, and returns.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn run_until_idle(&self) -> Result<()> {
        let Some(learner) = &self.learner else {
            return self.worker.run_until_idle().await;
        };
        let (lessons, learning) = learner.clone().lessons();
        let worker = self.worker.clone().with_lessons(lessons);
        worker.run_until_idle().await?;
        learning.run_until_idle().await;
        Ok(())
    }

    /// Returns counts of the turns, calls and sends of this process.
    pub fn stats(&self) -> &DriverStats {
        self.worker.stats()
    }

    /// Returns the person whom a channel knows by an address: a Slack user id such as `U77`, a WhatsApp phone number (written in any
    /// way) or user id, your app's own id on [`ChannelKind::APP`]. `None` if nobody wrote from it, or they were forgotten.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn person(&self, channel: &ChannelKind, address: &str) -> Result<Option<PersonId>> {
        let address = match channel {
            channel if *channel == ChannelKind::WHATSAPP => phone(address),
            _ => address.trim().to_owned(),
        };
        self.store.person(self.tenant, channel, &address).await
    }

    /// Lists the conversations, the one with the latest activity first, from after the cursor on.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn conversations(
        &self,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<Vec<ConversationSummary>> {
        self.store.list(self.tenant, after, limit).await
    }

    /// Reads a part of a conversation's log; [`said`](crate::turn::said) returns what a record says.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn transcript(
        &self,
        conversation: ConversationId,
        range: Range<u64>,
    ) -> Result<Vec<Stored>> {
        self.store.read(self.tenant, conversation, range).await
    }

    /// Decides about an open item: see [`Decision`] for what a person can decide about which [kind](crate::turn::ItemKind). Returns
    /// whether it was the first decision about the item; a later one changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a conversation that does not exist, and those of the store.
    pub async fn decide(&self, entry: &ItemEntry, decision: Decision) -> Result<bool> {
        let conversation = entry.conversation;
        let known = self.store.conversation(self.tenant, conversation).await?;
        let connection = known
            .ok_or_else(|| Error::not_found("conversation"))?
            .connection;
        let item = entry.item.id.clone();
        let event = Inbound::new(
            ChannelKind::APP,
            crate::AccountId::default(),
            // A second decision about the same item is the same event: the first one counts.
            format!("decision.{item}"),
            self.worker.driver().clock.now(),
            Body::Decision {
                target: conversation,
                item,
                decision,
            },
        );
        let routed = vec![RoutedEvent { connection, event }];
        let accepted = self.store.accept(self.tenant, routed).await?;
        Ok(matches!(accepted[..], [Accepted::New { .. }]))
    }

    /// Lists what waits for a person or a time.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn items(&self, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemEntry>> {
        self.store.items(self.tenant, after, limit).await
    }

    /// Returns what was spent and is reserved in this calendar month (UTC), and the cap.
    ///
    /// # Errors
    /// Those of the store, and [`ErrorKind::NotFound`] where the tenant has no employee.
    pub async fn spend(&self) -> Result<Spend> {
        let month = month(self.worker.driver().clock.now());
        let query = LedgerQuery {
            month: month.clone(),
            ..LedgerQuery::default()
        };
        let page = self.store.ledger(self.tenant, query).await?;
        let staff = self.directory.staff(self.tenant, None).await?;
        Ok(Spend {
            month,
            spent: page.spent,
            reserved: page.reserved,
            cap: staff.employee.monthly_cap,
        })
    }

    /// Reads a month's sums and rows of the ledger, each with its time and conversation.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn ledger(&self, query: LedgerQuery) -> Result<LedgerPage> {
        self.store.ledger(self.tenant, query).await
    }

    /// Finds what is relevant to a text.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of the memory.
    pub async fn recall(&self, query: Recall) -> Result<Vec<Hit>> {
        self.memory()?.recall(self.tenant, query).await
    }

    /// Teaches a document, or a new version of it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of [`put_document`](crate::memory::KnowledgeStore::put_document).
    pub async fn teach(&self, document: NewDocument) -> Result<Document> {
        self.memory()?.put_document(self.tenant, document).await
    }

    /// Lists the documents, the newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of the memory.
    pub async fn documents(&self) -> Result<Vec<Document>> {
        self.memory()?.documents(self.tenant).await
    }

    /// Removes a document and all of its versions. Returns whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a memory, and those of the memory.
    pub async fn delete_document(&self, id: DocumentId) -> Result<bool> {
        self.memory()?.delete_document(self.tenant, id).await
    }

    /// Erases something from the conversations and from the memory, and returns what remains. If it fails, it is to be called
    /// again: what was erased stays erased.
    ///
    /// # Errors
    /// Those of the store and of the memory.
    pub async fn forget(&self, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        let mut receipt = self.store.erase(self.tenant, what, depth).await?;
        // A store that keeps the memory has erased from both.
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

/// Returns a phone number as WhatsApp writes it, in digits; another address as it is.
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
