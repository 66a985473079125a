//! An embedder that is paid for from the tenant's ledger, under its cap.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;

use super::{EmbedContext, Embedder};
use crate::{
    Clock as _, Directory, Error, ErrorKind, Result, SystemClock,
    limit::Payers,
    memory::Language,
    money::LedgerKind,
    store::{Charge, Store},
    turn::{CallBudget, pay_lost},
};

/// An embedder whose requests are recorded in the tenant's ledger. The maximum cost of each request is reserved under the cap of
/// the tenant's employee, and settled after the request.
///
/// A store is opened with its embedder and usually contains the ledger too, so the payer is set later with
/// [`PaidEmbedder::pay_from`]. Before that, and after the store or the directory was dropped, nothing is embedded.
///
/// ```
/// use std::sync::Arc;
/// use konstruct_core::{Embedder, Result, async_trait, embed::{EmbedContext, PaidEmbedder}};
/// # #[derive(Debug)]
/// # struct Paying;
/// # #[async_trait]
/// # impl Embedder for Paying {
/// #     fn id(&self) -> &str { "openai/text-embedding-3-small" }
/// #     fn dim(&self) -> usize { 1 }
/// #     async fn embed(&self, _: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
/// #         Ok(vec![vec![1.0]; texts.len()])
/// #     }
/// # }
///
/// // `OpenAiEmbedder` of konstruct-llm, for example. Open the store with it, and pass it to `WorkforceBuilder::paid_embedder`.
/// let embedder = Arc::new(PaidEmbedder::new(Arc::new(Paying)));
/// assert_eq!(embedder.id(), "openai/text-embedding-3-small");
/// ```
#[derive(Debug)]
pub struct PaidEmbedder {
    embedder: Arc<dyn Embedder>,
    payer: OnceLock<(Weak<dyn Store>, Weak<dyn Directory>)>,
}

impl PaidEmbedder {
    /// Creates an embedder without a payer.
    pub fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self {
            embedder,
            payer: OnceLock::new(),
        }
    }

    /// Sets the store that pays, and the directory that contains the caps. Only the first call has an effect. The embedder holds
    /// weak references to both.
    pub fn pay_from(&self, store: &Arc<dyn Store>, directory: &Arc<dyn Directory>) {
        let _ = self
            .payer
            .set((Arc::downgrade(store), Arc::downgrade(directory)));
    }

    fn payer(&self) -> Result<(Arc<dyn Store>, Arc<dyn Directory>)> {
        let both = self.payer.get();
        both.and_then(|(store, directory)| Some((store.upgrade()?, directory.upgrade()?)))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    "the embedder has no payer: call `pay_from`, and keep its arguments alive",
                )
            })
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

    fn supports(&self, language: Language) -> bool {
        self.embedder.supports(language)
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let (store, directory) = self.payer()?;
        let embedder = Arc::clone(&self.embedder);
        let context = context.clone();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        // The task settles the request even if the caller is dropped.
        let paid = tokio::spawn(async move {
            let tenant = context.tenant;
            let key = context.idempotency_key.as_str();
            let staff = directory.staff(tenant, None).await?;
            let caps = Payers::default().caps(&staff.employee.caps);
            let (provider, model) = embedder.id().split_once('/').unwrap_or((embedder.id(), ""));
            pay_lost(
                &*store,
                tenant,
                key,
                (provider, model, true),
                SystemClock.now(),
            )
            .await?;
            let budget = Arc::new(CallBudget::new(&store, tenant, key, (None, caps)));
            let metered = context.clone().with_budget(Arc::clone(&budget) as _);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let answer = embedder.embed(&metered, &texts).await;
            let paid = budget.close(SystemClock.now());
            if !paid.rows.is_empty() {
                let charge = Charge {
                    reserve: None,
                    settle: paid.settle,
                    ledger: paid
                        .rows
                        .into_iter()
                        .map(|row| row.of_kind(LedgerKind::Embedding))
                        .collect(),
                };
                store.charge(tenant, charge).await?;
            }
            answer
        });
        paid.await
            .map_err(|error| Error::internal("the embedder panicked").with_source(error))?
    }
}
