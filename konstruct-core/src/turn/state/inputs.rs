//! Applies the inputs of a turn, and determines whether anyone asked the employee something.

use super::State;
use crate::{
    Inbound, Outgoing, Timestamp,
    message::{ActorKind, Body, ConversationKind, Decision, DeliveryState},
    turn::{CloseReason, Input, ItemKind, OpenItem},
};

impl State {
    /// Adds an input, and updates the latest time, the person, the deliveries and the decisions.
    pub(super) fn receive(&mut self, input: &Input) {
        let event = &input.event;
        let state = &mut self.started.state;
        state.latest = state.latest.max(event.occurred_at);
        let taken_over = state.pass(event, input.accepted_at);
        let says = matches!(
            event.body,
            Body::Message { .. } | Body::Command { .. } | Body::Action { .. }
        );
        if is_unreadable(event) {
            self.first_unreadable |= !state.unreadable;
            state.unreadable = true;
        }
        if says && event.sender.kind == ActorKind::Human {
            state.unreadable = false;
            state.bot_turns = 0;
            if self.started.conversation.kind == ConversationKind::Direct {
                state.person = input.persons.first().copied();
            }
        }
        if matches!(event.body, Body::Proactive { .. })
            && self.started.conversation.kind == ConversationKind::Direct
        {
            state.person = state.person.or(input.persons.first().copied());
        }
        if taken_over {
            // The team member's message answers what was open.
            for item in &self.started.questions {
                if !self.closing.iter().any(|(id, _)| id == item) {
                    self.closing.push_back((item.clone(), CloseReason::Decided));
                }
            }
        }
        match (&event.body, &input.about) {
            (Body::Delivery { key, state, .. }, about) => {
                self.apply_delivery(key.as_deref(), *state, about.as_ref(), input.undelivered);
            }
            (Body::Decision { decision, .. }, Some(item)) => self.apply_decision(item, *decision),
            (Body::Action { .. }, Some(item)) if item.kind == ItemKind::Rest => {
                self.close(item, CloseReason::Answered);
            }
            _ => {}
        }
        self.inputs.push(input.clone());
    }

    /// Applies the provider's report about a send that has an open item, or that failed after it was accepted.
    fn apply_delivery(
        &mut self,
        key: Option<&str>,
        state: DeliveryState,
        about: Option<&OpenItem>,
        undelivered: Option<u64>,
    ) {
        let Some(key) = key else { return };
        if state == DeliveryState::Failed {
            if let Some(OpenItem {
                record,
                kind: ItemKind::Send { keys, .. },
                ..
            }) = about
            {
                // The outcome is now known, so a new item replaces the open one.
                self.undelivered.push_back((keys.clone(), *record));
            } else if let Some(record) = undelivered {
                self.undelivered.push_back((vec![key.to_owned()], record));
            }
            if let Some(item) = about {
                self.close(item, CloseReason::Settled);
            }
            return;
        }
        if let Some(item) = about
            && let ItemKind::Send { keys, .. } = &item.kind
        {
            let after: Vec<String> = keys.iter().skip(1).cloned().collect();
            if self.close(item, CloseReason::Settled) {
                self.queue(&after, item);
            }
        }
        // A person decided to send the message again, but the provider reported its arrival before that began.
        self.parts
            .retain(|part| part.key != key || part.attempts > 0 || part.what.is_some());
    }

    fn apply_decision(&mut self, item: &OpenItem, decision: Decision) {
        if !self.close(item, CloseReason::Decided) {
            return;
        }
        let ItemKind::Send { keys, .. } = &item.kind else {
            return;
        };
        match decision {
            Decision::Resend => self.queue(keys, item),
            Decision::Arrived => {
                let after: Vec<String> = keys.iter().skip(1).cloned().collect();
                self.queue(&after, item);
            }
            Decision::Drop | Decision::Answer => {}
        }
    }

    /// Returns the proactive message that the turn sends, and when it expires.
    pub(crate) fn proactive(&self) -> Option<(&Outgoing, Option<Timestamp>)> {
        self.inputs
            .iter()
            .find_map(|input| match &input.event.body {
                Body::Proactive {
                    outgoing,
                    expires_at,
                } => Some((outgoing, *expires_at)),
                _ => None,
            })
    }

    /// Returns the question that a person wants answered now, or that the employee retries.
    pub(crate) fn question(&self) -> Option<&OpenItem> {
        let wanted = self
            .inputs
            .iter()
            .find_map(|input| match &input.event.body {
                Body::Decision {
                    decision: Decision::Answer,
                    ..
                } => input.about.as_ref(),
                _ => None,
            });
        wanted
            .or(self.started.follow_up.as_ref())
            .filter(|item| matches!(item.kind, ItemKind::Question { .. }))
    }

    /// Returns the record of the reply whose rest the customer requests.
    pub(super) fn wanted_rest(&self) -> Option<u64> {
        let rest = self.inputs.iter().find_map(|input| {
            let pressed = matches!(input.event.body, Body::Action { .. });
            let about = input.about.as_ref().filter(|_| pressed)?;
            (about.kind == ItemKind::Rest).then_some(about.record)
        });
        rest.filter(|_| !self.says_more())
    }

    /// Returns whether a person did more than press the button for the rest.
    fn says_more(&self) -> bool {
        self.inputs.iter().any(|input| {
            input.about.is_none()
                && matches!(
                    input.event.body,
                    Body::Message { .. } | Body::Command { .. } | Body::Action { .. }
                )
        })
    }

    /// Returns whether nobody asked anything that can be read.
    pub(super) fn only_unreadable(&self) -> bool {
        self.first_unreadable && self.readable_by().is_none()
    }

    /// Returns who asked the employee something in this turn's inputs: a person before a bot, `None` if nothing was addressed to
    /// it.
    pub(super) fn asked_by(&self) -> Option<ActorKind> {
        let unreadable = self.first_unreadable.then_some(ActorKind::Human);
        unreadable.or_else(|| self.readable_by())
    }

    fn readable_by(&self) -> Option<ActorKind> {
        if self.question().is_some() {
            return Some(ActorKind::Human);
        }
        let deleted = |id: &str| {
            self.inputs.iter().any(
                |input| matches!(&input.event.body, Body::Deleted { message } if message == id),
            )
        };
        let kinds = self.inputs.iter().filter_map(|input| {
            let event = &input.event;
            if matches!(&event.body, Body::Message { message, .. } if deleted(message)) {
                return None;
            }
            let to_it = event.addressed.direct
                || event.addressed.mention
                || event.addressed.command
                || (event.addressed.thread && self.started.state.spoke);
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

/// Returns whether an event is a person's message to the employee that cannot be read.
fn is_unreadable(event: &Inbound) -> bool {
    matches!(event.body, Body::Unsupported { .. })
        && event.sender.kind == ActorKind::Human
        && (event.addressed.direct || event.addressed.mention)
}
