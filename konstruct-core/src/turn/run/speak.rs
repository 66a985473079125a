//! Speaking: the send of a part, and the doubts about one.

use std::time::Duration;

use futures_util::{
    future::{Either, select},
    pin_mut,
};

use super::{Performed, Run, Stop};
use crate::{
    Error, ErrorKind, FindQuery, Op, Outgoing, Result, Timestamp,
    turn::{Event, Evidence, Failure, TimerChange, driver::DriverStats, inbox::evidence},
};

/// By how much the lease outlives a send's request and its grace.
const SEND_MARGIN: Duration = Duration::from_secs(5);

impl Run<'_> {
    pub(super) async fn send(
        &mut self,
        key: String,
        text: String,
        reply_to: Option<String>,
        give_up_at: Timestamp,
    ) -> Result<Performed> {
        self.append.delivery_keys.push(key.clone());
        if self.flush_or_lost().await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        let started = self.state.started();
        let directory = &self.driver.directory;
        let channel = match directory
            .channel(self.claim.tenant, started.connection)
            .await
        {
            Ok(channel) => channel,
            Err(error) => return Ok(Performed::Next(unsent(key, &error))),
        };
        // The lease outlives the request and its grace, so that nobody else can take it for lost while it is in flight.
        let flight = Duration::from_millis(
            started
                .channel
                .timeout_ms
                .saturating_add(started.channel.grace_ms),
        );
        let lease = self.driver.lease.max(flight + SEND_MARGIN);
        if !self.driver.journal.renew(self.claim, lease).await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        if self.driver.clock.now() >= give_up_at {
            let error = Error::new(
                ErrorKind::Unavailable,
                "the time to send was over before it began",
            );
            return Ok(Performed::Next(unsent(key, &error)));
        }
        DriverStats::count(&self.driver.stats.sends);
        let mut outgoing = Outgoing::markdown(text);
        outgoing.quote = reply_to;
        let op = Op::Send {
            to: started.conversation.clone(),
            key: key.clone(),
            outgoing,
        };
        let (sending, late) = (
            channel.perform(op),
            self.driver.clock.sleep_until(give_up_at),
        );
        pin_mut!(sending, late);
        let sent = match select(sending, late).await {
            Either::Left((sent, _)) => sent,
            Either::Right(_) => Err(Error::new(
                ErrorKind::Ambiguous,
                "the channel did not answer in time",
            )),
        };
        Ok(Performed::Next(match sent {
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

    pub(super) async fn find(&mut self, key: String, since: Timestamp) -> Result<Performed> {
        let started = self.state.started();
        let channel = self
            .driver
            .directory
            .channel(self.claim.tenant, started.connection)
            .await?;
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
        let Some(found) = self.driver.holding(self.claim, asking).await else {
            return Ok(Performed::Stop(Stop::Lost));
        };
        Ok(Performed::Next(match found {
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
        // The provider's word may have come in while the request was open, or while the process was down. What comes in
        // after this look brings the conversation up again by itself.
        if let Some(key) = self.state.awaits() {
            let Some(loaded) = self.driver.journal.load(self.claim).await? else {
                return Ok(Performed::Stop(Stop::Lost));
            };
            if let Some(told) = evidence(&loaded, key) {
                return Ok(Performed::Next(told));
            }
        }
        if until <= self.driver.clock.now() {
            return Ok(Performed::Next(Event::Due));
        }
        self.append.timer = TimerChange::Set(until);
        if self.flush_or_lost().await? {
            return Ok(Performed::Stop(Stop::Lost));
        }
        Ok(Performed::Stop(Stop::Parked))
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
