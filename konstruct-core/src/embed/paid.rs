//! An embedder that is paid for from the journal, under the tenant's cap.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;

use super::{EmbedContext, Embedder};
use crate::{
    Directory, Error, ErrorKind, Language, Result,
    turn::{CallBudget, Charge, Journal, pay_lost},
};

/// An embedder whose requests are rows of the ledger: the most that each can cost is set aside before it, under the cap of the tenant's
/// employee, and settled after it.
///
/// A store that embeds is mostly the journal as well, and is opened with its embedder: who pays is said afterwards, by
/// [`PaidEmbedder::pay_from`]. Before that, and when journal or directory are gone, nothing is embedded.
#[derive(Debug)]
pub struct PaidEmbedder {
    embedder: Arc<dyn Embedder>,
    payer: OnceLock<(Weak<dyn Journal>, Weak<dyn Directory>)>,
}

impl PaidEmbedder {
    /// An embedder that nobody pays for yet.
    pub fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self {
            embedder,
            payer: OnceLock::new(),
        }
    }

    /// Says from which journal it is paid, and who knows the caps; the first time counts. Neither is kept alive.
    pub fn pay_from(&self, journal: &Arc<dyn Journal>, directory: &Arc<dyn Directory>) {
        let _ = self
            .payer
            .set((Arc::downgrade(journal), Arc::downgrade(directory)));
    }

    fn payer(&self) -> Result<(Arc<dyn Journal>, Arc<dyn Directory>)> {
        let both = self.payer.get();
        both.and_then(|(journal, directory)| Some((journal.upgrade()?, directory.upgrade()?)))
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
        let (journal, directory) = self.payer()?;
        let embedder = Arc::clone(&self.embedder);
        let context = context.clone();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        // Whoever stops waiting does not keep the request from being settled.
        let paid = tokio::spawn(async move {
            let tenant = context.tenant;
            let key = context.idempotency_key.as_str();
            let cap = directory.staff(tenant, None).await?.employee.monthly_cap;
            let (provider, model) = embedder.id().split_once('/').unwrap_or((embedder.id(), ""));
            pay_lost(&*journal, tenant, key, (provider, model, true)).await?;
            let budget = Arc::new(CallBudget::new(&journal, tenant, key, (None, cap)));
            let metered = context.clone().with_budget(Arc::clone(&budget) as _);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let answer = embedder.embed(&metered, &texts).await;
            let paid = budget.close();
            if !paid.rows.is_empty() {
                let charge = Charge {
                    reserve: None,
                    settle: paid.settle,
                    ledger: paid.rows,
                };
                journal.charge(tenant, charge).await?;
            }
            answer
        });
        paid.await
            .map_err(|error| Error::internal("the embedder broke down").with_source(error))?
    }
}
