//! Applying: what an event or an action makes of a state.

use std::time::Duration;

use super::{End, Phase, Round, SEND_ATTEMPTS, State, ToolOutcome, misfit};
use crate::{
    Employee, ErrorKind, Finish, MidTurn, ModelAnswer, Result, Timestamp, ToolCall, Unresolved,
    turn::{
        Action, Event, Failure, FallbackReason, OpenReason, ReplyPart, SilenceReason, WaitReason,
        reply,
    },
};

/// How often the provider is asked about a part before a person is.
const FIND_ATTEMPTS: u32 = 6;
/// The longest wait between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

impl State {
    pub(super) fn apply_action(&mut self, at: Timestamp, action: &Action) -> Result<()> {
        self.phase = match action {
            Action::Gather => Phase::Gathering,
            Action::CallModel { call, .. } => {
                self.calls = *call;
                Phase::Calling
            }
            Action::CallTool { effect, .. } => {
                self.tool_calls += 1;
                let call = self
                    .tool_queue
                    .pop_front()
                    .ok_or_else(|| misfit("a tool call that no answer asked for"))?;
                Phase::Acting(call, *effect)
            }
            Action::Listen => Phase::Listening,
            Action::Send {
                attempt,
                give_up_at,
                ..
            } => {
                let part = self
                    .current_mut()
                    .ok_or_else(|| misfit("a send without a part"))?;
                if *attempt == 1 {
                    part.since = at;
                }
                part.attempts = *attempt;
                part.give_up_at = *give_up_at;
                Phase::Sending
            }
            Action::Find { .. } => {
                let part = self
                    .current_mut()
                    .ok_or_else(|| misfit("a find without a part"))?;
                part.finds += 1;
                Phase::Finding
            }
            Action::Wait { until, reason } => Phase::Waiting(*until, *reason),
            Action::Finish { outcome, .. } => Phase::Finished(outcome.clone()),
        };
        Ok(())
    }

    pub(super) fn apply_event(
        &mut self,
        employee: &Employee,
        at: Timestamp,
        event: &Event,
    ) -> Result<()> {
        if let Event::SendDone { key, .. }
        | Event::SendFailed { key, .. }
        | Event::SendAmbiguous { key }
        | Event::NotFound { key }
        | Event::FindFailed { key, .. } = event
            && self.current().is_none_or(|part| part.reply.key != *key)
        {
            return Err(misfit("a word about another part"));
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Begin);
        self.phase = match (phase, event) {
            (Phase::Gathering, Event::Gathered(gathered)) => {
                self.gathered = Some(gathered.clone());
                // The answer may hold the words of those who are quoted to the model.
                self.started.carry.persons.extend(&gathered.persons);
                if self.started.closed && !closed_message(employee).is_empty() {
                    self.speak(closed_message(employee), Some(FallbackReason::Closed))
                } else {
                    self.think(employee)
                }
            }
            (Phase::Calling, Event::Answered { answer, .. }) => self.answered(employee, answer),
            (Phase::Calling, Event::CallFailed { failure, .. }) => {
                self.call_failed(employee, at, *failure)
            }
            (Phase::Calling, Event::CallLost { .. }) => self.think(employee),
            (Phase::Calling, Event::CallRefused { .. }) => {
                self.speak(&employee.fallback, Some(FallbackReason::Budget))
            }
            (Phase::Acting(call, _), Event::ToolReturned { content, error, .. }) => {
                self.tool_result(call, content.clone(), *error);
                self.next_tool(employee)
            }
            (Phase::Acting(call, _), Event::ToolLost { .. }) => {
                let told = "The outcome is unknown: the call may or may not have had its effect. It was not repeated.";
                self.tool_result(call, told.into(), true);
                self.next_tool(employee)
            }
            (Phase::Listening, Event::Heard { inputs }) => {
                let from = self.heard.len();
                for input in inputs {
                    self.take_in_one(input);
                }
                self.heard.extend(inputs.iter().cloned());
                if let Some(round) = self.rounds.last_mut() {
                    round.heard = from..self.heard.len();
                }
                self.think(employee)
            }
            (Phase::Sending | Phase::Finding | Phase::Waiting(..), Event::SendDone { .. }) => {
                if let Some(part) = self.current_mut() {
                    part.done = true;
                }
                Phase::Speaking
            }
            (Phase::Sending, Event::SendAmbiguous { .. }) => Phase::Doubtful,
            (Phase::Sending | Phase::Waiting(..), Event::SendFailed { failure, .. }) => {
                self.send_failed(at, *failure)
            }
            (Phase::Finding, Event::NotFound { .. }) => {
                if self
                    .current()
                    .is_some_and(|part| part.attempts < SEND_ATTEMPTS)
                {
                    Phase::Speaking
                } else {
                    Phase::Ending(End::Asked(OpenReason::Unresolved))
                }
            }
            (Phase::Finding, Event::FindFailed { failure, .. }) => {
                let finds = self.current().map_or(0, |part| part.finds);
                if finds >= FIND_ATTEMPTS || !may_retry(failure.kind) {
                    Phase::Ending(End::Asked(OpenReason::Unresolved))
                } else {
                    Phase::Backoff(at + backoff(finds, *failure), WaitReason::FindRetry)
                }
            }
            (Phase::Waiting(_, reason), Event::Due) => match reason {
                WaitReason::ModelRetry => self.think(employee),
                WaitReason::SendRetry => Phase::Speaking,
                WaitReason::InFlight | WaitReason::FindRetry => Phase::Doubtful,
                WaitReason::Receipt => match employee.limits.unresolved {
                    Unresolved::Resend
                        if self
                            .current()
                            .is_some_and(|part| part.attempts < SEND_ATTEMPTS) =>
                    {
                        Phase::Speaking
                    }
                    _ => Phase::Ending(End::Asked(OpenReason::Unresolved)),
                },
            },
            (phase, _) => {
                self.phase = phase;
                return Err(misfit("an event that does not fit the turn's state"));
            }
        };
        Ok(())
    }

