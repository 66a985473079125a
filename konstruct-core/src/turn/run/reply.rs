//! Renders a reply into the parts that the channel can send.

use std::{ops::ControlFlow, sync::Arc};

use super::{Performed, Run};
use crate::{
    ConversationId, Outgoing, Result, TenantId,
    employee::Phrases,
    outgoing::{Choice, Choices, Rendered},
    store::Store,
    turn::{Entry, Event, FallbackReason, ItemId, Record, ReplyPart, ReplySource, Unread},
};

/// The characters of a part if the channel is not available to render it.
const PLAIN_PART: usize = 3000;

impl Run<'_> {
    pub(super) async fn render(&mut self, source: ReplySource) -> Result<Performed> {
        let Some(outgoing) = self.outgoing(source).await? else {
            return Ok(ControlFlow::Continue(Event::Rendered {
                parts: Vec::new(),
                rest: None,
            }));
        };
        let most = self.staff.employee.limits.reply_parts.max(1) as usize;
        let rendered = match self.channel().await {
            Ok(channel) => channel.render(&outgoing, most),
            // The send will fail with this error and leave an open item.
            Err(_) => Rendered::plain(&outgoing, PLAIN_PART, most),
        };
        let turn = self.state.turn();
        let mut said = rendered.parts;
        if rendered.rest.is_some() {
            said.push(self.offer());
        }
        let parts = said.into_iter().enumerate().map(|(n, what)| ReplyPart {
            key: format!("{turn}.p{n}"),
            what,
        });
        Ok(ControlFlow::Continue(Event::Rendered {
            parts: parts.collect(),
            rest: rendered.rest,
        }))
    }

    /// Returns the message that offers the rest of a long reply.
    fn offer(&self) -> Outgoing {
        let employee = &self.staff.employee;
        let item = ItemId::of(self.state.turn(), self.state.next_item());
        let choice = Choice::new(item.0, employee.phrases.rest_label.clone());
        Outgoing::markdown(employee.phrases.rest.clone()).with_choices(Choices::new([choice]))
    }

    async fn outgoing(&mut self, source: ReplySource) -> Result<Option<Outgoing>> {
        let employee = &self.staff.employee;
        let text = match source {
            ReplySource::Proactive => {
                return Ok(self.state.proactive().map(|(outgoing, _)| outgoing.clone()));
            }
            ReplySource::Answer => {
                let outgoing = Outgoing::markdown(self.state.answer().trim());
                return Ok(Some(match self.state.choices() {
                    Some(choices) => outgoing.with_choices(choices.clone()),
                    None => outgoing,
                }));
            }
            ReplySource::Fixed(FallbackReason::Closed) => employee
                .hours
                .as_ref()
                .map_or_else(String::new, |hours| hours.closed_message.clone()),
            ReplySource::Fixed(FallbackReason::Unreadable) => employee.phrases.unreadable.clone(),
            ReplySource::Fixed(FallbackReason::Attachment(reason)) => {
                unread(&employee.phrases, reason).to_owned()
            }
            ReplySource::Fixed(FallbackReason::Model | FallbackReason::Blank) => {
                employee.phrases.deferred.clone()
            }
            ReplySource::Fixed(FallbackReason::Busy) => employee.phrases.busy.clone(),
            ReplySource::Fixed(FallbackReason::Budget) => employee.phrases.cap_reached.clone(),
            ReplySource::Fixed(_) => employee.fallback.clone(),
            ReplySource::Rest(record) => {
                let claim = self.lease.claim();
                let place = (claim.tenant, claim.conversation);
                let found = rendered(&*self.driver.store, place, record).await?;
                let Some((record, rest)) = found else {
                    return Ok(None);
                };
                self.repeated.extend(&record.persons);
                return Ok(rest);
            }
        };
        Ok(Some(Outgoing::markdown(text.trim())))
    }

    /// Returns the content of a part of this turn, or of an earlier one. `None` if it can no longer be read.
    pub(super) async fn part(&self, key: &str, record: Option<u64>) -> Result<Option<Outgoing>> {
        let Some(record) = record else {
            return Ok(self.state.part(key).cloned());
        };
        let claim = self.lease.claim();
        let place = (claim.tenant, claim.conversation);
        let found = rendered(&*self.driver.store, place, record).await?;
        Ok(found.and_then(|(record, _)| match &record.entry {
            Entry::Event(Event::Rendered { parts, .. }) => parts
                .iter()
                .find(|part| part.key == key)
                .map(|part| part.what.clone()),
            _ => None,
        }))
    }
}

/// Returns the phrase for attachments that could not be read.
fn unread(phrases: &Phrases, reason: Unread) -> &str {
    match reason {
        Unread::NoTranscriber => &phrases.cannot_listen,
        Unread::Silent => &phrases.nothing_heard,
        Unread::NoVision | Unread::Moving => &phrases.cannot_see,
        Unread::NoReader | Unread::Format => &phrases.cannot_read,
        Unread::TooLarge | Unread::TooMany => &phrases.too_large,
        Unread::Missing
        | Unread::Failed
        | Unread::Forbidden
        | Unread::OverBudget
        | Unread::Deleted
        | Unread::Hidden
        | Unread::External => &phrases.not_received,
    }
}

/// Reads an earlier reply and its rest.
async fn rendered(
    store: &dyn Store,
    (tenant, conversation): (TenantId, ConversationId),
    index: u64,
) -> Result<Option<(Arc<Record>, Option<Outgoing>)>> {
    let read = store.read(tenant, conversation, index..index + 1).await?;
    let record = read.into_iter().next().and_then(|stored| stored.record);
    Ok(record.and_then(|record| match &record.entry {
        Entry::Event(Event::Rendered { rest, .. }) => {
            let rest = rest.clone();
            Some((record, rest))
        }
        _ => None,
    }))
}
