//! Direct questions to the employee: an ordinary turn of the engine, whose reply is returned.

use std::sync::Arc;

use futures_util::future::{Either, select};

use super::{
    Workforce, app,
    changes::{Changes, pause},
};
use crate::{
    ConversationId, Error, ErrorKind, Inbound, Outgoing, Result, TurnId,
    store::{Accepted, Stored},
    turn::{Action, Entry, Event, FallbackReason, Outcome, Record},
};

/// The number of records read at a time.
const PAGE: u64 = 64;

/// The reply of the employee to a question.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The text as Markdown. Empty if the employee did not reply.
    pub text: String,
    /// The parts of the reply, with their choices.
    pub parts: Vec<Outgoing>,
    /// The conversation, for [`Workforce::transcript`].
    pub conversation: ConversationId,
    /// The turn.
    pub turn: TurnId,
    /// How the turn ended.
    pub outcome: Outcome,
}

impl Answer {
    /// Returns the reason if the text is one of the employee's fixed phrases; `None` for a real answer.
    pub fn fallback_reason(&self) -> Option<FallbackReason> {
        match &self.outcome {
            Outcome::Replied { fallback, .. } => *fallback,
            _ => None,
        }
    }
}

impl Workforce {
    /// Asks the employee a question, and waits for the answer. `person` is your app's id of the person who asks. The employee
    /// remembers the conversation with each person, and does not reveal it to others.
    ///
    /// A question is an ordinary turn: stored before it is processed, replayable, limited by the cap, and with memory and tools.
    /// If [`run`](Self::run) is running, it processes the question, otherwise this call does. Questions that a person asks at the
    /// same time are answered together, as in a chat. The only time limit is the employee's
    /// [`deadline_secs`](crate::employee::TurnLimits::deadline_secs), after which the answer is a fixed phrase
    /// ([`Answer::fallback_reason`]).
    ///
    /// # Errors
    /// Any error of the store, and [`ErrorKind::NotFound`] if the tenant has no employee.
    ///
    /// # Cancel safety
    /// The question stays accepted if the future is dropped. Its answer can be read in the [`transcript`](Self::transcript).
    ///
    /// ```
    /// use konstruct_core::{Employee, Workforce, testkit::{ScriptedAnswer, ReferenceStore, ScriptedModel}, SystemClock};
    /// # use std::sync::Arc;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let model = ScriptedModel::new(|_| ScriptedAnswer::text("We open at nine."));
    /// let workforce = Workforce::builder_without_memory(ReferenceStore::new(Arc::new(SystemClock)))
    ///     .model(model)
    ///     .hire(Employee::builder("Ava").build()?)
    ///     .build()?;
    /// let answer = workforce.ask("user-7", "When do you open?").await?;
    /// assert_eq!(answer.text, "We open at nine.");
    /// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
    /// ```
    pub async fn ask(&self, person: impl Into<String>, text: impl Into<String>) -> Result<Answer> {
        self.ask_with(Inbound::message(person, text)).await
    }

    /// Asks the employee with your own event, for example one with attachments or a fixed id. Its channel and account are
    /// replaced by those of the built-in channel.
    ///
    /// # Errors
    /// Those of [`ask`](Self::ask), [`ErrorKind::InvalidInput`] for an event without a conversation, and [`ErrorKind::Conflict`]
    /// for an event that was accepted before.
    pub async fn ask_with(&self, mut event: Inbound) -> Result<Answer> {
        self.directory.staff(self.tenant, None).await?;
        if event.conversation.is_none() {
            return Err(Error::invalid(
                "conversation",
                "the event must have one; set it with Inbound::in_conversation",
            ));
        }
        event.channel = crate::ChannelKind::APP;
        event.account = crate::AccountId::default();
        let mut changes = Changes::of(&self.worker);
        let accepted = self.accept_on(app::connection(), event).await?;
        let Accepted::New { conversation, seq } = accepted else {
            return Err(Error::new(
                ErrorKind::Conflict,
                "id: an event with this id was accepted before",
            ));
        };
        let answered = async {
            loop {
                changes.mark_seen();
                match self.answer_to(conversation, seq).await? {
                    Progress::Answered(answer) => return Ok(answer),
                    Progress::Erased => return Err(Error::not_found("question")),
                    Progress::Open => {}
                }
                changes.next().await;
            }
        };
        futures_util::pin_mut!(answered);
        while self.running.is_running() {
            let ended = self.run_ended();
            futures_util::pin_mut!(ended);
            if let Either::Left((answer, _)) = select(&mut answered, ended).await {
                return answer;
            }
        }
        self.worker.run_until(answered).await
    }

    /// Waits until [`run`](Self::run) is not running.
    async fn run_ended(&self) {
        let clock = &self.worker.driver().clock;
        while self.running.is_running() {
            pause(&**clock).await;
        }
    }

    /// Looks for the turn that consumed an event, and for its end.
    async fn answer_to(&self, conversation: ConversationId, seq: u64) -> Result<Progress> {
        let summary = self.store.conversation(self.tenant, conversation).await?;
        let Some(summary) = summary else {
            return Ok(Progress::Erased);
        };
        let len = summary.len;
        let (mut from, mut records) = (len, Vec::<Stored>::new());
        // The numbers of inputs only increase, so the search ends at the first older one.
        let received = |stored: &Stored| match stored.record.as_deref().map(|record| &record.entry)
        {
            Some(Entry::Event(Event::Received(input))) => Some(input.seq),
            _ => None,
        };
        while from > 0 && !records.iter().filter_map(received).any(|own| own <= seq) {
            let to = from;
            from = to.saturating_sub(PAGE);
            let mut page = self.store.read(self.tenant, conversation, from..to).await?;
            page.append(&mut records);
            records = page;
        }
        let turn = records.iter().find(|stored| received(stored) == Some(seq));
        let Some(turn) = turn.and_then(|stored| Some(stored.record.as_deref()?.turn)) else {
            // An event is consumed in the transaction that records it.
            return Ok(match summary.unconsumed {
                0 => Progress::Erased,
                _ => Progress::Open,
            });
        };
        let own = records
            .iter()
            .filter_map(|stored| stored.record.clone())
            .filter(|record| record.turn == turn);
        let answer = answer(&own.collect::<Vec<_>>(), conversation, turn);
        Ok(answer.map_or(Progress::Open, Progress::Answered))
    }
}

/// How far a question has come.
enum Progress {
    /// It waits, or its turn is open.
    Open,
    Answered(Answer),
    /// It was erased, with its person or its conversation.
    Erased,
}

/// Returns the answer in a turn's records; `None` while the turn is open.
fn answer(records: &[Arc<Record>], conversation: ConversationId, turn: TurnId) -> Option<Answer> {
    let outcome = records.iter().find_map(|record| match &record.entry {
        Entry::Action(Action::Finish { outcome }) => Some(outcome.clone()),
        _ => None,
    })?;
    let parts: Vec<Outgoing> = records
        .iter()
        .filter_map(|record| match &record.entry {
            Entry::Event(Event::Rendered { parts, .. }) => Some(parts),
            _ => None,
        })
        .flatten()
        .map(|part| part.what.clone())
        .collect();
    let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
    Some(Answer {
        text: texts.join("\n\n"),
        conversation,
        turn,
        outcome,
        parts,
    })
}
