//! The language models: the shared pool, and before it those of a tenant's own accounts.

mod own;
mod provider;
mod shared;

use std::sync::Arc;

use konstruct_core::{LlmBackend, Result, http::Guard};
use konstruct_llm::{CallMetrics, Pool, PriceTable};

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

    /// Makes what a tenant's employee thinks with: its own models first, the shared pool after them.
    ///
    /// # Errors
    /// Those of the pool.
    pub(crate) fn pool(&self, own: &[OwnModel]) -> Result<Arc<dyn LlmBackend>> {
        Ok(match self.pool_of(own)? {
            Some(pool) => Arc::new(pool),
            None => self.shared_backend(),
        })
    }

    /// Returns what an employee thinks with whose tenant has no models of its own.
    pub(crate) fn shared_backend(&self) -> Arc<dyn LlmBackend> {
        Arc::new(self.shared.clone())
    }
}

/// Reads the operator's prices. The built-in ones count where these say nothing.
fn prices(config: &Config) -> Result<PriceTable> {
    if config.prices.as_os_str().is_empty() {
        return Ok(PriceTable::default());
    }
    let name = config.prices.display().to_string();
    let text = std::fs::read_to_string(&config.prices).map_err(|error| {
        let key = crate::config::named("prices");
        konstruct_core::Error::invalid(&key, format!("{name} cannot be read: {error}"))
            .with_source(error)
    })?;
    PriceTable::read(&text)
}
