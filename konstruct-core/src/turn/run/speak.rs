//! Sends the parts of a reply, and finds out whether they arrived.

use std::{ops::ControlFlow, sync::atomic::Ordering, time::Duration};

use futures_util::future::join;

use super::{Performed, Run, Stop, count};
use crate::{
    Channel, Error, ErrorKind, Result, Timestamp,
    channel::{FindQuery, Op},
    directory::ConnectionState,
    turn::{Event, Evidence, Failure, SentVia, inbox::delivery_report},
};

/// How much longer the lease lasts than a send's request and grace period.
const SEND_MARGIN: Duration = Duration::from_secs(5);

impl Run<'_> {
    pub(super) async fn send(
        &mut self,
        key: String,
        (record, via): (Option<u64>, SentVia),
        give_up_at: Timestamp,
    ) -> Result<Performed> {
        // The lease outlives the request and its grace period, so that no other worker can resume the turn while it is in flight.
        let pinned = &self.state.started().channel;
        let flight = Duration::from_millis(pinned.timeout_ms.saturating_add(pinned.grace_ms));
        let lease = self.driver.lease.max(flight + SEND_MARGIN);
        if let Some(stop) = self.flush_for(lease).await? {
            return Ok(ControlFlow::Break(stop));
        }
        let Some(outgoing) = self.part(&key, record).await? else {
            return Ok(ControlFlow::Continue(Event::SendFailed {
                key,
                failure: Failure::of(ErrorKind::Cancelled),
            }));
        };
        let Some((to, via)) = self.reach(via, record).await? else {
            let error = Error::not_found("person");
            return Ok(ControlFlow::Continue(send_not_made(key, &error)));
        };
        let started = self.state.started();
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(error) => return Ok(ControlFlow::Continue(send_not_made(key, &error))),
        };
        let (directory, tenant) = (&self.driver.directory, self.lease.claim().tenant);
        let state = directory.connection_state(tenant, started.connection).await;
        if state.is_ok_and(|state| !state.is_active()) {
            let error = Error::new(ErrorKind::Unauthorized, "the connection cannot be used");
            return Ok(ControlFlow::Continue(send_not_made(key, &error)));
        }
        if self.driver.clock.now() >= give_up_at {
            let error = Error::new(
                ErrorKind::Unavailable,
                "the deadline of the send passed before it began",
            );
            return Ok(ControlFlow::Continue(send_not_made(key, &error)));
        }
        count(&self.driver.stats.sends);
        let op = Op::Send {
            to,
            key: key.clone(),
            outgoing,
            via,
        };
        let sending = self.by(give_up_at, channel.perform(op));
        let (sent, ()) = join(sending, self.mark_read(&*channel, give_up_at)).await;
        let unknown = || Error::new(ErrorKind::Ambiguous, "the channel did not respond in time");
        let sent = sent.unwrap_or_else(|| Err(unknown()));
        if let Err(error) = &sent
            && error.kind() == ErrorKind::Unauthorized
        {
            self.pause_connection().await?;
        }
        Ok(ControlFlow::Continue(match sent {
            Ok(receipt) => Event::SendDone {
                key,
                receipt,
                evidence: Evidence::Answer,
            },
            Err(error) if error.kind() == ErrorKind::Ambiguous => {
                tracing::warn!(%error, "it is unknown whether the message arrived");
                Event::SendAmbiguous { key }
            }
            Err(error) => {
                tracing::warn!(%error, "could not send the message");
                Event::SendFailed {
                    key,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    /// Marks the message as read, unless that was done while the model was thinking. Runs concurrently with the send, which does
    /// not wait for it.
    async fn mark_read(&self, channel: &dyn Channel, give_up_at: Timestamp) {
        if !channel.capabilities().read_receipts || self.marked_read.swap(true, Ordering::Relaxed) {
            return;
        }
        let Some(message) = self.latest_message() else {
            return;
        };
        let to = self.state.started().conversation.clone();
        let marking = channel.perform(Op::MarkRead { to, message });
        if let Some(Err(error)) = self.by(give_up_at, marking).await {
            tracing::debug!(%error, "could not mark the message as read");
        }
    }

    /// Pauses the connection after the provider refused its credentials, so that no other turn is paid for without a way to
    /// reply.
    async fn pause_connection(&self) -> Result<()> {
        let state = ConnectionState::Paused {
            reason: ErrorKind::Unauthorized,
            since: self.driver.clock.now(),
        };
        let connection = self.state.started().connection;
        self.driver
            .set_state(self.lease.claim(), connection, state)
            .await
    }

    pub(super) async fn find(&mut self, key: String, since: Timestamp) -> Result<Performed> {
        let started = self.state.started();
        let channel = self.channel().await?;
        let query = FindQuery {
            to: started.conversation.clone(),
            key: key.clone(),
            since,
        };
        let clock = &self.driver.clock;
        let deadline = clock.now() + channel.capabilities().request_timeout;
        let asking = self.by(deadline, channel.find(query));
        let Some(found) = self.lease.keep_while(asking).await else {
            return Ok(ControlFlow::Break(Stop::Lost));
        };
        let late = || {
            Error::new(
                ErrorKind::Unavailable,
                "the channel did not respond in time",
            )
        };
        let found = found.unwrap_or_else(|| Err(late()));
        Ok(ControlFlow::Continue(match found {
            Ok(Some(receipt)) => Event::SendDone {
                key,
                receipt,
                evidence: Evidence::Query,
            },
            Ok(None) => Event::NotFound { key },
            Err(error) => {
                tracing::warn!(%error, "could not query the channel about a message");
                Event::FindFailed {
                    key,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    pub(super) async fn wait(&mut self, until: Timestamp) -> Result<Performed> {
        // The provider's report may have arrived while the request was open or the process was down. A report that arrives after
        // this check makes the conversation ready again.
        if let Some(key) = self.state.awaits() {
            let Some(loaded) = self.driver.store.load(self.lease.claim()).await? else {
                return Ok(ControlFlow::Break(Stop::Lost));
            };
            if let Some(reported) = delivery_report(&loaded, key) {
                return Ok(ControlFlow::Continue(reported));
            }
        }
        if until <= self.driver.clock.now() {
            return Ok(ControlFlow::Continue(Event::Due));
        }
        Ok(ControlFlow::Break(match self.flush().await? {
            None => Stop::Parked,
            Some(stop) => stop,
        }))
    }
}

/// Returns the event of a send that was definitely not made, because its channel was unavailable or its deadline had passed.
fn send_not_made(key: String, error: &Error) -> Event {
    tracing::warn!(%error, "could not send the message");
    let mut failure = Failure::from(error);
    let lasting = matches!(
        failure.kind,
        ErrorKind::NotFound | ErrorKind::Forbidden | ErrorKind::Unauthorized
    );
    if !lasting {
        failure.kind = ErrorKind::Unavailable;
    }
    Event::SendFailed { key, failure }
}
