//! A listener with limits on connections, on the time for a request's headers, and on the shutdown.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// The wait after a failed accept, for example because too many files are open.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The maximum number of open connections; others wait in the system's queue.
    pub(crate) connections: usize,
    /// The time limit for a request's headers, and for an idle connection.
    pub(crate) headers: Duration,
    /// How long requests in progress may continue after the shutdown starts.
    pub(crate) grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            headers: Duration::from_secs(30),
            grace: Duration::from_secs(1),
        }
    }
}

/// Serves until `stopped` is ready, and then completes requests in progress within the grace period.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stopped: impl Future<Output = ()>,
) {
    let mut stopped = pin!(stopped);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            let permit = permit.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            io::Result::Ok((permit, stream))
        };
        tokio::select! {
            () = &mut stopped => break,
            accepted = next => match accepted {
                Ok((permit, stream)) => spawn(stream, permit, &router, limits, &connections),
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    // Slower requests are cut off, so that an open connection does not delay the shutdown.
    let _ = tokio::time::timeout(limits.grace, connections.shutdown()).await;
}

fn spawn(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: &Router,
    limits: Limits,
    connections: &GracefulShutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not disable Nagle's algorithm on a connection");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .serve_connection(
            TokioIo::new(stream),
            TowerToHyperService::new(router.clone()),
        );
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        let _permit = permit;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended with an error");
        }
    });
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    async fn start(limits: Limits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "ok" }));
        tokio::spawn(serve(listener, router, limits, std::future::pending()));
        address
    }

    #[tokio::test]
    async fn a_client_without_headers_is_disconnected() {
        let limits = Limits {
            headers: Duration::from_millis(50),
            ..Limits::default()
        };
        let mut stream = TcpStream::connect(start(limits).await).await.unwrap();
        let half = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ";
        stream.write_all(half).await.unwrap();
        // The read ends because the server has closed the connection.
        let mut answer = Vec::new();
        let _cut = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait() {
        let limits = Limits {
            connections: 1,
            headers: HOUR,
            grace: HOUR,
        };
        let address = start(limits).await;
        let request = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        let mut answer = [0; 15];
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(request).await.unwrap();
        first.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");

        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(request).await.unwrap();
        first.write_all(request).await.unwrap();
        let mut rest = [0; 64];
        let read = first.read(&mut rest).await.unwrap();
        assert!(read > 0, "the first is still served");
        let mut nothing = [0; 1];
        assert!(second.try_read(&mut nothing).is_err(), "the second waits");
        drop(first);
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}
