//! Applies events and actions to a state, without reading any settings.

use std::collections::BTreeSet;

use super::{Part, Phase, Round, State, ToolOutcome, protocol_error};
use crate::{
    PersonId, Result, Timestamp,
    llm::{ModelAnswer, ToolCall},
    message::ActorKind,
    turn::{
        Action, AttachmentContent, AttachmentRef, CloseReason, Event, FallbackReason, Input,
        ItemKind, OpenItem, Outcome, ReplySource, SentVia, SilenceReason, UnreadNotice, WaitReason,
    },
};

impl State {
    pub(super) fn apply_action(&mut self, at: Timestamp, action: &Action) -> Result<()> {
        self.records += 1;
        self.phase = match action {
            Action::ReadAttachment {
                attachment, read, ..
            } => {
                self.reads = *read;
                self.read_tries += 1;
                Phase::Reading(*attachment)
            }
            Action::SkipAttachment { attachment, reason } => {
                self.read(*attachment, AttachmentContent::unread(*reason))
            }
            Action::Gather => Phase::Gathering,
            Action::CallModel {
                call,
                without_images,
                ..
            } => {
                self.calls = *call;
                self.without_images = *without_images;
                Phase::Calling
            }
            Action::CallTool { effect, .. } => {
                self.tool_calls += 1;
                let call = self.next_call()?;
                Phase::Acting(call, *effect)
            }
            Action::SkipTool { content, .. } => {
                let call = self.next_call()?;
                self.tool_result(call, content.clone(), true);
                Phase::Answered
            }
            Action::Listen => Phase::Listening,
            Action::Reply { source } => {
                if let ReplySource::Fixed(reason) = source {
                    self.fallback = Some(*reason);
                }
                Phase::Replying(*source)
            }
            Action::Send {
                attempt,
                via,
                give_up_at,
                ..
            } => {
                self.responses += u32::from(*via == SentVia::Response);
                let part = self.part_mut()?;
                part.via = *via;
                if *attempt == 1 {
                    part.since = at;
                }
                part.attempts = *attempt;
                part.give_up_at = *give_up_at;
                Phase::Sending
            }
            Action::Find { .. } => {
                self.part_mut()?.finds += 1;
                Phase::Finding
            }
            Action::Wait { until, reason } => Phase::Waiting(*until, *reason),
            Action::Open(item) => {
                self.items += 1;
                match &item.kind {
                    ItemKind::Send { keys, .. } => {
                        self.send_item = Some(item.id.clone());
                        self.undelivered.retain(|(first, _)| first != keys);
                        // The items of failed deliveries are opened first, before any other decision.
                        self.wrapped_up |= self.phase != Phase::Begin;
                    }
                    ItemKind::Question { .. } => self.wrapped_up = true,
                    ItemKind::Rest => self.has_rest = false,
                }
                return Ok(());
            }
            Action::Close { item, reason } => {
                self.closing.retain(|(id, _)| id != item);
                self.started.questions.retain(|id| id != item);
                if let Some(waited) = self.waited().filter(|waited| waited.id == *item).cloned() {
                    self.started.follow_up = None;
                    self.end_wait(&waited, *reason);
                }
                return Ok(());
            }
            Action::Finish { outcome } => {
                self.end(at, outcome);
                Phase::Finished(outcome.clone())
            }
        };
        Ok(())
    }

    pub(super) fn apply_event(&mut self, event: &Event) -> Result<()> {
        self.apply_to_phase(event)?;
        self.records += 1;
        Ok(())
    }

