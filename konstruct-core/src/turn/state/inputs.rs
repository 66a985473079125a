//! Inputs: what a turn's events change before anything is decided, and who asks the employee something.

use super::{Part, State};
use crate::{
    ActorKind, Body, Decision, DeliveryState,
    turn::{Input, OpenReason, OpenSend, ReplyPart},
};

impl State {
    /// Takes the inputs into the carry: the latest time, the speakers, deliveries and decisions.
    pub(super) fn take_in(&mut self) {
        let inputs = std::mem::take(&mut self.started.inputs);
        for input in &inputs {
            self.take_in_one(input);
        }
        self.started.inputs = inputs;
    }

    pub(super) fn take_in_one(&mut self, input: &Input) {
        let event = &input.event;
        self.started.carry.latest = self.started.carry.latest.max(event.occurred_at);
        self.started
            .carry
            .persons
            .extend(input.persons.iter().copied());
        match (&event.body, event.sender.kind) {
            (
                Body::Message { .. } | Body::Command { .. } | Body::Action { .. },
                ActorKind::Human,
            ) => {
                self.started.carry.bot_turns = 0;
            }
            (
                Body::Delivery {
                    key: Some(key),
                    state,
                    ..
                },
                _,
            ) => self.take_delivery(key, *state, input.undelivered.clone()),
            (Body::Decision { key, decision }, _) => self.take_decision(key, *decision),
            _ => {}
        }
    }

    /// A provider's word about a send that a person was asked about, or one that failed after it was taken.
    fn take_delivery(&mut self, key: &str, state: DeliveryState, undelivered: Option<ReplyPart>) {
        if state != DeliveryState::Failed {
            if let Some(open) = self.close(key) {
                self.queue(open.parts.into_iter().skip(1));
            }
            // A person had it sent again, and before that could begin the provider told that it had arrived.
            let again = |part: &Part| part.reply.key == key && part.attempts == 0;
            self.parts.retain(|part| !again(part));
            return;
        }
        let carry = &mut self.started.carry;
        if let Some(open) = carry.open.iter_mut().find(|open| open.key == key) {
            open.reason = OpenReason::NotDelivered;
        } else if let Some(part) = undelivered {
            carry.open.push(OpenSend {
                key: key.into(),
                reason: OpenReason::NotDelivered,
                since: carry.latest,
                parts: vec![part],
            });
        }
    }

    fn take_decision(&mut self, key: &str, decision: Decision) {
        let Some(open) = self.close(key) else { return };
        match decision {
            Decision::Resend => self.queue(open.parts.into_iter()),
            Decision::Arrived => self.queue(open.parts.into_iter().skip(1)),
            Decision::Drop => {}
        }
    }

    fn close(&mut self, key: &str) -> Option<OpenSend> {
        let open = &mut self.started.carry.open;
        open.iter()
            .position(|send| send.key == key)
            .map(|at| open.remove(at))
    }

    /// Returns the key of a send that, as this turn's inputs say, did not arrive: a person is asked about it.
    pub(super) fn undelivered(&self) -> Option<String> {
        self.started.inputs.iter().find_map(|input| {
            let key = &input.undelivered.as_ref()?.key;
            let open = self.started.carry.open.iter().any(|open| open.key == *key);
            open.then(|| key.clone())
        })
    }

    /// Returns who asks the employee something in this turn's inputs: a person before a bot, nobody if nothing is for it.
    pub(super) fn asks(&self) -> Option<ActorKind> {
        let taken_back = |id: &str| {
            self.started.inputs.iter().any(
                |input| matches!(&input.event.body, Body::Deleted { message } if message == id),
            )
        };
        let kinds = self.started.inputs.iter().filter_map(|input| {
            let event = &input.event;
            if matches!(&event.body, Body::Message { message, .. } if taken_back(message)) {
                return None;
            }
            let to_it = event.addressed.direct
                || event.addressed.mention
                || event.addressed.command
                || (event.addressed.thread && self.started.carry.spoke);
            let says = matches!(
                event.body,
                Body::Message { .. } | Body::Command { .. } | Body::Action { .. }
            );
            (to_it && says && matches!(event.sender.kind, ActorKind::Human | ActorKind::Bot))
                .then_some(event.sender.kind)
        });
        kinds.min_by_key(|kind| u8::from(*kind == ActorKind::Bot))
    }
}
