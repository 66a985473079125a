//! The embedder of a store. It embeds each text only once where possible.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use konstruct_core::{
    Embedder, Recall, TenantId,
    embed::{EmbedContext, EmbedKind},
    memory::Language,
};
use tokio::sync::OwnedMutexGuard;

use super::{
    backend::EmbedderKey,
    follow::{embedder_key, unit_length},
};

/// The number of recent questions that are cached: a turn searches its documents, facts and history with the same question.
const RECENT: usize = 64;
/// The longest that the index waits for the tenant's lock.
const SOON: Duration = Duration::from_millis(20);

/// A store's embedder, if it has one.
#[derive(Debug, Default)]
pub(crate) struct MemoryEmbedder {
    embedder: Option<Arc<dyn Embedder>>,
    recent: Mutex<VecDeque<Question>>,
    /// Tenants whose texts are being embedded.
    busy: Locks,
    /// Tenants with a change in progress that must not be overtaken.
    turns: Locks,
}

/// A lock for each tenant.
#[derive(Debug, Default)]
struct Locks(Mutex<HashMap<TenantId, Weak<tokio::sync::Mutex<()>>>>);

impl Locks {
    async fn lock(&self, tenant: TenantId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            held.retain(|_, lock| lock.strong_count() > 0);
            let lock = held.get(&tenant).and_then(Weak::upgrade);
            let lock = lock.unwrap_or_default();
            held.insert(tenant, Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}

#[derive(Debug)]
struct Question {
    tenant: TenantId,
    text: String,
    call: String,
    /// `None` if the embedder failed.
    vector: Option<Vec<f32>>,
}

impl MemoryEmbedder {
    pub(crate) fn new(embedder: Option<Arc<dyn Embedder>>) -> Self {
        Self {
            embedder,
            ..Self::default()
        }
    }

    pub(crate) fn is_configured(&self) -> bool {
        self.embedder.is_some()
    }

    /// Returns the embedder, if it supports the language.
    pub(super) fn for_language(&self, language: Language) -> Option<&Arc<dyn Embedder>> {
        self.embedder
            .as_ref()
            .filter(|embedder| embedder.supports(language))
    }

    /// Returns a question's vector. Without it, the search uses only words.
    pub(super) async fn question(
        &self,
        (tenant, language): (TenantId, Language),
        query: &Recall,
    ) -> Option<(EmbedderKey, Vec<f32>)> {
        let embedder = self.for_language(language)?;
        let key = embedder_key(&**embedder);
        let vector = match self.known(tenant, query) {
            Some(known) => known,
            None => {
                let context = EmbedContext::new(tenant, EmbedKind::Query, &*query.call);
                let embedded = embedder.embed(&context, &[&query.text]).await;
                let embedded = embedded.inspect_err(|error| {
                    tracing::warn!(%error, "could not embed a question; searching only by words");
                });
                let vector = embedded.ok().and_then(|vectors| vectors.into_iter().next());
                let vector = vector.filter(|vector| vector.len() == embedder.dim());
                let vector = vector.map(unit_length);
                self.remember(tenant, query, vector.clone());
                vector
            }
        };
        Some((key, vector?))
    }

    /// Waits until no other task embeds the tenant's texts, and keeps others from it.
    pub(super) async fn alone(&self, tenant: TenantId) -> OwnedMutexGuard<()> {
        self.busy.lock(tenant).await
    }

    /// Waits for the tenant's lock on changes. While it is held, the index and other overtaken changes wait.
    pub(super) async fn turn(&self, tenant: TenantId) -> OwnedMutexGuard<()> {
        self.turns.lock(tenant).await
    }

    /// Waits a short time for the lock of [`turn`](Self::turn).
    pub(super) async fn turn_soon(&self, tenant: TenantId) -> Option<OwnedMutexGuard<()>> {
        let turn = tokio::time::timeout(SOON, self.turn(tenant));
        turn.await.ok()
    }

    /// Returns the cached result of a question. A failure of the embedder is cached only for the same call.
    fn known(&self, tenant: TenantId, query: &Recall) -> Option<Option<Vec<f32>>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.iter().find(|it| {
            let same = it.tenant == tenant && it.text == query.text;
            same && (it.vector.is_some() || it.call == query.call)
        });
        known.map(|known| known.vector.clone())
    }

    fn remember(&self, tenant: TenantId, query: &Recall, vector: Option<Vec<f32>>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(RECENT - 1);
        recent.push_front(Question {
            tenant,
            text: query.text.clone(),
            call: query.call.clone(),
            vector,
        });
    }
}
