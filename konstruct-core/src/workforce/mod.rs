//! The workforce: an employee in an app of your own, made of a store, a model and channels.
//!
//! | file | what |
//! |---|---|
//! | `builder` | what it is made of |
//! | `directory` | its employee and channels, as the turn engine finds them |

mod builder;
mod directory;

use std::{future::Future, ops::Range, sync::Arc};

use futures_util::{FutureExt as _, future::join};
use tokio::sync::oneshot;

pub use self::builder::WorkforceBuilder;
use crate::{
    ConversationId, Depth, Directory, Document, DocumentId, Erase, Error, ErrorKind, Hit, Inbound,
    MemoryStore, NewDocument, Recall, Result, TenantId,
    directory::Route,
    learn::Learner,
    memory::ErasureReceipt,
    message::RoutedEvent,
    store::{
        Accepted, ConversationCursor, ConversationSummary, ItemEntry, LedgerPage, LedgerQuery,
        Store, Stored,
    },
    turn::{ItemId, Worker},
};

/// One tenant, its employee and its channels, for an app that embeds them. The hosted service has a directory in a store.
#[derive(Clone, Debug)]
pub struct Workforce {
    tenant: TenantId,
    store: Arc<dyn Store>,
    memory: Option<Memory>,
    directory: Arc<dyn Directory>,
    worker: Worker,
    learner: Option<Learner>,
}

/// A memory, and whether it is a part of the store.
#[derive(Clone, Debug)]
struct Memory {
    memory: Arc<dyn MemoryStore>,
    of_store: bool,
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

    /// Returns the tenant that everything is kept under.
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

    /// Accepts an event. When it returns, the event is durable, and [`Workforce::run`] will process it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an account that no channel was added for, and those of the store.
    pub async fn accept(&self, event: Inbound) -> Result<Accepted> {
        let route = self.directory.route(&event.channel, &event.account).await?;
        let Route { tenant, connection } = route.ok_or_else(|| Error::not_found("account"))?;
        let outcomes = self
            .store
            .accept(tenant, vec![RoutedEvent { connection, event }])
            .await?;
        outcomes
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("the store gave no outcome"))
    }

    /// Works until `shutdown` is ready, and learns meanwhile.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
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

    /// Works on what is ready now, learns from it, and returns.
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

    /// Lists what waits for a person or a time.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn items(&self, after: Option<ItemId>, limit: usize) -> Result<Vec<ItemEntry>> {
        self.store.items(self.tenant, after, limit).await
    }

    /// Reads a month's sums and rows of the ledger.
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
