//! Decides what follows from a state. Every setting of the employee is evaluated once, here, and the result is recorded.

use std::time::Duration;

use super::{Part, Phase, SEND_ATTEMPTS, State};
use crate::{
    Employee, ErrorKind, Timestamp,
    channel::Find,
    employee::{MidTurn, Unresolved},
    limit::Limited,
    llm::Finish,
    message::{ActorKind, Body},
    turn::{
        Action, AttachmentContent, CloseReason, Failure, FallbackReason, ItemId, ItemKind,
        OpenItem, OpenReason, Outcome, ReplySource, SentVia, SilenceReason, WaitReason,
    },
};

/// How often the provider is queried about a part before a person is asked.
const FIND_ATTEMPTS: u32 = 6;
/// The longest delay between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// The longest delay between two checks of a connection whose credentials are refused.
const LONGEST_CONNECTION_WAIT: Duration = Duration::from_secs(600);
/// The timeout of a model call without a deadline.
const MODEL_TIMEOUT: Duration = Duration::from_secs(120);
/// The shortest timeout of a model call.
const SHORTEST_CALL: Duration = Duration::from_secs(5);
/// How often a truncated answer is continued, and how often a blank one is requested again.
const CONTINUATIONS: usize = 2;
const BLANK_RETRIES: usize = 1;
/// The delay before a question is retried; doubled with each attempt.
const FIRST_RETRY: Duration = Duration::from_secs(30);
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// Returns the next action; `None` while an action is open.
pub fn decide(employee: &Employee, state: &State, at: Timestamp) -> Option<Action> {
    if state.awaited > 0 || matches!(state.phase, Phase::Finished(_)) {
        return None;
    }
    if let Some((item, reason)) = state.closing.front() {
        return Some(Action::Close {
            item: item.clone(),
            reason: *reason,
        });
    }
    match &state.phase {
        Phase::Begin => Some(state.first_action(employee, at)),
        Phase::ReadFailed(attachment, failure) => {
            Some(state.read_failed(employee, at, (*attachment, *failure)))
        }
        Phase::Thinking => Some(state.think(employee, at)),
        Phase::CallFailed(failure) => Some(state.call_failed(employee, at, *failure)),
        Phase::CallRefused => Some(state.unanswered(employee, at, FallbackReason::Budget)),
        Phase::CallLimited(limited) => Some(state.call_limited(employee, at, *limited)),
        Phase::Answered => Some(state.answered(employee, at)),
        Phase::Speaking => Some(state.send(employee, at)),
        Phase::SendFailed(failure) => Some(state.send_failed(employee, at, *failure)),
        Phase::Ambiguous => state.resolve_ambiguity(employee, at),
        Phase::NotFound => {
            let again = state
                .current()
                .is_some_and(|part| part.attempts < SEND_ATTEMPTS);
            Some(if again {
                state.send(employee, at)
            } else {
                state.ask(at, OpenReason::Unresolved)
            })
        }
        Phase::FindFailed(failure) => Some(state.find_failed(at, *failure)),
        Phase::Unreported => {
            let part = state.current()?;
            let again = employee.limits.unresolved == Unresolved::Resend
                && part.via == SentVia::Conversation;
            Some(if again && part.attempts < SEND_ATTEMPTS {
                state.send(employee, at)
            } else {
                state.ask(at, OpenReason::Unresolved)
            })
        }
        Phase::Ending(reason) => Some(state.silent(employee, at, *reason)),
        Phase::Reading(_)
        | Phase::Gathering
        | Phase::Calling
        | Phase::Acting(..)
        | Phase::Listening
        | Phase::Replying(_)
        | Phase::Sending
        | Phase::Finding
        | Phase::Waiting(..)
        | Phase::Finished(_) => None,
    }
}

pub(super) fn fixed(reason: FallbackReason) -> Action {
    Action::Reply {
        source: ReplySource::Fixed(reason),
    }
}

