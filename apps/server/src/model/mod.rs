//! The language models: the shared pool, and before it those of a tenant's own accounts.

mod own;
mod provider;
mod shared;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use konstruct_core::{LlmBackend, Result, TenantId};
use konstruct_llm::{CallMetrics, Guard, Pool, PriceTable};

pub(crate) use self::own::{OwnModel, Use};
use self::provider::Provider;
use crate::config::Config;

/// What every employee thinks with.
#[derive(Debug)]
pub struct Models {
    shared: Pool,
    prices: PriceTable,
    /// What a tenant's own base URLs may reach.
    guard: Guard,
    metrics: Arc<CallMetrics>,
    /// The pools of tenants that have models of their own, as far as they were asked for; `None` for those that have none.
    own: RwLock<HashMap<TenantId, Option<Arc<Pool>>>>,
}

impl Models {
    /// Makes the shared pool of the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for a provider that there is not, or that is not set up, and for a
    /// price table that cannot be read.
    pub async fn open(config: &Config) -> Result<Self> {
        let prices = prices(config)?;
        let metrics = Arc::<CallMetrics>::default();
        let hosts = config.allowed_hosts.iter();
        Ok(Self {
            shared: shared::pool(config, &prices, &metrics).await?,
            prices,
            guard: hosts.fold(Guard::new(), Guard::allow),
            metrics,
            own: RwLock::default(),
        })
    }

    /// Returns the shared pool.
    pub fn shared(&self) -> &dyn LlmBackend {
        &self.shared
    }

    /// Returns the operator's prices.
    pub(crate) fn prices(&self) -> &PriceTable {
        &self.prices
    }

    /// Returns the metrics of all calls.
    pub(crate) fn metrics(&self) -> &CallMetrics {
        &self.metrics
    }

    /// Returns what a tenant's employee thinks with: its own models first, the shared pool after them. `read` gives the tenant's models
    /// where they are not known yet.
    pub(crate) async fn of(
        &self,
        tenant: TenantId,
        read: impl AsyncFnOnce() -> Result<Vec<OwnModel>>,
    ) -> Result<Arc<dyn LlmBackend>> {
        let known = self
            .own
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&tenant)
            .cloned();
        let pool = match known {
            Some(pool) => pool,
            None => {
                let models = read().await?;
                let pool = self.pool_of(&models)?.map(Arc::new);
                let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
                own.entry(tenant).or_insert(pool).clone()
            }
        };
        Ok(match pool {
            Some(pool) => pool,
            None => Arc::new(self.shared.clone()),
        })
    }

    /// Forgets what is known of a tenant's own models: they have changed.
    pub(crate) fn forget(&self, tenant: TenantId) {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.remove(&tenant);
    }
}

/// Reads the operator's prices. The built-in ones count where these say nothing.
fn prices(config: &Config) -> Result<PriceTable> {
    if config.prices.as_os_str().is_empty() {
        return Ok(PriceTable::default());
    }
    let name = config.prices.display().to_string();
    let text = std::fs::read_to_string(&config.prices).map_err(|error| {
        konstruct_core::Error::invalid("prices", format!("{name} cannot be read"))
            .with_source(error)
    })?;
    PriceTable::read(&text)
}
