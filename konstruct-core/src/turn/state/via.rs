//! Chooses how a part of the reply reaches the person.

use super::{Part, State};
use crate::{
    Timestamp,
    message::{Body, Origin},
    turn::{SentVia, via::RESPONSES},
};

impl State {
    /// Returns where the interaction that the turn answers began, and the channel's id of its person.
    pub(crate) fn origin(&self) -> Option<(&Origin, Option<&str>)> {
        let mut inputs = self.inputs.iter().rev().map(|input| &input.event);
        let last = inputs.find(|event| {
            matches!(
                event.body,
                Body::Message { .. } | Body::Command { .. } | Body::Action { .. }
            )
        })?;
        Some((last.origin.as_deref()?, last.sender.id()))
    }

    /// Returns whether only the person who asked may see the turn's own reply.
    pub(crate) fn is_private(&self) -> bool {
        let earlier = self.question().is_some_and(|item| item.private);
        earlier || self.answers_privately()
    }

    /// Returns whether the turn answers an interaction that only its person saw.
    pub(crate) fn answers_privately(&self) -> bool {
        self.origin().is_some_and(|(origin, _)| origin.ephemeral)
    }

    fn ways(&self, part: &Part) -> &'static [SentVia] {
        let own = part.record.is_none();
        match self.origin() {
            Some((origin, _)) if own => SentVia::ways(Some(origin)),
            _ if part.private || own && self.is_private() => &[SentVia::Direct],
            _ => SentVia::ways(None),
        }
    }

    /// Returns the way in which a part is sent now: the last one again, or the first that is possible.
    pub(super) fn via(&self, part: &Part, at: Timestamp) -> SentVia {
        let tried = (part.attempts > 0).then_some(part.via);
        self.possible(part, tried, at).unwrap_or_default()
    }

    /// Returns the way in which a part is sent after the last one was refused, if there is another.
    pub(super) fn other_way(&self, part: &Part, at: Timestamp) -> Option<SentVia> {
        let ways = self.ways(part);
        let last = ways.iter().position(|way| *way == part.via)?;
        self.possible(part, Some(*ways.get(last + 1)?), at)
    }

    /// Returns the first possible way from `from` on.
    fn possible(&self, part: &Part, from: Option<SentVia>, at: Timestamp) -> Option<SentVia> {
        let ways = self.ways(part).iter();
        let mut ways = ways.skip_while(|way| from.is_some_and(|from| **way != from));
        ways.find(|way| **way != SentVia::Response || self.may_respond(at))
            .copied()
    }

    /// Returns whether the address for responses still accepts one.
    fn may_respond(&self, at: Timestamp) -> bool {
        // Not whether the address is there: it is removed from an export, which replays the same.
        let expires_at = self.origin().and_then(|(origin, _)| origin.expires_at);
        self.responses < RESPONSES && expires_at.is_some_and(|expires_at| at < expires_at)
    }
}