    /// The model is to be called, unless that cannot be.
    fn think(&mut self, employee: &Employee) -> Phase {
        if self.calls >= employee.limits.model_calls {
            return self.speak(&employee.fallback, Some(FallbackReason::Limit));
        }
        if employee.monthly_cap.is_some() && self.started.model.price.is_none() {
            return self.speak(&employee.fallback, Some(FallbackReason::Budget));
        }
        Phase::Thinking
    }

    /// A text is to be sent, in as many parts as the channel needs.
    fn speak(&mut self, text: &str, fallback: Option<FallbackReason>) -> Phase {
        self.fallback = fallback;
        let own = format!("{}.p", self.turn);
        let texts = reply::split(text, self.started.channel.max_text);
        self.queue(texts.into_iter().enumerate().map(|(n, text)| ReplyPart {
            key: format!("{own}{n}"),
            text,
        }));
        Phase::Speaking
    }

    fn answered(&mut self, employee: &Employee, answer: &ModelAnswer) -> Phase {
        let calls: Vec<ToolCall> = answer.tool_calls().cloned().collect();
        let silent = matches!(answer.finish, Finish::Stop | Finish::ToolCalls);
        let text = answer.text();
        self.rounds.push(Round {
            answer: answer.clone(),
            results: Vec::new(),
            heard: 0..0,
        });
        if calls.is_empty() {
            return match text.trim() {
                "" if !silent => self.speak(&employee.fallback, Some(FallbackReason::Model)),
                "" if self.parts.is_empty() => {
                    Phase::Ending(End::Silent(SilenceReason::NothingToSay))
                }
                text => self.speak(text, None),
            };
        }
        for call in calls {
            let spent = self.tool_calls as usize + self.tool_queue.len()
                >= employee.limits.tool_calls as usize;
            if !self.started.tools.contains_key(&call.name) {
                self.tool_result(
                    call,
                    "There is no such tool, or it was not granted.".into(),
                    true,
                );
            } else if spent {
                self.tool_result(
                    call,
                    "The limit of tool calls is reached: answer with what is known.".into(),
                    true,
                );
            } else {
                self.tool_queue.push_back(call);
            }
        }
        self.next_tool(employee)
    }

    fn next_tool(&mut self, employee: &Employee) -> Phase {
        if self.tool_queue.is_empty() && employee.limits.mid_turn == MidTurn::Queue {
            self.think(employee)
        } else {
            Phase::Answered
        }
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

    fn call_failed(&mut self, employee: &Employee, at: Timestamp, failure: Failure) -> Phase {
        if self.calls >= employee.limits.model_calls || !may_retry(failure.kind) {
            self.speak(&employee.fallback, Some(FallbackReason::Model))
        } else {
            Phase::Backoff(at + backoff(self.calls, failure), WaitReason::ModelRetry)
        }
    }

    fn send_failed(&mut self, at: Timestamp, failure: Failure) -> Phase {
        let attempts = self.current().map_or(0, |part| part.attempts);
        let transient = matches!(
            failure.kind,
            ErrorKind::RateLimited | ErrorKind::Unavailable
        );
        if transient && attempts < SEND_ATTEMPTS {
            Phase::Backoff(at + backoff(attempts, failure), WaitReason::SendRetry)
        } else {
            Phase::Ending(End::Asked(OpenReason::Failed(failure.kind)))
        }
    }
}

fn closed_message(employee: &Employee) -> &str {
    employee
        .hours
        .as_ref()
        .map_or("", |hours| hours.closed_message.trim())
}

fn may_retry(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Ambiguous
            | ErrorKind::Truncated
            | ErrorKind::Protocol
    )
}

/// One second, doubled with each try, or what the other side asks for.
fn backoff(tries: u32, failure: Failure) -> Duration {
    let own = Duration::from_secs(1 << tries.saturating_sub(1).min(6)).min(LONGEST_BACKOFF);
    failure
        .retry_after_ms
        .map_or(own, |asked| Duration::from_millis(asked).max(own))
}
