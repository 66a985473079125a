//! Background lanes that index the feed, and embed what is indexed.

use std::{num::NonZeroUsize, pin::pin, sync::Arc, thread::JoinHandle, time::Duration};

use futures_util::future::join_all;
use konstruct_core::{Erase, Error, Result, TenantId};
use tokio::{runtime::Handle, sync::watch};

use super::{
    super::{
        Shared,
        keys::{self, TENANTS},
        slices,
        snapshot::Rows as _,
        writer::Writer,
    },
    RedbBackend,
};
use crate::memory::{TenantQueue, embed_some, keep_up_some};

/// The longest sleep of an idle lane.
const IDLE: Duration = Duration::from_secs(3_600);

/// The tenants to index, and the tenants to embed. Embedding may take long or fail for hours.
#[derive(Debug, Default)]
pub(in crate::redb) struct Follower {
    to_index: TenantQueue,
    to_embed: TenantQueue,
    stopped: watch::Sender<bool>,
}

impl Follower {
    /// Starts one thread for indexing, which is CPU-bound, and one with this many lanes for embedding, which mostly wait for the
    /// embedder. [`Follower::stop`] ends them.
    ///
    /// A tenant has one turn at a time, and ends it after a part of its work. A tenant with a slow embedder, or with much to
    /// index, occupies one lane while the other lanes serve the other tenants.
    pub(in crate::redb) fn start(
        shared: &Arc<Shared>,
        writer: &Writer,
        lanes: NonZeroUsize,
    ) -> Result<Vec<JoinHandle<()>>> {
        let backend = RedbBackend {
            shared: Arc::clone(shared),
            writer: writer.clone(),
        };
        let words = thread("redb-words", backend.clone(), async |backend| {
            if let Err(error) = backend.shared.find_behind() {
                tracing::warn!(%error, "could not read which tenants' indexes are behind");
            }
            if let Err(error) = finish_erasures(backend).await {
                tracing::error!(%error, "could not finish a prepared erasure; the next start tries again");
            }
            index(backend).await;
        })?;
        if !shared.embedder.is_configured() {
            return Ok(vec![words]);
        }
        // An embedder may need the runtime in which the store was opened.
        let runtime = Handle::try_current().ok();
        let vectors = thread("redb-vectors", backend, async move |backend| {
            join_all((0..lanes.get()).map(|_| embed(backend, runtime.as_ref()))).await;
        })?;
        Ok(vec![words, vectors])
    }

    /// Queues a tenant whose feed has grown.
    pub(in crate::redb) fn follow(&self, tenant: TenantId) {
        self.to_index.notify(tenant);
    }

    /// Ends all lanes, even waiting ones.
    pub(in crate::redb) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }
}

/// Runs a task on a thread with a runtime of its own until the follower is stopped.
fn thread(
    name: &str,
    backend: RedbBackend,
    work: impl AsyncFnOnce(&RedbBackend) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let failed = |error| Error::internal("could not start the follower thread").with_source(error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let run = move || {
        let mut stopped = backend.shared.follower.stopped.subscribe();
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = work(&backend) => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name(name.into());
    thread.spawn(run).map_err(failed)
}

/// Indexes the feeds of queued tenants.
async fn index(backend: &RedbBackend) {
    let Follower {
        to_index, to_embed, ..
    } = &backend.shared.follower;
    loop {
        let Some(tenant) = to_index.next(IDLE).await else {
            continue;
        };
        backend.shared.precedence.give_way().await;
        match keep_up_some(backend, tenant).await {
            Ok(true) => to_index.requeue(tenant, None),
            Ok(false) => to_index.done(tenant),
            Err(error) => {
                fell_behind(to_index, tenant, &error);
                continue;
            }
        }
        if backend.shared.embedder.is_configured() {
            to_embed.notify(tenant);
        }
    }
}

/// Embeds the indexed units of queued tenants.
async fn embed(backend: &RedbBackend, runtime: Option<&Handle>) {
    let to_embed = &backend.shared.follower.to_embed;
    loop {
        let Some(tenant) = to_embed.next(IDLE).await else {
            continue;
        };
        backend.shared.precedence.give_way().await;
        let place = to_embed.resume_after(tenant);
        match within(runtime, embed_some(backend, tenant, place)).await {
            Ok(None) => to_embed.done(tenant),
            Ok(place) => to_embed.requeue(tenant, place),
            Err(error) => fell_behind(to_embed, tenant, &error),
        }
    }
}

fn fell_behind(queue: &TenantQueue, tenant: TenantId, error: &Error) {
    let wait = queue.failed(tenant);
    tracing::warn!(%tenant, %error, ?wait, "could not update the index; it will be retried");
}

/// Polls a future inside another runtime, so that it uses that runtime's timers and sockets.
async fn within<T>(runtime: Option<&Handle>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        let _entered = runtime.map(Handle::enter);
        work.as_mut().poll(context)
    })
    .await
}

/// Erases persons whose erasure the last process has prepared but not begun.
async fn finish_erasures(backend: &RedbBackend) -> Result<()> {
    let prepared = slices::all_prepared(&mut backend.shared.snapshot()?)?;
    for (tenant, person, depth) in prepared {
        let what = Erase::Person { person };
        crate::memory::forget(backend, tenant, what, depth).await?;
    }
    Ok(())
}

impl Shared {
    /// Queues the tenants whose index may be behind since the last process.
    fn find_behind(&self) -> Result<()> {
        let tenants = self.snapshot()?.all(TENANTS, &[])?;
        for (key, _) in tenants {
            if let Some(tenant) = keys::id(&key, 0) {
                self.follower.follow(TenantId::from_bytes(tenant));
            }
        }
        Ok(())
    }
}