    fn apply_to_phase(&mut self, event: &Event) -> Result<()> {
        if let Event::SendDone { key, .. }
        | Event::SendFailed { key, .. }
        | Event::SendAmbiguous { key }
        | Event::NotFound { key }
        | Event::FindFailed { key, .. } = event
            && self.current().is_none_or(|part| part.key != *key)
        {
            return Err(protocol_error("the report is about another part"));
        }
        if self.awaited > 0 {
            let Event::Received(input) = event else {
                return Err(protocol_error("expected another input"));
            };
            self.awaited -= 1;
            self.receive(input);
            return Ok(());
        }
        if let Event::Forgotten { persons } = event {
            return self.forget(persons);
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Begin);
        self.phase = match (phase, event) {
            (
                Phase::Reading(open),
                Event::AttachmentRead {
                    attachment,
                    content,
                    ..
                },
            ) if open == *attachment => self.read(open, content.clone()),
            (
                Phase::Reading(open),
                Event::AttachmentFailed {
                    attachment,
                    failure,
                },
            ) if open == *attachment => Phase::ReadFailed(open, *failure),
            (Phase::Reading(_), Event::AttachmentLost { .. }) => self.after_reading(),
            (Phase::Gathering, Event::Gathered(gathered)) => {
                self.gathered = Some(gathered.clone());
                Phase::Thinking
            }
            (Phase::Calling, Event::Answered { answer, .. }) => {
                self.add_answer(answer);
                Phase::Answered
            }
            (Phase::Calling, Event::CallFailed { failure, .. }) => Phase::CallFailed(*failure),
            (Phase::Calling, Event::CallLost { .. }) => Phase::Thinking,
            (Phase::Calling, Event::CallRefused { .. }) => Phase::CallRefused,
            (Phase::Calling, Event::CallLimited { call, limited }) => {
                // The call was not made, so its number is used again.
                self.calls = call.saturating_sub(1);
                self.limited = Some(*limited);
                Phase::CallLimited(*limited)
            }
            (Phase::Acting(call, _), Event::ToolReturned { content, error, .. }) => {
                self.tool_result(call, content.clone(), *error);
                Phase::Answered
            }
            (Phase::Acting(call, _), Event::ToolLost { .. }) => {
                let unknown = "The outcome is unknown: the call may or may not have had its effect. It was not repeated.";
                self.tool_result(call, unknown.into(), true);
                Phase::Answered
            }
            (Phase::Listening, Event::InboxRead { inputs }) => {
                self.awaited = *inputs;
                let from = self.inputs.len();
                let to = from + usize::try_from(*inputs).unwrap_or(0);
                if let Some(round) = self.rounds.last_mut() {
                    round.inputs = from..to;
                }
                Phase::Thinking
            }
            (Phase::Replying(source), Event::Rendered { parts, rest }) => {
                if let ReplySource::Fixed(reason) = source {
                    self.fallback = Some(reason);
                }
                self.rendered_at = Some(self.started.first + self.records);
                self.has_rest = rest.is_some();
                self.parts.extend(parts.iter().cloned().map(Part::from));
                Phase::Speaking
            }
            (Phase::Sending | Phase::Finding | Phase::Waiting(..), Event::SendDone { .. }) => {
                if let Some(part) = self.current_mut() {
                    part.done = true;
                }
                Phase::Speaking
            }
            (Phase::Sending, Event::SendAmbiguous { .. }) => Phase::Ambiguous,
            (Phase::Sending | Phase::Waiting(..), Event::SendFailed { failure, .. }) => {
                Phase::SendFailed(*failure)
            }
            (Phase::Finding, Event::NotFound { .. }) => Phase::NotFound,
            (Phase::Finding, Event::FindFailed { failure, .. }) => Phase::FindFailed(*failure),
            (Phase::Waiting(_, reason), Event::Due) => match reason {
                WaitReason::AttachmentRetry => self.after_reading(),
                WaitReason::ModelRetry | WaitReason::RateLimit => Phase::Thinking,
                WaitReason::SendRetry | WaitReason::Connection => Phase::Speaking,
                WaitReason::InFlight | WaitReason::FindRetry => Phase::Ambiguous,
                WaitReason::Receipt => Phase::Unreported,
            },
            (phase, _) => {
                self.phase = phase;
                return Err(protocol_error("the event does not fit the turn's state"));
            }
        };
        Ok(())
    }

