//! The conformance suite of [`Channel`]: what sending must guarantee, on any channel.

mod extra;
mod failure;
mod lookup;
mod render;
mod sample;
mod send;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::store_suite::{Failed, Outcome, ensure, ensure_eq};
use crate::{
    Channel, ConversationRef, Outgoing, Result,
    channel::{Op, Receipt, Via},
    message::Attachment,
};

/// The request timeout that a channel is built with, except in the cases about a provider that does not answer.
const REQUEST: Duration = Duration::from_secs(10);

/// The request timeout in the cases about a provider that does not answer.
const SHORT_REQUEST: Duration = Duration::from_millis(300);

/// How long a case may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message as the provider displays it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Displayed {
    /// The text as a person reads it: entities are decoded, formatting marks may remain.
    pub text: String,
    /// The labels that a person can choose from.
    pub choices: Vec<String>,
    /// The key of the send, if the provider stores it.
    pub key: Option<String>,
    /// The provider's id of the message, if it has one.
    pub message: Option<String>,
}

impl Displayed {
    /// A text of which nothing else is known.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Adds the labels that a person can choose from.
    #[must_use]
    pub fn with_choices(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.choices = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the key of the send.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Option<String>>) -> Self {
        self.key = key.into();
        self
    }

    /// Adds the provider's id of the message.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// A failure of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It refuses the request for good: an invalid text, an unknown recipient.
    Refused,
    /// It refuses the credentials, for every request of the connection.
    Unauthorized,
    /// It does not let the account write to this place or this person.
    Forbidden,
    /// It refuses the request and asks to wait this long, in whole seconds.
    RateLimited(Duration),
    /// It closes the connection without performing the request.
    DroppedBefore,
    /// It performs the request, and closes the connection without an answer.
    DroppedAfter,
    /// It performs the request, and answers with a server error such as the status 500.
    ServerError,
    /// It performs the request, and its answer cannot be parsed.
    Unreadable,
    /// It never answers.
    Silent,
}

/// A channel to test, and the provider behind it, best a real local server.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use konstruct_core::{ConversationRef, SystemClock, channel::Find};
/// use konstruct_core::testkit::{ChannelSubject, Displayed, ScriptedChannel, World, channel_suite};
///
/// channel_suite(async |timeout| {
///     let world = World::default();
///     let channel = ScriptedChannel::new(world.clone(), Arc::new(SystemClock), Find::Query)
///         .with(|can| can.request_timeout = timeout);
///     let provider = channel.clone();
///     let displayed = move || {
///         let arrived = world.arrived().into_iter();
///         arrived
///             .map(|message| {
///                 let choices = message.choices.into_iter().flat_map(|choices| choices.options);
///                 Displayed::new(message.text)
///                     .with_choices(choices.map(|choice| choice.label))
///                     .with_key(message.key)
///                     .with_message(message.message)
///             })
///             .collect()
///     };
///     ChannelSubject::new(channel, ConversationRef::direct("P1"), displayed).failing(move |failure| {
///         provider.fail(failure);
///         true
///     })
/// })
/// .await;
/// # });
/// ```
pub struct ChannelSubject {
    channel: Arc<dyn Channel>,
    place: ConversationRef,
    displayed: Box<dyn Fn() -> Vec<Displayed> + Send + Sync>,
    fail: Option<Box<dyn Fn(Failure) -> bool + Send + Sync>>,
    put_media: Option<Box<dyn Fn(Bytes) -> Attachment + Send + Sync>>,
}

