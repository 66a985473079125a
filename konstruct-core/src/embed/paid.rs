//! An embedder that is paid for from the tenant's ledger, under its cap.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;

use super::{EmbedContext, Embedder};
use crate::{
    Clock as _, Directory, Error, ErrorKind, Result, SystemClock,
    memory::Language,
    store::{Charge, Store},
    turn::{CallBudget, pay_lost},
};

/// An embedder whose requests are rows of the ledger: the most that each can cost is set aside before it, under the cap of the tenant's
/// employee, and settled after it.
///
/// A store is opened with its embedder and usually holds the ledger too, so the payer is set afterwards by
/// [`PaidEmbedder::pay_from`]. Before that, and when the store or the directory are gone, nothing is embedded.
#[derive(Debug)]
pub struct PaidEmbedder {
    embedder: Arc<dyn Embedder>,
    payer: OnceLock<(Weak<dyn Store>, Weak<dyn Directory>)>,
}

impl PaidEmbedder {
    /// An embedder that nobody pays for yet.
    pub fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self {
            embedder,
            payer: OnceLock::new(),
        }
    }

    /// Sets the store that it is paid from, and the directory that knows the caps. The first call counts. Neither is kept alive.
    pub fn pay_from(&self, store: &Arc<dyn Store>, directory: &Arc<dyn Directory>) {
        let _ = self
            .payer
            .set((Arc::downgrade(store), Arc::downgrade(directory)));
    }

    fn payer(&self) -> Result<(Arc<dyn Store>, Arc<dyn Directory>)> {
        let both = self.payer.get();
        both.and_then(|(store, directory)| Some((store.upgrade()?, directory.upgrade()?)))
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "nobody pays for vectors"))
    }
}

#[async_trait]
impl Embedder for PaidEmbedder {
    fn id(&self) -> &str {
        self.embedder.id()
    }

    fn dim(&self) -> usize {
        self.embedder.dim()
    }

    fn speaks(&self, language: Language) -> bool {
        self.embedder.speaks(language)
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let (store, directory) = self.payer()?;
        let embedder = Arc::clone(&self.embedder);
        let context = context.clone();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        // Whoever stops waiting does not keep the request from being settled.
        let paid = tokio::spawn(async move {
            let tenant = context.tenant;
            let key = context.idempotency_key.as_str();
            let cap = directory.staff(tenant, None).await?.employee.monthly_cap;
            let (provider, model) = embedder.id().split_once('/').unwrap_or((embedder.id(), ""));
            pay_lost(
                &*store,
                tenant,
                key,
                (provider, model, true),
                SystemClock.now(),
            )
            .await?;
            let budget = Arc::new(CallBudget::new(&store, tenant, key, (None, cap)));
            let metered = context.clone().with_budget(Arc::clone(&budget) as _);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let answer = embedder.embed(&metered, &texts).await;
            let paid = budget.close(SystemClock.now());
            if !paid.rows.is_empty() {
                let charge = Charge {
                    reserve: None,
                    settle: paid.settle,
                    ledger: paid.rows,
                };
                store.charge(tenant, charge).await?;
            }
            answer
        });
        paid.await
            .map_err(|error| Error::internal("the embedder broke down").with_source(error))?
    }
}
