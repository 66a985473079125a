//! Decides which attachments of the inputs are read, and how often.

use std::time::Duration;

use super::{
    Phase, State,
    decide::{backoff, fixed, may_retry},
};
use crate::{
    Employee, Timestamp,
    message::{ActorKind, Attachment, AttachmentKind, Body},
    turn::{
        Action, AttachmentContent, AttachmentRef, Failure, FallbackReason, Input, SilenceReason,
        Unread, WaitReason,
        attachment::{attachments, has_content},
    },
};

/// The most attachments that are read in a turn.
const MOST: usize = 10;
/// How often an attachment is tried.
const TRIES: u32 = 3;
/// The shortest and the longest time for an attempt.
const SHORTEST: Duration = Duration::from_secs(8);
const LONGEST: Duration = Duration::from_secs(60);
/// How long the same reply about attachments that cannot be read is not repeated.
const REPEATED: Duration = Duration::from_secs(600);

impl State {
    /// Returns the next action that reads or skips an attachment, if one is left.
    pub(super) fn read_next(&self, employee: &Employee, at: Timestamp) -> Option<Action> {
        if self.says_closed(employee) {
            return None;
        }
        let (attachment, of) = self.next_attachment()?;
        let skip = if let Some(why) = of.unavailable {
            Some(Unread::from(why))
        } else if self.readings.len() >= MOST {
            Some(Unread::TooMany)
        } else {
            (self.read_tries >= TRIES).then_some(Unread::Failed)
        };
        if let Some(reason) = skip {
            return Some(Action::SkipAttachment { attachment, reason });
        }
        let until = self.reading_ends(employee).max(at + SHORTEST);
        let read = self.reads + 1;
        Some(Action::ReadAttachment {
            attachment,
            read,
            key: self.reading_key(read),
            give_up_at: until.min(at + LONGEST),
        })
    }

    /// Decides what follows a failed attempt: another one if it is still in time.
    pub(super) fn read_failed(
        &self,
        employee: &Employee,
        at: Timestamp,
        (attachment, failure): (AttachmentRef, Failure),
    ) -> Action {
        let retry_at = at + backoff(self.read_tries, failure);
        let in_time = retry_at + SHORTEST <= self.reading_ends(employee).max(at + SHORTEST);
        if self.read_tries < TRIES && may_retry(failure.kind) && in_time {
            Action::Wait {
                until: retry_at,
                reason: WaitReason::AttachmentRetry,
            }
        } else {
            let reason = Unread::Failed;
            Action::SkipAttachment { attachment, reason }
        }
    }

    /// The time by which attachments should be read: two thirds of the time that a person waits for a reply.
    fn reading_ends(&self, employee: &Employee) -> Timestamp {
        self.began_at + Duration::from_secs(u64::from(employee.limits.deadline_secs)) * 2 / 3
    }

    /// Returns the first attachment of a person's message that was not read yet.
    fn next_attachment(&self) -> Option<(AttachmentRef, &Attachment)> {
        let messages = self.inputs.iter().filter(|input| self.is_message(input));
        let mut all = messages.flat_map(attachments);
        all.find(|(at, attachment)| has_content(attachment) && !self.readings.contains_key(at))
    }

    fn is_message(&self, input: &Input) -> bool {
        let event = &input.event;
        let Body::Message { message, .. } = &event.body else {
            return false;
        };
        let deletes = |other: &Input| matches!(&other.event.body, Body::Deleted { message: deleted } if deleted == message);
        event.sender.kind == ActorKind::Human && !self.inputs.iter().any(deletes)
    }

    /// Returns where the turn continues after an attachment.
    pub(super) fn after_reading(&self) -> Phase {
        match self.gathered {
            Some(_) => Phase::Thinking,
            None => Phase::Begin,
        }
    }

    /// Returns the reply if the inputs consist only of attachments that could not be read.
    pub(super) fn nothing_read(&self, employee: &Employee, at: Timestamp) -> Option<Action> {
        if self.says_closed(employee) || self.question().is_some() {
            return None;
        }
        let mut first = None;
        for input in &self.inputs {
            let Body::Message { content, .. } = &input.event.body else {
                if matches!(input.event.body, Body::Command { .. } | Body::Action { .. }) {
                    return None;
                }
                continue;
            };
            if !content.text.trim().is_empty() {
                return None;
            }
            for (at, attachment) in attachments(input) {
                match self.readings.get(&at) {
                    // A sticker is a gesture, and needs no apology.
                    Some(AttachmentContent::Unread { reason, .. })
                        if attachment.kind != AttachmentKind::Sticker =>
                    {
                        first = first.or(Some(*reason));
                    }
                    _ => return None,
                }
            }
        }
        let reason = first?;
        if reason == Unread::OverBudget {
            return Some(fixed(FallbackReason::Budget));
        }
        let told = self.started.state.unread;
        let repeats = told.is_some_and(|it| it.reason == reason && at < it.at + REPEATED);
        Some(if repeats {
            self.silent(employee, at, SilenceReason::Unread)
        } else {
            fixed(FallbackReason::Attachment(reason))
        })
    }
}