    /// Notes what was found in an attachment.
    fn read(&mut self, attachment: AttachmentRef, content: AttachmentContent) -> Phase {
        self.readings.insert(attachment, content);
        self.read_tries = 0;
        self.after_reading()
    }

    /// Discards the model's output. The model is called again, unless its output has already had an effect.
    fn forget(&mut self, persons: &BTreeSet<PersonId>) -> Result<()> {
        if matches!(self.phase, Phase::Finished(_)) {
            return Err(protocol_error("the turn is over"));
        }
        if let Some(gathered) = &mut self.gathered {
            gathered.persons.retain(|person| !persons.contains(person));
        }
        self.forgotten.extend(persons);
        self.rounds.clear();
        self.tool_queue.clear();
        let acted = self.tool_calls > 0 || self.parts.iter().any(|part| part.attempts > 0);
        let own = |input: &Input| input.persons.iter().any(|one| persons.contains(one));
        self.phase = if acted || self.inputs.iter().any(own) {
            Phase::Ending(SilenceReason::Forgotten)
        } else {
            self.parts.retain(|part| part.what.is_none());
            self.gathered = None;
            Phase::Begin
        };
        Ok(())
    }

    /// Ends the wait of a message: it is queued, unless it has expired.
    fn end_wait(&mut self, waited: &OpenItem, reason: CloseReason) {
        match &waited.kind {
            ItemKind::Send { keys, .. } if reason == CloseReason::Released => {
                self.queue(keys, waited);
            }
            _ => self.phase = Phase::Ending(SilenceReason::Expired),
        }
    }

    fn add_answer(&mut self, answer: &ModelAnswer) {
        self.tool_queue.extend(answer.tool_calls().cloned());
        self.rounds.push(Round {
            answer: answer.clone(),
            results: Vec::new(),
            inputs: 0..0,
        });
    }

    fn tool_result(&mut self, call: ToolCall, content: String, error: bool) {
        if let Some(round) = self.rounds.last_mut() {
            round.results.push(ToolOutcome {
                id: call.id,
                name: call.name,
                content,
                error,
            });
        }
    }

    fn next_call(&mut self) -> Result<ToolCall> {
        let next = self.tool_queue.pop_front();
        next.ok_or_else(|| protocol_error("no answer requested this tool call"))
    }

    fn part_mut(&mut self) -> Result<&mut Part> {
        self.current_mut()
            .ok_or_else(|| protocol_error("there is no part to send"))
    }

    /// Updates the state that outlives the turn.
    fn end(&mut self, at: Timestamp, outcome: &Outcome) {
        match self.fallback {
            Some(FallbackReason::Attachment(reason)) => {
                self.started.state.unread = Some(UnreadNotice { reason, at });
            }
            Some(FallbackReason::Busy) => self.started.state.busy_at = Some(at),
            None if matches!(outcome, Outcome::Replied { .. }) => self.started.state.unread = None,
            _ => {}
        }
        if matches!(outcome, Outcome::Replied { .. } | Outcome::Asked { .. }) {
            // A private answer is no part of the public conversation.
            self.started.state.spoke |= !self.answers_privately();
            if self.asked_by() == Some(ActorKind::Bot) {
                self.started.state.bot_turns += 1;
            }
        }
    }

    /// Returns whether the turn's reply answers the open questions.
    pub(super) fn answers_questions(&self) -> bool {
        let fixed = self.fallback.is_some_and(|reason| !reason.is_complete());
        !fixed
            && self.proactive().is_none()
            && !self.answers_privately()
            && self
                .parts
                .iter()
                .any(|part| part.what.is_some() && part.done)
    }

    /// Closes an item. Returns whether it was not being closed already.
    pub(super) fn close(&mut self, item: &OpenItem, reason: CloseReason) -> bool {
        let new = !self.closing.iter().any(|(id, _)| *id == item.id);
        if new {
            self.closing.push_back((item.id.clone(), reason));
        }
        new
    }
}
