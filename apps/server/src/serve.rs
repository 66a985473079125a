//! Serving: listeners, workers, and a shutdown that loses nothing.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use konstruct_core::{Error, ErrorKind, Result, turn::Worker};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    App,
    config::{Config, named},
    connect::{self, ConfiguredConnection},
    crawls,
    http::{self, Descriptors, descriptor_limit},
    mails,
    tasks::Tasks,
    tenant_jobs,
};

/// How long the start waits for the vendors of the configured connections.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(2);

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    /// The configured connections that are not confirmed yet.
    unconfirmed: Vec<ConfiguredConnection>,
    listener: TcpListener,
    metrics: TcpListener,
    descriptors: Descriptors,
    /// The number of conversations processed at the same time.
    concurrency: NonZeroUsize,
}

impl Server {
    /// Binds the listeners and opens the store.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for an address in use, and [`ErrorKind::InvalidInput`] for one that cannot be bound, both with the
    /// name of the variable; and those of [`App::open`].
    pub async fn open(config: Config, started: Instant) -> Result<Self> {
        let listener = bind("listen", config.listen).await?;
        let metrics = bind("metrics_listen", config.metrics_listen).await?;
        let address = listener.local_addr().map_err(no_address)?;
        let limit = descriptor_limit();
        let of = &config.http;
        let descriptors = Descriptors::divide(limit, of.connections, of.reserved_descriptors);
        let concurrency = config.concurrency.min(descriptors.conversations());
        if concurrency < config.concurrency {
            tracing::warn!(
                limit,
                concurrency,
                configured = config.concurrency,
                "the limit of open files allows fewer conversations at the same time than configured; raise it (`ulimit -n`, \
                 LimitNOFILE= of systemd)"
            );
        }
        let app = App::open(config, address, started).await?;
        // Vendors that respond quickly are asked before any event is acknowledged; the others are asked in the background.
        let configured = app.take_configured();
        let asked = connect::confirm_once(&app.directory, configured.clone());
        let unconfirmed = tokio::time::timeout(CONFIRMATION_TIMEOUT, asked)
            .await
            .unwrap_or(configured);
        Ok(Self {
            app,
            unconfirmed,
            listener,
            metrics,
            descriptors,
            concurrency,
        })
    }

    /// Returns the state shared by the routes and the workers.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Returns the server's URL.
    ///
    /// # Errors
    /// Those of the system.
    pub fn url(&self) -> Result<String> {
        let address = self.listener.local_addr();
        address
            .map(|address| format!("http://{address}"))
            .map_err(no_address)
    }

    /// Serves until `shutdown` is ready. Then no more events are accepted, and open turns finish or are resumed at the next
    /// start.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the store is broken or a task ended unexpectedly; the process must be restarted.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let (stop, stopped) = watch::channel(false);
        let ended = move || {
            let mut stopped = stopped.clone();
            async move {
                // An error means that the sender is gone, which also ends the server.
                let _ = stopped.wait_for(|stop| *stop).await;
            }
        };
        let app = Arc::clone(&self.app);
        let drain = Duration::from_secs(app.config.drain_secs);
        let mut tasks = Tasks::default();
        let descriptors = self.descriptors;
        let role = app.config.role;
        let routes: fn(_, _) -> _ = if role.serves() {
            http::routes
        } else {
            http::health_routes
        };
        for (name, listener, router, connections) in [
            ("http", self.listener, routes, descriptors.connections),
            (
                "metrics",
                self.metrics,
                http::metrics_routes,
                descriptors.metrics,
            ),
        ] {
            let address = listener.local_addr().map_err(no_address)?;
            let routes = router(Arc::clone(&app), address.ip());
            let limits = http::Limits::new(connections, &app.config.http);
            let counts = Arc::clone(&app.counts);
            let served = http::serve(listener, routes, limits, counts, ended());
            tasks.spawn(name, served);
        }
        if role.works() {
            let worker = Worker::new(app.driver.clone())
                .with_concurrency(self.concurrency)
                .with_share(app.config.limits.share())
                .with_drain(drain);
            tasks.spawn("worker", worker.run(ended()));
            if let Some(learning) = app.take_learning() {
                let learning = learning.with_lanes(app.config.learning_lanes);
                tasks.spawn("learning", learning.run(ended()));
            }
            if let Some(mailer) = app.mail.clone() {
                tasks.spawn("mails", mails::send_all(Arc::clone(&app), mailer, ended()));
            }
            tasks.spawn("crawls", crawls::crawl_all(Arc::clone(&app), ended()));
            let performing = tenant_jobs::perform_all(Arc::clone(&app), ended());
            tasks.spawn("tenant jobs", performing);
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
            Some(error) => tracing::error!(%error, "shutting down because of an error"),
        }
        app.health.drain();
        if let Some(simulator) = &app.simulator {
            simulator.close();
        }
        let _ = stop.send(true);
        // The worker needs slightly more time than its turns.
        tasks.end(drain + Duration::from_secs(2)).await;
        failure.map_or(Ok(()), Err)
    }
}

/// Binds an address of the configuration.
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
