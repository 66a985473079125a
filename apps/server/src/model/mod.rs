//! The language models: a tenant's own models, and the shared pool after them.

mod own;
mod provider;
mod shared;

use std::sync::Arc;

use konstruct_core::{LlmBackend, Result, Transcriber, http::Guard};
use konstruct_llm::{CallMetrics, Pool, PriceTable};

pub(crate) use self::own::{OwnModel, Use};
use self::provider::Provider;
use crate::{config::Config, transcriber::Transcribers};

/// The models of all employees.
#[derive(Debug)]
pub struct Models {
    shared: Pool,
    prices: PriceTable,
    transcribers: Transcribers,
    /// The addresses that tenants' base URLs may reach.
    guard: Guard,
    metrics: Arc<CallMetrics>,
}

impl Models {
    /// Creates the shared pool from the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) for an unknown provider, one without its settings, or
    /// an invalid price table.
    pub async fn open(config: &Config) -> Result<Self> {
        let prices = prices(config)?;
        let metrics = Arc::<CallMetrics>::default();
        let hosts = config.allowed_hosts.iter();
        Ok(Self {
            shared: shared::pool(config, &prices, &metrics).await?,
            prices,
            transcribers: Transcribers::open(config)?,
            guard: hosts.fold(Guard::new(), Guard::allow),
            metrics,
        })
    }

    /// Returns the shared pool.
    pub fn shared(&self) -> &dyn LlmBackend {
        &self.shared
    }

    /// Returns what voice messages of a tenant with these models are transcribed with.
    ///
    /// # Errors
    /// Those of the pool.
    pub(crate) fn transcriber(&self, own: &[OwnModel]) -> Result<Option<Arc<dyn Transcriber>>> {
        self.transcribers.of(own, &self.guard)
    }

    /// Returns the operator's prices.
    pub(crate) fn prices(&self) -> &PriceTable {
        &self.prices
    }

    /// Returns the metrics of all calls.
    pub(crate) fn metrics(&self) -> &CallMetrics {
        &self.metrics
    }

    /// Creates the pool of a tenant's employee: its own models first, the shared pool after them.
    ///
    /// # Errors
    /// Those of the pool.
    pub(crate) fn pool(&self, own: &[OwnModel]) -> Result<Arc<dyn LlmBackend>> {
        Ok(match self.pool_of(own)? {
            Some(pool) => Arc::new(pool),
            None => self.shared_backend(),
        })
    }

    /// Returns the backend for employees of tenants without their own models.
    pub(crate) fn shared_backend(&self) -> Arc<dyn LlmBackend> {
        Arc::new(self.shared.clone())
    }
}

/// Reads the operator's prices. The built-in prices are used for models that are not in the file.
fn prices(config: &Config) -> Result<PriceTable> {
    if config.prices.as_os_str().is_empty() {
        return Ok(PriceTable::default());
    }
    let name = config.prices.display().to_string();
    let text = std::fs::read_to_string(&config.prices).map_err(|error| {
        let key = crate::config::named("prices");
        konstruct_core::Error::invalid(&key, format!("could not read {name}: {error}"))
            .with_source(error)
    })?;
    PriceTable::parse(&text)
}
