//! How the answer to an interaction reaches the person.

use serde::{Deserialize, Serialize};

use crate::message::Origin;

/// How often an address for responses may be used (Slack: five times).
pub(super) const RESPONSES: u32 = 5;

/// How a part of a reply is sent. The addresses are not recorded again: they are those of the turn's input.
///
/// An answer to an ordinary message goes to the conversation. The answer to an interaction with an [`Origin`] is sent in the first
/// of these ways that is possible; after a definite refusal, in the next one:
///
/// | the interaction | ways |
/// |---|---|
/// | visible only to the person (`ephemeral`) | `Response`, `Ephemeral`, `Direct` |
/// | the person selected the place of the response (`selected`) | `Response`, `Conversation` |
/// | any other | `Conversation`, `Response` |
///
/// `Response` is left out once the address has expired or was used five times. A part whose outcome is unknown after `Response`,
/// `Ephemeral` or `Direct` is never sent again by itself, because it cannot be looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SentVia {
    /// As a message of the conversation.
    #[default]
    Conversation,
    /// To the address for responses of the interaction.
    Response,
    /// As a message in the conversation that only the person sees.
    Ephemeral,
    /// As a one-to-one message to the person.
    Direct,
}

impl SentVia {
    pub(super) fn is_conversation(&self) -> bool {
        *self == Self::Conversation
    }

    /// Returns the ways in which an interaction can be answered, best first.
    pub(super) fn ways(origin: Option<&Origin>) -> &'static [Self] {
        use SentVia::{Conversation, Direct, Ephemeral, Response};
        match origin {
            Some(origin) if origin.ephemeral => &[Response, Ephemeral, Direct],
            Some(origin) if origin.selected => &[Response, Conversation],
            Some(_) => &[Conversation, Response],
            None => &[Conversation],
        }
    }
}
