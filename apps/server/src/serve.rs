//! Serving: listeners, workers, and an end that loses nothing.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use konstruct_core::{Error, ErrorKind, Result, turn::Worker};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    App,
    config::{Config, named},
    connect::{self, Configured},
    http,
    tasks::Tasks,
};

/// How long the start waits for the vendors of the configured connections.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server that listens and has not begun to work.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    /// The configured connections that no vendor has confirmed yet.
    unconfirmed: Vec<Configured>,
    listener: TcpListener,
    metrics: TcpListener,
}

impl Server {
    /// Binds the listeners and opens the store.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for an address that is in use, [`ErrorKind::InvalidInput`] for another one that cannot be had, both naming the
    /// variable, and those of [`App::open`].
    pub async fn open(config: Config, started: Instant) -> Result<Self> {
        let listener = bind("listen", config.listen).await?;
        let metrics = bind("metrics_listen", config.metrics_listen).await?;
        let address = listener.local_addr().map_err(no_address)?;
        let app = App::open(config, address, started).await?;
        // Vendors that answer at once are asked before anything is acknowledged; the others, in the background.
        let configured = app.take_configured();
        let asked = connect::confirm_once(&app.directory, configured.clone());
        let unconfirmed = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or(configured);
        Ok(Self {
            app,
            unconfirmed,
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
            .map_err(no_address)
    }

    /// Serves until `shutdown` is ready. Then nothing more is accepted, and open turns finish or stay for the next start.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the store is broken or a task ended by itself: the process is to
    /// be started again.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let (stop, stopped) = watch::channel(false);
        let ended = move || {
            let mut stopped = stopped.clone();
            async move {
                // An error means that the sender is gone: that is an end as well.
                let _ = stopped.wait_for(|stop| *stop).await;
            }
        };
        let app = Arc::clone(&self.app);
        let drain = Duration::from_secs(app.config.drain_secs);
        let mut tasks = Tasks::default();
        for (name, listener, router) in [
            ("http", self.listener, http::routes as fn(_, _) -> _),
            ("metrics", self.metrics, http::metrics_routes),
        ] {
            let address = listener.local_addr().map_err(no_address)?;
            let routes = router(Arc::clone(&app), address.ip());
            let served = http::serve(listener, routes, http::Limits::default(), ended());
            tasks.spawn(name, served);
        }
        let worker = Worker::new(app.driver.clone())
            .with_concurrency(app.config.concurrency)
            .with_drain(drain);
        tasks.spawn("worker", worker.run(ended()));
        if let Some(learning) = app.take_learning() {
            let learning = learning.with_lanes(app.config.learning_lanes);
            tasks.spawn("learning", learning.run(ended()));
        }
        let confirming = connect::confirm_all(Arc::clone(&app), self.unconfirmed);
        let until = ended();
        tasks.spawn("connections", async move {
            tokio::select! {
                () = confirming => {}
                () = until => {}
            }
        });
        let failure = tokio::select! {
            () = shutdown => None,
            error = app.store.broken() => Some(error),
            error = tasks.failed(&app.health) => Some(error),
        };
        match &failure {
            None => tracing::info!("draining"),
            Some(error) => tracing::error!(%error, "draining, and ending with an error"),
        }
        app.health.drain();
        if let Some(simulator) = &app.simulator {
            simulator.close();
        }
        let _ = stop.send(true);
        // The worker needs a moment more than its turns.
        tasks.end(drain + Duration::from_secs(2)).await;
        failure.map_or(Ok(()), Err)
    }
}

/// Listens on an address of the configuration.
async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let (kind, problem) = match error.kind() {
            io::ErrorKind::AddrInUse => (
                ErrorKind::Conflict,
                "is in use; stop the other process, or choose another address".to_owned(),
            ),
            io::ErrorKind::PermissionDenied => (
                ErrorKind::InvalidInput,
                "is not allowed to this user; choose a port above 1023".to_owned(),
            ),
            io::ErrorKind::AddrNotAvailable => (
                ErrorKind::InvalidInput,
                "is not an address of this machine; use 0.0.0.0 for all of them".to_owned(),
            ),
            _ => (ErrorKind::InvalidInput, format!("cannot be used: {error}")),
        };
        Error::new(kind, format!("{}: {address} {problem}", named(key))).with_source(error)
    })
}

fn no_address(error: io::Error) -> Error {
    Error::internal("the listener has no address").with_source(error)
}