impl State {
    fn first_action(&self, employee: &Employee, at: Timestamp) -> Action {
        if let Some((keys, record)) = self.undelivered.front() {
            let reason = OpenReason::NotDelivered;
            return self.open(
                at,
                ItemKind::Send {
                    reason,
                    keys: keys.clone(),
                },
                *record,
                None,
            );
        }
        if let Some(item) = self.waited() {
            return self.check_held(employee, at, item);
        }
        if let Some((_, expires_at)) = self.proactive() {
            return match expires_at {
                Some(expires_at) if expires_at < at => {
                    self.silent(employee, at, SilenceReason::Expired)
                }
                _ => Action::Reply {
                    source: ReplySource::Proactive,
                },
            };
        }
        match self.asked_by() {
            Some(ActorKind::Bot)
                if self.started.state.bot_turns >= employee.limits.bot_turns
                    && self.current().is_none() =>
            {
                self.silent(employee, at, SilenceReason::BotLoop)
            }
            Some(_) if self.is_held(employee, at) => self.held(employee, at),
            Some(_) if let Some(record) = self.wanted_rest() => Action::Reply {
                source: ReplySource::Rest(record),
            },
            Some(_) if self.is_late(employee, at) => self.silent(employee, at, SilenceReason::Late),
            Some(_) if self.only_unreadable() => fixed(FallbackReason::Unreadable),
            Some(_) if let Some(reading) = self.read_next(employee, at) => reading,
            Some(_) if let Some(reply) = self.nothing_read(employee, at) => reply,
            Some(_) if self.started.limited.is_some() => fixed(FallbackReason::Busy),
            Some(_) => Action::Gather,
            None if self.current().is_some() => self.send(employee, at),
            None if let Some(item) = &self.send_item => Action::Finish {
                outcome: Outcome::Asked { item: item.clone() },
            },
            None => {
                let decided =
                    |input: &super::Input| matches!(input.event.body, Body::Decision { .. });
                let reason = if self.inputs.iter().any(decided) {
                    SilenceReason::Dropped
                } else {
                    SilenceReason::NotAddressed
                };
                self.silent(employee, at, reason)
            }
        }
    }

    /// Returns whether a team member holds the conversation. The employee may still answer a question if a
    /// person decides so.
    fn is_held(&self, employee: &Employee, at: Timestamp) -> bool {
        let until = self.conversation().held_until(employee);
        self.question().is_none() && until.is_some_and(|until| at < until)
    }

    /// Ends the turn without an answer, after parts that an earlier turn left.
    fn held(&self, employee: &Employee, at: Timestamp) -> Action {
        match self.current() {
            Some(_) => self.send(employee, at),
            None => self.silent(employee, at, SilenceReason::Held),
        }
    }

    /// Returns whether all inputs are so old that a person must decide whether to answer them.
    fn is_late(&self, employee: &Employee, at: Timestamp) -> bool {
        if employee.limits.question_age_secs == 0 {
            return false;
        }
        let most = Duration::from_secs(u64::from(employee.limits.question_age_secs));
        let newest = self.inputs.iter().map(|input| input.accepted_at).max();
        self.question().is_none() && newest.is_some_and(|newest| newest + most < at)
    }

    /// Calls the model, unless that is not possible.
    fn think(&self, employee: &Employee, at: Timestamp) -> Action {
        if self.is_held(employee, at) {
            return self.held(employee, at);
        }
        if self.says_closed(employee) {
            return fixed(FallbackReason::Closed);
        }
        if let Some(reading) = self.read_next(employee, at) {
            return reading;
        }
        self.call(employee, at, self.without_images)
    }

    /// Returns whether the reply is that the business is closed.
    pub(super) fn says_closed(&self, employee: &Employee) -> bool {
        let told = employee
            .hours
            .as_ref()
            .is_some_and(|hours| !hours.closed_message.trim().is_empty());
        self.calls == 0 && self.started.closed && told
    }

    fn call(&self, employee: &Employee, at: Timestamp, without_images: bool) -> Action {
        if self.calls >= employee.limits.model_calls {
            return self.unanswered(employee, at, FallbackReason::Limit);
        }
        if !employee.caps.is_empty() && self.started.model.price.is_none() {
            return self.unanswered(employee, at, FallbackReason::Budget);
        }
        // After a crash the deadline may have passed. A late answer is better than a promise.
        let patience = Duration::from_secs(u64::from(employee.limits.deadline_secs));
        let give_up_at = match self.deadline() {
            Some(deadline) if deadline > at => deadline,
            Some(_) => at + patience,
            None => at + MODEL_TIMEOUT,
        };
        let give_up_at = give_up_at.max(at + SHORTEST_CALL).min(at + MODEL_TIMEOUT);
        Action::CallModel {
            call: self.calls + 1,
            key: self.call_key(self.calls + 1),
            max_tokens: employee.limits.answer_tokens,
            give_up_at,
            without_images,
        }
    }

