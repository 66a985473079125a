//! Open items: what a turn left for a person, a timer or the customer to settle.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FallbackReason;
use crate::{ErrorKind, Timestamp, TurnId};

/// The id of an open item: the id of the turn that opened it, and a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub String);

impl ItemId {
    /// Returns the id of the n-th item of a turn.
    pub fn of(turn: TurnId, n: u32) -> Self {
        Self(format!("{turn}.i{n}"))
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that a turn left for a person, a timer or the customer to settle. It contains no message text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenItem {
    /// The item's id. An item that is opened again after an answer gets a new id.
    pub id: ItemId,
    /// What the item is about.
    pub kind: ItemKind,
    /// The turn that the item belongs to.
    pub turn: TurnId,
    /// The index of the record that the item is about: an [`Event::Rendered`](super::Event::Rendered) for messages, an
    /// [`Event::Started`](super::Event::Started) for a question.
    pub record: u64,
    /// When the item was opened.
    pub opened_at: Timestamp,
    /// How often the employee has retried the question.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u32,
    /// When the employee retries the question, or checks whether the message that waits can be sent. `None`: only a person can
    /// close the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When the message that waits expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether only the person who asked may see the message, so that it is not sent into the conversation later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
}

impl OpenItem {
    /// Creates an item that only a person can close.
    pub fn new(
        id: ItemId,
        kind: ItemKind,
        turn: TurnId,
        record: u64,
        opened_at: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            turn,
            record,
            opened_at,
            tries: 0,
            retry_at: None,
            expires_at: None,
            private: false,
        }
    }

    /// Returns whether a message waits until the conversation returns to the employee.
    pub(crate) fn is_held(&self) -> bool {
        matches!(&self.kind, ItemKind::Send { reason, .. } if *reason == OpenReason::Held)
    }

    /// Sets how often the employee has retried the question, and when it retries again.
    #[must_use]
    pub fn retried(mut self, tries: u32, retry_at: impl Into<Option<Timestamp>>) -> Self {
        self.tries = tries;
        self.retry_at = retry_at.into();
        self
    }
}

/// The kind of an open item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ItemKind {
    /// Messages whose outcome a person must settle: the first key is the message in question, the others were to follow it.
    Send {
        /// The reason.
        reason: OpenReason,
        /// The delivery keys, in order.
        keys: Vec<String>,
    },
    /// A question that was not answered.
    Question {
        /// The reason.
        reason: FallbackReason,
    },
    /// The rest of a long reply, which the customer can request.
    Rest,
}

/// Why a send is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpenReason {
    /// It is unknown whether the message arrived.
    Unresolved,
    /// The message did not arrive, and a retry would not help.
    Failed(ErrorKind),
    /// The provider accepted the message and later reported that it did not arrive.
    NotDelivered,
    /// A team member holds the conversation. The message is sent once the conversation returns to the employee, unless it expires
    /// before.
    Held,
}

/// Why an open item was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CloseReason {
    /// A person made a decision.
    Decided,
    /// The provider reported the outcome.
    Settled,
    /// The employee answered.
    Answered,
    /// The conversation had too many open items, so its oldest was closed.
    Displaced,
    /// The message that waited is sent now, because the conversation returned to the employee.
    Released,
    /// The message that waited expired.
    Expired,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
