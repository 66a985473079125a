//! The world outside: what providers took and what tools did. It outlives every crash.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    ChannelKind, ConversationRef, Inbound, Outgoing, Timestamp,
    channel::Via,
    message::{Body, DeliveryState},
    outgoing::Choices,
    tool::Effect,
};

/// What a provider and the tools of a test really did, as a person would see it. Clones share it.
///
/// ```
/// use konstruct_core::testkit::World;
///
/// let world = World::default();
/// assert!(world.arrived().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct World(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    arrived: Vec<Arrived>,
    effects: Vec<Effected>,
    progress: usize,
    read: Vec<String>,
}

/// A message that the provider took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The provider's id of the message.
    pub message: String,
    /// The delivery key that it was sent with.
    pub key: String,
    /// What it says.
    pub text: String,
    /// What the person can choose from.
    pub choices: Option<Choices>,
    /// Where it was said.
    pub to: ConversationRef,
    /// How it reached its readers.
    pub via: Via,
    /// When it arrived: for a request that was given up, this may be later than that.
    pub at: Timestamp,
}

/// An effect that a tool had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effected {
    /// The tool.
    pub tool: String,
    /// What it does to the world.
    pub effect: Effect,
    /// The idempotency key of the call.
    pub key: String,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what arrived, in order.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.lock().arrived.clone()
    }

    /// Returns the texts of what arrived, in order.
    pub fn texts(&self) -> Vec<String> {
        let seen = self.lock();
        seen.arrived.iter().map(|said| said.text.clone()).collect()
    }

    /// Returns how often tools ran, in order. Running twice with one key is one effect of a tool that is idempotent.
    pub fn effects(&self) -> Vec<Effected> {
        self.lock().effects.clone()
    }

    /// Returns how often an employee was shown to be at work.
    pub fn progress(&self) -> usize {
        self.lock().progress
    }

    /// Returns the messages that people were shown as read, in order.
    pub fn read(&self) -> Vec<String> {
        self.lock().read.clone()
    }

    pub(super) fn mark_read(&self, message: String) {
        self.lock().read.push(message);
    }

    pub(super) fn show_progress(&self) {
        self.lock().progress += 1;
    }

    pub(super) fn arrive(
        &self,
        key: String,
        outgoing: Outgoing,
        (to, via): (ConversationRef, Via),
        at: Timestamp,
    ) -> String {
        let mut seen = self.lock();
        let message = format!("m{}", seen.arrived.len() + 1);
        seen.arrived.push(Arrived {
            message: message.clone(),
            key,
            text: outgoing.text,
            choices: outgoing.choices,
            to,
            via,
            at,
        });
        message
    }

    pub(super) fn effect(&self, effect: Effected) {
        self.lock().effects.push(effect);
    }

    /// Makes the provider's status event about the newest message with this key, if one arrived.
    pub fn status(&self, key: &str, state: DeliveryState) -> Option<Inbound> {
        let seen = self.lock();
        let said = seen.arrived.iter().rev().find(|said| said.key == key)?;
        Some(
            Inbound::new(
                ChannelKind::new("scripted"),
                crate::AccountId("account".into()),
                format!("{}.{state:?}", said.message),
                said.at,
                Body::Delivery {
                    message: said.message.clone(),
                    state,
                    key: Some(key.to_owned()),
                    errors: Vec::new(),
                    billed: None,
                },
            )
            .in_conversation(ConversationRef::direct(&said.to.id)),
        )
    }
}

/// Makes an event: a person said something in a direct conversation. The id is that of the event and of the message.
pub fn message(place: &str, id: &str, text: &str, at: Timestamp) -> Inbound {
    Inbound::message(place, text)
        .on(
            ChannelKind::new("scripted"),
            crate::AccountId("account".into()),
        )
        .with_id(id)
        .at(at)
}
