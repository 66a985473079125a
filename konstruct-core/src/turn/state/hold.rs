//! Lets a message that the employee sends first wait while a team member holds the conversation.

use super::{Part, State};
use crate::{
    Employee, Timestamp,
    turn::{Action, CloseReason, Input, ItemKind, OpenItem, OpenReason, Outcome, SilenceReason},
};

impl State {
    /// Returns the item of the message that waited, if this turn checks it.
    pub(super) fn waited(&self) -> Option<&OpenItem> {
        let follow_up = self.started.follow_up.as_ref();
        follow_up.filter(|item| item.is_held())
    }

    /// Returns until when the turn's message waits, if it does. A team member's own message does not.
    pub(super) fn waits_until(&self, employee: &Employee, at: Timestamp) -> Option<Timestamp> {
        self.proactive()?;
        if self.inputs.iter().any(Input::is_team_reply) {
            return None;
        }
        let begun = self.parts.iter().any(|part| part.attempts > 0);
        let until = self.conversation().held_until(employee);
        until.filter(|until| at < *until && !begun)
    }

    /// Opens the item of a message that waits, or ends the turn after that.
    pub(super) fn hold(&self, at: Timestamp, until: Timestamp, first: &Part) -> Action {
        if let Some(item) = &self.send_item {
            let item = item.clone();
            return Action::Finish {
                outcome: Outcome::Asked { item },
            };
        }
        let keys = self.parts.iter().map(|part| part.key.clone()).collect();
        let record = first.record.or(self.rendered_at);
        let kind = ItemKind::Send {
            reason: OpenReason::Held,
            keys,
        };
        let item = self.item(at, kind, record.unwrap_or(self.started.first), None);
        let expires_at = self.proactive().and_then(|(_, expires_at)| expires_at);
        Action::Open(OpenItem {
            expires_at,
            retry_at: Some(check_at(until, expires_at)),
            ..item
        })
    }

    /// Decides on a message that waited: it is sent, waits on, or has expired.
    pub(super) fn check_held(&self, employee: &Employee, at: Timestamp, item: &OpenItem) -> Action {
        let close = |reason| Action::Close {
            item: item.id.clone(),
            reason,
        };
        if self.send_item.is_some() {
            return Action::Finish {
                outcome: Outcome::Silent {
                    reason: SilenceReason::Held,
                },
            };
        }
        if item.expires_at.is_some_and(|expires_at| expires_at < at) {
            return close(CloseReason::Expired);
        }
        match self.conversation().held_until(employee) {
            Some(until) if at < until => Action::Open(OpenItem {
                retry_at: Some(check_at(until, item.expires_at)),
                ..item.clone()
            }),
            _ => close(CloseReason::Released),
        }
    }
}

/// Returns when to check whether a message still waits. It has expired only after its time.
fn check_at(until: Timestamp, expires_at: Option<Timestamp>) -> Timestamp {
    let expired = expires_at.map(|at| at + std::time::Duration::from_micros(1));
    expired.map_or(until, |expired| expired.min(until))
}