impl fmt::Debug for ChannelSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSubject")
            .field("channel", &self.channel)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl ChannelSubject {
    /// A channel, a place where it may write, and what its provider displays there, in the order of arrival.
    pub fn new(
        channel: impl Channel,
        place: ConversationRef,
        displayed: impl Fn() -> Vec<Displayed> + Send + Sync + 'static,
    ) -> Self {
        Self {
            channel: Arc::new(channel),
            place,
            displayed: Box::new(displayed),
            fail: None,
            put_media: None,
        }
    }

    /// Adds the way to make the provider's next request fail, whatever is requested. `fail` returns `false` for a failure that the
    /// provider does not have; the cases about it are skipped.
    ///
    /// [`Failure::Refused`], [`Failure::Unauthorized`] and [`Failure::Forbidden`] may last longer than one request. The others must
    /// not, so that a channel that repeats a request is noticed.
    #[must_use]
    pub fn failing(mut self, fail: impl Fn(Failure) -> bool + Send + Sync + 'static) -> Self {
        self.fail = Some(Box::new(fail));
        self
    }

    /// Adds the way to store a file at the provider. It returns the attachment as a message would announce it.
    #[must_use]
    pub fn with_media(mut self, put: impl Fn(Bytes) -> Attachment + Send + Sync + 'static) -> Self {
        self.put_media = Some(Box::new(put));
        self
    }

    /// Plans a failure; `false` if the provider does not have it.
    fn fail(&self, failure: Failure) -> bool {
        self.fail.as_ref().is_some_and(|fail| fail(failure))
    }

    async fn send(&self, key: &str, outgoing: Outgoing) -> Result<Receipt> {
        let (to, key) = (self.place.clone(), key.to_owned());
        let sending = self.channel.perform(Op::Send {
            to,
            key,
            outgoing,
            via: Via::Conversation,
        });
        sending.await
    }
}

macro_rules! cases {
    ($($module:ident: $($case:ident $(within $timeout:ident)?),+;)+) => {
        /// The names of the suite's cases.
        pub const CHANNEL_CASES: &[&str] = &[$($(stringify!($case),)+)+];

        /// Runs one case of the suite on a fresh channel, see [`channel_suite`].
        ///
        /// # Errors
        /// How the channel violates its contract, or the error that it returned.
        pub async fn channel_case(
            name: &str,
            make: &impl AsyncFn(Duration) -> ChannelSubject,
        ) -> Result<(), Failed> {
            match name {
                $($(stringify!($case) => {
                    let subject = make(request_timeout!($($timeout)?)).await;
                    let outcome = timeout(PATIENCE, Box::pin($module::$case(&subject))).await;
                    outcome.unwrap_or_else(|_| Err("it hangs".into()))
                })+)+
                _ => Err(format!("there is no case {name}").into()),
            }
        }
    };
}

macro_rules! request_timeout {
    () => {
        REQUEST
    };
    ($timeout:ident) => {
        $timeout
    };
}

cases! {
    render: rendering_is_pure, parts_are_few_and_whole,
        the_rest_is_rendered_until_nothing_is_left, the_first_part_quotes_and_the_last_offers;
    send: a_send_arrives_once, what_arrives_fits_and_is_whole, graphemes_are_not_cut,
        choices_are_shown, keys_arrive_whole, sends_do_not_mix, a_cancelled_send_harms_nothing;
    failure: a_refusal_delivers_nothing, refused_credentials_are_unauthorized, a_refused_place_is_forbidden,
        a_rate_limit_carries_its_wait, a_broken_connection_is_not_a_refusal, a_lost_answer_is_ambiguous,
        silence_ends_in_time within SHORT_REQUEST;
    lookup: find_agrees_with_its_capability, what_arrived_is_found, a_send_without_an_answer_is_found,
        a_failed_lookup_is_an_error, a_silent_lookup_ends_in_time within SHORT_REQUEST;
    extra: progress_is_best_effort, read_receipts_are_best_effort, media_keep_to_the_limit, a_wrong_digest_is_refused,
        unknown_media_are_an_error;
}

/// Runs every case, each on a fresh channel. `make` builds it with the request timeout that it is given: it is short in the cases about
/// a provider that does not answer.
///
/// # Panics
/// If any case fails; the message lists all that did.
pub async fn channel_suite(make: impl AsyncFn(Duration) -> ChannelSubject) {
    let mut failures = Vec::new();
    for name in CHANNEL_CASES {
        if let Err(error) = channel_case(name, &make).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        CHANNEL_CASES.len(),
        failures.join("\n")
    );
}