    /// The deadline for a reply. A turn that has called a tool is not cut short, because the effects of the tool would be lost.
    fn deadline(&self) -> Option<Timestamp> {
        self.started.deadline.filter(|_| self.tool_calls == 0)
    }

    fn call_failed(&self, employee: &Employee, at: Timestamp, failure: Failure) -> Action {
        if self.may_be_the_images(failure) {
            return self.call(employee, at, true);
        }
        let retry_at = at + backoff(self.calls, failure);
        // A scheduled retry makes a single attempt.
        let in_time = self.started.follow_up.is_none()
            && self.deadline().is_none_or(|deadline| retry_at < deadline);
        if self.calls < employee.limits.model_calls && may_retry(failure.kind) && in_time {
            Action::Wait {
                until: retry_at,
                reason: WaitReason::ModelRetry,
            }
        } else if failure.kind == ErrorKind::QuotaExhausted && !employee.caps.is_empty() {
            self.unanswered(employee, at, FallbackReason::Budget)
        } else {
            self.unanswered(employee, at, FallbackReason::Model)
        }
    }

    /// Waits for a rate limit. If that takes long, the person gets a notice first, unless the turn has had effects already.
    fn call_limited(&self, employee: &Employee, at: Timestamp, limited: Limited) -> Action {
        let long = limited.until.since(self.began_at) > employee.rates.patience();
        let told = self.asked_by() != Some(ActorKind::Human)
            || self.question().is_some()
            || !self.conversation().may_say_busy(employee, at);
        if long && !told && self.tool_calls == 0 {
            return fixed(FallbackReason::Busy);
        }
        Action::Wait {
            until: limited.until,
            reason: WaitReason::RateLimit,
        }
    }

    /// Returns whether the model may have refused the call because of its images.
    fn may_be_the_images(&self, failure: Failure) -> bool {
        let is_image = |content: &_| matches!(content, AttachmentContent::Image { .. });
        let refused = matches!(
            failure.kind,
            ErrorKind::InvalidInput | ErrorKind::TooLarge | ErrorKind::Unsupported
        );
        refused && !self.without_images && self.readings.values().any(is_image)
    }

    /// Sends the fixed phrase for an unanswered question, unless it was sent before.
    fn unanswered(&self, employee: &Employee, at: Timestamp, reason: FallbackReason) -> Action {
        if self.question().is_some() {
            return self.silent(employee, at, SilenceReason::Unanswered);
        }
        fixed(reason)
    }

    fn answered(&self, employee: &Employee, at: Timestamp) -> Action {
        let Some(round) = self.rounds.last() else {
            return self.unanswered(employee, at, FallbackReason::Model);
        };
        if round.calls_tools() {
            return match self.tool_queue.front() {
                Some(call) => self.tool(employee, call),
                None if employee.limits.mid_turn == MidTurn::Queue => self.think(employee, at),
                None => Action::Listen,
            };
        }
        let whole = matches!(
            round.answer.finish,
            Finish::Stop | Finish::StopSequence | Finish::ToolCalls | Finish::Other(_)
        );
        if round.is_cut() {
            let cut = self.trailing(super::Round::is_cut);
            return if cut <= CONTINUATIONS && self.calls < employee.limits.model_calls {
                self.think(employee, at)
            } else {
                self.unanswered(employee, at, FallbackReason::Cut)
            };
        }
        if self.answer().trim().is_empty() {
            if self.current().is_some() {
                return self.send(employee, at);
            }
            let blank = self.trailing(super::Round::is_blank);
            let again = blank <= BLANK_RETRIES && self.calls < employee.limits.model_calls;
            return match whole {
                true if again => self.think(employee, at),
                true => self.unanswered(employee, at, FallbackReason::Blank),
                false => self.unanswered(employee, at, FallbackReason::Model),
            };
        }
        if matches!(
            round.answer.finish,
            Finish::ContentFilter | Finish::ContextWindow
        ) {
            return self.unanswered(employee, at, FallbackReason::Cut);
        }
        Action::Reply {
            source: ReplySource::Answer,
        }
    }

    fn tool(&self, employee: &Employee, call: &crate::llm::ToolCall) -> Action {
        let skip = |content: &str| Action::SkipTool {
            id: call.id.clone(),
            content: content.into(),
        };
        let Some(effect) = self.started.tools.get(&call.name) else {
            return skip("There is no such tool, or it was not granted.");
        };
        if self.tool_calls >= employee.limits.tool_calls {
            return skip("The limit of tool calls is reached: answer with what is known.");
        }
        Action::CallTool {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            effect: *effect,
            key: self.tool_key(self.tool_calls + 1),
        }
    }

