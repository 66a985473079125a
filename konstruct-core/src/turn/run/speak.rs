//! Speaking: the send of a part, and the doubts about one.

use std::{ops::ControlFlow, sync::atomic::Ordering, time::Duration};

use futures_util::{
    future::{Either, join, select},
    pin_mut,
};

use super::{Performed, Run, Stop, count};
use crate::{
    Channel, Error, ErrorKind, Result, Timestamp,
    channel::{FindQuery, Op},
    directory::ConnectionState,
    store::AppendOutcome,
    turn::{Event, Evidence, Failure, inbox::evidence},
};

/// By how much the lease outlives a send's request and its grace.
const SEND_MARGIN: Duration = Duration::from_secs(5);

impl Run<'_> {
    pub(super) async fn send(
        &mut self,
        key: String,
        record: Option<u64>,
        give_up_at: Timestamp,
    ) -> Result<Performed> {
        // The lease outlives the request and its grace, so that nobody else can believe it lost while it is in flight.
        let pinned = &self.state.started().channel;
        let flight = Duration::from_millis(pinned.timeout_ms.saturating_add(pinned.grace_ms));
        let lease = self.driver.lease.max(flight + SEND_MARGIN);
        match self.write(lease).await? {
            AppendOutcome::Appended => {}
            AppendOutcome::Forgotten(persons) => {
                let persons = persons.into_iter().collect();
                return Ok(ControlFlow::Break(Stop::Forgotten(persons)));
            }
            _ => return Ok(ControlFlow::Break(Stop::Lost)),
        }
        let Some(outgoing) = self.part(&key, record).await? else {
            return Ok(ControlFlow::Continue(Event::SendFailed {
                key,
                failure: Failure::of(ErrorKind::Cancelled),
            }));
        };
        let started = self.state.started();
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(error) => return Ok(ControlFlow::Continue(unsent(key, &error))),
        };
        let (directory, tenant) = (&self.driver.directory, self.lease.claim().tenant);
        let state = directory.connection_state(tenant, started.connection).await;
        if state.is_ok_and(|state| !state.is_active()) {
            let error = Error::new(ErrorKind::Unauthorized, "the connection cannot be used");
            return Ok(ControlFlow::Continue(unsent(key, &error)));
        }
        if self.driver.clock.now() >= give_up_at {
            let error = Error::new(
                ErrorKind::Unavailable,
                "the time to send was over before it began",
            );
            return Ok(ControlFlow::Continue(unsent(key, &error)));
        }
        count(&self.driver.stats.sends);
        let op = Op::Send {
            to: started.conversation.clone(),
            key: key.clone(),
            outgoing,
        };
        let (sending, late) = (
            channel.perform(op),
            self.driver.clock.sleep_until(give_up_at),
        );
        let sending = async {
            pin_mut!(sending, late);
            match select(sending, late).await {
                Either::Left((sent, _)) => sent,
                Either::Right(_) => Err(Error::new(
                    ErrorKind::Ambiguous,
                    "the channel did not answer in time",
                )),
            }
        };
        let (sent, ()) = join(sending, self.mark_read(&*channel, give_up_at)).await;
        if let Err(error) = &sent
            && error.kind() == ErrorKind::Unauthorized
        {
            self.refused().await?;
        }
        Ok(ControlFlow::Continue(match sent {
            Ok(receipt) => Event::SendDone {
                key,
                receipt,
                evidence: Evidence::Answer,
            },
            Err(error) if error.kind() == ErrorKind::Ambiguous => {
                tracing::warn!(%error, "it is not known whether the message arrived");
                Event::SendAmbiguous { key }
            }
            Err(error) => {
                tracing::warn!(%error, "the message was not sent");
                Event::SendFailed {
                    key,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    /// Shows that the message was read, unless that was shown while the model was thinking. It runs beside the send, which does not wait
    /// for it.
    async fn mark_read(&self, channel: &dyn Channel, give_up_at: Timestamp) {
        if !channel.capabilities().read_receipts || self.marked_read.swap(true, Ordering::Relaxed) {
            return;
        }
        let Some(message) = self.latest_message() else {
            return;
        };
        let to = self.state.started().conversation.clone();
        let marking = channel.perform(Op::MarkRead { to, message });
        let late = self.driver.clock.sleep_until(give_up_at);
        pin_mut!(marking, late);
        if let Either::Left((Err(error), _)) = select(marking, late).await {
            tracing::debug!(%error, "the message was not marked as read");
        }
    }

    /// The vendor refuses the credentials: the connection is paused, so that no other turn is paid for in vain.
    async fn refused(&self) -> Result<()> {
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
        let late = clock.sleep_until(clock.now() + channel.capabilities().request_timeout);
        let asking = async {
            let asking = channel.find(query);
            pin_mut!(asking, late);
            match select(asking, late).await {
                Either::Left((found, _)) => found,
                Either::Right(_) => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the channel did not answer in time",
                )),
            }
        };
        let Some(found) = self.lease.holding(asking).await else {
            return Ok(ControlFlow::Break(Stop::Lost));
        };
        Ok(ControlFlow::Continue(match found {
            Ok(Some(receipt)) => Event::SendDone {
                key,
                receipt,
                evidence: Evidence::Query,
            },
            Ok(None) => Event::NotFound { key },
            Err(error) => {
                tracing::warn!(%error, "the channel could not be asked about a message");
                Event::FindFailed {
                    key,
                    failure: Failure::from(&error),
                }
            }
        }))
    }

    pub(super) async fn wait(&mut self, until: Timestamp) -> Result<Performed> {
        // The vendor's report may have come in while the request was open, or while the process was down. What comes in
        // after this look brings the conversation up again by itself.
        if let Some(key) = self.state.awaits() {
            let Some(loaded) = self.driver.store.load(self.lease.claim()).await? else {
                return Ok(ControlFlow::Break(Stop::Lost));
            };
            if let Some(reported) = evidence(&loaded, key) {
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

/// A send that was certainly not made, because its channel was not to be had or its time was over.
fn unsent(key: String, error: &Error) -> Event {
    tracing::warn!(%error, "the message was not sent");
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
