//! Deciding: what follows from a state.

use std::time::Duration;

use super::{End, Part, Phase, State};
use crate::{
    ActorKind, Body, Employee, Find, Timestamp,
    tool::Effect,
    turn::{Action, OpenReason, OpenSend, Outcome, SilenceReason, WaitReason},
};

/// Says what follows from a state: the next action, or nothing while an action is open.
pub fn decide(employee: &Employee, state: &State, at: Timestamp) -> Option<Action> {
    match &state.phase {
        Phase::Begin => Some(state.first_action(employee, at)),
        Phase::Thinking => Some(Action::CallModel {
            call: state.calls + 1,
            key: format!("{}.m{}", state.turn, state.calls + 1),
            max_tokens: employee.limits.answer_tokens,
        }),
        Phase::Answered => match state.tool_queue.front() {
            Some(call) => Some(Action::CallTool {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                effect: state
                    .started
                    .tools
                    .get(&call.name)
                    .copied()
                    .unwrap_or(Effect::Once),
                key: format!("{}.t{}", state.turn, state.tool_calls + 1),
            }),
            None => Some(Action::Listen),
        },
        Phase::Speaking => Some(state.send(at)),
        Phase::Doubtful => state.doubt(employee, at),
        Phase::Backoff(until, reason) => Some(Action::Wait {
            until: *until,
            reason: *reason,
        }),
        Phase::Ending(End::Silent(reason)) => {
            Some(state.finish(Outcome::Silent { reason: *reason }))
        }
        Phase::Ending(End::Asked(reason)) => Some(state.ask(*reason)),
        Phase::Gathering
        | Phase::Calling
        | Phase::Acting(..)
        | Phase::Listening
        | Phase::Sending
        | Phase::Finding
        | Phase::Waiting(..)
        | Phase::Finished(_) => None,
    }
}

impl State {
    fn first_action(&self, employee: &Employee, at: Timestamp) -> Action {
        let silent = |reason| self.finish(Outcome::Silent { reason });
        let decided = self
            .started
            .inputs
            .iter()
            .any(|input| matches!(input.event.body, Body::Decision { .. }));
        match self.asks() {
            Some(ActorKind::Bot)
                if self.started.carry.bot_turns >= employee.limits.bot_turns
                    && self.current().is_none() =>
            {
                silent(SilenceReason::BotLoop)
            }
            Some(_) => Action::Gather,
            None if self.current().is_some() => self.send(at),
            None if let Some(key) = self.undelivered() => self.finish(Outcome::Asked { key }),
            None if decided => silent(SilenceReason::Dropped),
            None => silent(SilenceReason::NotAddressed),
        }
    }

    /// Sends the next part, or finishes.
    fn send(&self, at: Timestamp) -> Action {
        match self.current() {
            Some(part) => Action::Send {
                key: part.reply.key.clone(),
                attempt: part.attempts + 1,
                text: part.reply.text.clone(),
                reply_to: None,
                give_up_at: at + Duration::from_millis(self.started.channel.timeout_ms),
            },
            None => self.finish(Outcome::Replied {
                parts: u32::try_from(self.parts.len()).unwrap_or(u32::MAX),
                fallback: self.fallback,
            }),
        }
    }

    /// What to do about a part of which nobody knows whether it arrived.
    fn doubt(&self, employee: &Employee, at: Timestamp) -> Option<Action> {
        let part = self.current()?;
        let landed = part.give_up_at + Duration::from_millis(self.started.channel.grace_ms);
        Some(match self.started.channel.find {
            Find::Query if at < landed => Action::Wait {
                until: landed,
                reason: WaitReason::InFlight,
            },
            Find::Query => Action::Find {
                key: part.reply.key.clone(),
                since: part.since,
            },
            Find::Event => {
                // While the process was down nobody listened: the silence is counted from the doubt on.
                let silence = Duration::from_secs(u64::from(employee.limits.receipt_deadline_secs));
                let deadline = landed.max(at) + silence;
                Action::Wait {
                    until: deadline,
                    reason: WaitReason::Receipt,
                }
            }
            Find::None => Action::Wait {
                until: landed,
                reason: WaitReason::Receipt,
            },
        })
    }

    fn finish(&self, outcome: Outcome) -> Action {
        let mut carry = self.started.carry.clone();
        if matches!(outcome, Outcome::Replied { .. } | Outcome::Asked { .. }) {
            carry.spoke = true;
            if self.asks() == Some(ActorKind::Bot) {
                carry.bot_turns += 1;
            }
        }
        Action::Finish { outcome, carry }
    }

    /// Ends the turn with a question to a person about the current part and all after it.
    fn ask(&self, reason: OpenReason) -> Action {
        let mut open: Vec<&Part> = self.parts.iter().filter(|part| !part.done).collect();
        let Some(first) = open.first().copied() else {
            return self.finish(Outcome::Silent {
                reason: SilenceReason::NothingToSay,
            });
        };
        let key = first.reply.key.clone();
        let parts = open.drain(..).map(|part| part.reply.clone()).collect();
        let since = first.since;
        match self.finish(Outcome::Asked { key: key.clone() }) {
            Action::Finish { outcome, mut carry } => {
                carry.open.push(OpenSend {
                    key,
                    reason,
                    since,
                    parts,
                });
                Action::Finish { outcome, carry }
            }
            other => other,
        }
    }
}