    /// Sends the next part, or ends the turn.
    fn send(&self, employee: &Employee, at: Timestamp) -> Action {
        match self.current() {
            Some(part) if let Some(until) = self.waits_until(employee, at) => {
                self.hold(at, until, part)
            }
            Some(part) => self.send_part(part, self.via(part, at), at),
            None => self
                .wrap_up(employee, at)
                .unwrap_or_else(|| Action::Finish {
                    outcome: Outcome::Replied {
                        parts: u32::try_from(self.parts.len()).unwrap_or(u32::MAX),
                        fallback: self.fallback,
                    },
                }),
        }
    }

    fn send_part(&self, part: &Part, via: SentVia, at: Timestamp) -> Action {
        Action::Send {
            key: part.key.clone(),
            attempt: part.attempts + 1,
            record: part.record,
            via,
            give_up_at: at + Duration::from_millis(self.started.channel.timeout_ms),
        }
    }

    fn send_failed(&self, employee: &Employee, at: Timestamp, failure: Failure) -> Action {
        if failure.kind == ErrorKind::Cancelled {
            // The text was erased, so it can no longer be sent.
            return self.silent(employee, at, SilenceReason::Forgotten);
        }
        let attempts = self.current().map_or(0, |part| part.attempts);
        let transient = matches!(
            failure.kind,
            ErrorKind::RateLimited | ErrorKind::Unavailable
        );
        if transient && attempts < SEND_ATTEMPTS {
            return Action::Wait {
                until: at + backoff(attempts, failure),
                reason: WaitReason::SendRetry,
            };
        }
        if failure.kind != ErrorKind::Unauthorized
            && let Some(part) = self.current()
            && let Some(via) = self.other_way(part, at)
        {
            return self.send_part(part, via, at);
        }
        // The reply waits for the connection to be repaired, as long as it is still worth sending.
        let until = at + connection_wait(attempts);
        let most = Duration::from_secs(u64::from(employee.limits.question_age_secs));
        if failure.kind == ErrorKind::Unauthorized && until < self.began_at + most {
            return Action::Wait {
                until,
                reason: WaitReason::Connection,
            };
        }
        self.ask(at, OpenReason::Failed(failure.kind))
    }

    /// Decides how to find out whether a part arrived.
    fn resolve_ambiguity(&self, employee: &Employee, at: Timestamp) -> Option<Action> {
        let part = self.current()?;
        let landed = part.give_up_at + Duration::from_millis(self.started.channel.grace_ms);
        let find = match part.via {
            SentVia::Conversation => self.started.channel.find,
            _ => Find::None,
        };
        Some(match find {
            Find::Query if at < landed => Action::Wait {
                until: landed,
                reason: WaitReason::InFlight,
            },
            Find::Query => Action::Find {
                key: part.key.clone(),
                since: part.since,
            },
            Find::Event => {
                // No reports arrive while the process is down, so the deadline is counted from now.
                let silence = Duration::from_secs(u64::from(employee.limits.receipt_deadline_secs));
                Action::Wait {
                    until: landed.max(at) + silence,
                    reason: WaitReason::Receipt,
                }
            }
            Find::None => Action::Wait {
                until: landed,
                reason: WaitReason::Receipt,
            },
        })
    }

    fn find_failed(&self, at: Timestamp, failure: Failure) -> Action {
        let finds = self.current().map_or(0, |part| part.finds);
        let waits = failure.kind == ErrorKind::Unauthorized;
        if finds >= FIND_ATTEMPTS || !(waits || may_retry(failure.kind)) {
            self.ask(at, OpenReason::Unresolved)
        } else {
            Action::Wait {
                until: at + backoff(finds, failure),
                reason: WaitReason::FindRetry,
            }
        }
    }

    /// Ends the turn with an open item about the current part and all later ones.
    fn ask(&self, at: Timestamp, reason: OpenReason) -> Action {
        if let Some(item) = self.send_item.as_ref().filter(|_| self.wrapped_up) {
            return Action::Finish {
                outcome: Outcome::Asked { item: item.clone() },
            };
        }
        let open: Vec<&Part> = self.parts.iter().filter(|part| !part.done).collect();
        let record = open
            .first()
            .and_then(|part| part.record)
            .or(self.rendered_at)
            .unwrap_or(self.started.first);
        // An item refers to one record, so parts of two replies are never in one item.
        let own = open
            .iter()
            .filter(|part| part.record.is_none() == open[0].record.is_none());
        let keys = own.map(|part| part.key.clone()).collect();
        let earlier = open.first().filter(|part| part.record.is_some());
        let private = earlier.map_or_else(|| self.is_private(), |part| part.private);
        let item = self.item(at, ItemKind::Send { reason, keys }, record, None);
        Action::Open(OpenItem { private, ..item })
    }

