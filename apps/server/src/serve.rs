//! Serving: listeners, workers, and an end that loses nothing.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use konstruct_core::{Error, Result, turn::Worker};
use tokio::{net::TcpListener, sync::watch};

use crate::{App, config::Config, http};

/// A server that listens and has not begun to work.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    metrics: TcpListener,
}

impl Server {
    /// Binds the listeners and opens the store.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names the address that cannot be had, and those of [`App::open`].
    pub async fn open(config: Config, started: Instant) -> Result<Self> {
        let bind = async |key: &str, address| {
            TcpListener::bind(address).await.map_err(|error| {
                Error::invalid(key, format!("{address} cannot be listened on: {error}"))
                    .with_source(error)
            })
        };
        let listener = bind("listen", config.listen).await?;
        let metrics = bind("metrics_listen", config.metrics_listen).await?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::internal("no address").with_source(error))?;
        let app = App::open(config, address, started).await?;
        Ok(Self {
            app,
            listener,
            metrics,
        })
    }

    /// Returns what the routes and the workers share.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Returns where it is reached.
    ///
    /// # Errors
    /// Those of the system.
    pub fn url(&self) -> Result<String> {
        let address = self.listener.local_addr();
        address
            .map(|address| format!("http://{address}"))
            .map_err(|error| Error::internal("no address").with_source(error))
    }

    /// Serves until `shutdown` is ready. Then nothing more is accepted, and open turns finish or stay for the next start.
    ///
    /// # Errors
    /// Those of the listeners.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let (stop, stopped) = watch::channel(false);
        let ended = move || {
            let mut stopped = stopped.clone();
            async move {
                // An error means that the sender is gone: that is an end as well.
                let _ = stopped.wait_for(|stop| *stop).await;
            }
        };
        let public = axum::serve(self.listener, http::routes(Arc::clone(&self.app)))
            .with_graceful_shutdown(ended());
        let metrics = axum::serve(self.metrics, http::metrics_routes(Arc::clone(&self.app)))
            .with_graceful_shutdown(ended());
        let worker = Worker::new(self.app.driver.clone())
            .with_concurrency(self.app.config.concurrency)
            .with_drain(Duration::from_secs(self.app.config.drain_secs));
        let worker = tokio::spawn(worker.run(ended()));
        if let Some(learning) = self.app.take_learning() {
            tokio::spawn(learning.run(ended()));
        }
        let identity = tokio::spawn(crate::connect::learn_workspace(Arc::clone(&self.app)));
        let public = tokio::spawn(public.into_future());
        let metrics = tokio::spawn(metrics.into_future());
        shutdown.await;
        tracing::info!("draining");
        identity.abort();
        if let Some(simulator) = &self.app.simulator {
            simulator.close();
        }
        let _ = stop.send(true);
        let drained = worker.await;
        // Connections that a client keeps open do not hold the end up.
        let grace = Duration::from_secs(1);
        let _ = tokio::time::timeout(grace, async { (public.await, metrics.await) }).await;
        drained.map_err(|error| Error::internal("the workers ended badly").with_source(error))
    }
}