    fn open(
        &self,
        at: Timestamp,
        kind: ItemKind,
        record: u64,
        retry_at: Option<Timestamp>,
    ) -> Action {
        Action::Open(self.item(at, kind, record, retry_at))
    }

    pub(super) fn item(
        &self,
        at: Timestamp,
        kind: ItemKind,
        record: u64,
        retry_at: Option<Timestamp>,
    ) -> OpenItem {
        OpenItem {
            id: ItemId::of(self.turn, self.items + 1),
            kind,
            turn: self.turn,
            record,
            opened_at: at,
            tries: 0,
            retry_at,
            expires_at: None,
            private: self.is_private(),
        }
    }

    /// Returns the next action that opens or closes an item before the turn can end, if there is one.
    fn wrap_up(&self, employee: &Employee, at: Timestamp) -> Option<Action> {
        if self.has_rest
            && let Some(record) = self.rendered_at
        {
            return Some(self.open(at, ItemKind::Rest, record, None));
        }
        if let Some(item) = self.started.questions.first()
            && self.answers_questions()
        {
            return Some(Action::Close {
                item: item.clone(),
                reason: CloseReason::Answered,
            });
        }
        let reason = self
            .fallback
            .filter(|reason| !reason.is_complete() && !self.wrapped_up)?;
        let again = matches!(
            reason,
            FallbackReason::Model | FallbackReason::Blank | FallbackReason::Budget
        );
        let young = employee.limits.question_age_secs > 0;
        let retry_at = match self.limited.filter(|_| reason == FallbackReason::Busy) {
            Some(limited) => Some(limited.until),
            None => (again && young).then(|| at + FIRST_RETRY),
        };
        let kind = ItemKind::Question { reason };
        Some(self.open(at, kind, self.started.first, retry_at))
    }

    pub(super) fn silent(
        &self,
        employee: &Employee,
        at: Timestamp,
        reason: SilenceReason,
    ) -> Action {
        let finish = Action::Finish {
            outcome: Outcome::Silent { reason },
        };
        if self.wrapped_up {
            return finish;
        }
        match reason {
            SilenceReason::Late => {
                let kind = ItemKind::Question {
                    reason: FallbackReason::Late,
                };
                self.open(at, kind, self.started.first, None)
            }
            // The item that a person decided on is closed, so the question is opened again under a new id.
            SilenceReason::Unanswered => match (&self.started.follow_up, self.question()) {
                (Some(item), _) => Action::Open(retried(employee, item, at)),
                (None, Some(item)) => self.open(at, item.kind.clone(), item.record, None),
                (None, None) => finish,
            },
            _ => finish,
        }
    }
}

/// Returns the item of a question that could not be answered again, with the time of the next attempt.
fn retried(employee: &Employee, item: &OpenItem, at: Timestamp) -> OpenItem {
    let tries = item.tries.saturating_add(1);
    let wait = (FIRST_RETRY * 2_u32.saturating_pow(tries.min(8))).min(LONGEST_RETRY);
    let most = Duration::from_secs(u64::from(employee.limits.question_age_secs));
    let retry_at = Some(at + wait).filter(|next| *next < item.opened_at + most);
    OpenItem {
        tries,
        retry_at,
        ..item.clone()
    }
}

pub(super) fn may_retry(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Ambiguous
            | ErrorKind::Truncated
            | ErrorKind::Protocol
    )
}

/// Returns one second, doubled with each attempt, or the longer delay that the remote side requests.
pub(super) fn backoff(tries: u32, failure: Failure) -> Duration {
    let own = Duration::from_secs(1 << tries.saturating_sub(1).min(6)).min(LONGEST_BACKOFF);
    failure
        .retry_after_ms
        .map_or(own, |asked| Duration::from_millis(asked).max(own))
}

/// Returns fifteen seconds, doubled with each attempt.
fn connection_wait(tries: u32) -> Duration {
    (Duration::from_secs(15) * 2_u32.saturating_pow(tries.saturating_sub(1).min(8)))
        .min(LONGEST_CONNECTION_WAIT)
}
