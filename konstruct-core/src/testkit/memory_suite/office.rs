//! A tenant whose people talk: what the cases are made of.

use std::{collections::BTreeSet, time::Duration};

use futures_util::TryStreamExt as _;

use super::{Failed, MemorySubject, ensure};
use crate::{
    AccountId, Actor, Addressing, Audience, Body, ChannelKind, Clock as _, ConnectionId, Content,
    ConversationId, ConversationKind, ConversationRef, DocumentFormat, Find, Hit, IdKind, Inbound,
    NewDocument, PersonId, Recall, Remembered, RoutedEvent, Scope, Source, TenantId, Timestamp,
    TurnId, WorkerId,
    turn::{
        Accepted, Action, Append, AppendOutcome, Carry, ENGINE_VERSION, Entry, Event, Gathered,
        Input, PinnedChannel, PinnedModel, RECORD_VERSION, Record, Started,
    },
};

/// A tenant with one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Office {
    pub(super) tenant: TenantId,
    connection: ConnectionId,
}

/// Where something was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) conversation: ConversationId,
    pub(super) index: u64,
    pub(super) person: PersonId,
}

impl Line {
    pub(super) fn source(&self) -> Source {
        Source::Message {
            conversation: self.conversation,
            index: self.index,
        }
    }
}

/// A place to talk in: `#name` is a channel, `#name/thread` a thread in it, any other a one-to-one conversation.
fn place(name: &str) -> ConversationRef {
    let (channel, thread) = match name.split_once('/') {
        Some((channel, thread)) => (channel, Some(thread.to_owned())),
        None => (name, None),
    };
    ConversationRef {
        id: channel.to_owned(),
        kind: if name.starts_with('#') {
            ConversationKind::Channel
        } else {
            ConversationKind::Direct
        },
        thread,
        external: false,
    }
}

impl Office {
    pub(super) fn new() -> Self {
        Self {
            tenant: TenantId::new(),
            connection: ConnectionId::new(),
        }
    }

    /// A tenant of its own with the same connection, so that only the tenant differs.
    pub(super) fn other(&self) -> Self {
        Self {
            tenant: TenantId::new(),
            ..*self
        }
    }

    /// Somebody says something somewhere; returns where it stands. `id` is the provider's id of the message.
    pub(super) async fn say(
        &self,
        subject: &MemorySubject,
        (at, user): (&str, &str),
        text: &str,
    ) -> Result<Line, Failed> {
        let body = Body::Message {
            message: format!("m-{text}"),
            content: Content::text(text),
        };
        self.happen(subject, (at, user), body, None).await
    }

    /// The same, and the employee answers.
    pub(super) async fn ask(
        &self,
        subject: &MemorySubject,
        place: (&str, &str),
        (text, answer): (&str, &str),
    ) -> Result<[Line; 2], Failed> {
        let body = Body::Message {
            message: format!("m-{text}"),
            content: Content::text(text),
        };
        let asked = self.happen(subject, place, body, Some(answer)).await?;
        let answered = Line {
            index: asked.index + 2,
            ..asked
        };
        Ok([asked, answered])
    }

    /// A turn of one event.
    pub(super) async fn happen(
        &self,
        subject: &MemorySubject,
        (at, user): (&str, &str),
        body: Body,
        answer: Option<&str>,
    ) -> Result<Line, Failed> {
        subject.clock.advance(Duration::from_secs(60));
        let place = place(at);
        let event = Inbound {
            id: TurnId::new().to_string(),
            logical_id: String::new(),
            channel: ChannelKind::SLACK,
            account: AccountId("T1".into()),
            conversation: Some(place.clone()),
            sender: Actor::human(IdKind::SlackUser, user),
            occurred_at: subject.clock.now(),
            redelivery: 0,
            body,
            addressed: Addressing::default(),
            raw: None,
        };
        let routed = RoutedEvent {
            connection: self.connection,
            event,
        };
        let accepted = subject.journal.accept(self.tenant, vec![routed]).await?;
        ensure!(
            matches!(accepted[..], [Accepted::New { .. }]),
            "an event is {accepted:?}"
        );
        let claim = subject
            .journal
            .claim(WorkerId::new(), Duration::from_secs(30))
            .await?
            .ok_or("nothing is ready")?;
        let loaded = subject
            .journal
            .load(&claim)
            .await?
            .ok_or("a valid claim does not load")?;
        let item = loaded.inbox.last().ok_or("the inbox is empty")?.clone();
        let event = item.event.ok_or("an event cannot be opened")?.event;
        let persons: BTreeSet<PersonId> = item.persons.iter().copied().collect();
        let input = Input {
            seq: item.seq,
            late: false,
            persons: item.persons,
            undelivered: None,
            event,
        };
        let turn = TurnId::new();
        let now = subject.clock.now();
        let record = |entry| Record {
            v: RECORD_VERSION,
            turn,
            at: now,
            persons: persons.clone(),
            entry,
        };
        let mut entries = vec![
            Entry::Event(Event::Started(Box::new(started(
                self.connection,
                place,
                input,
            )))),
            Entry::Event(Event::Gathered(Gathered::default())),
        ];
        entries.extend(answer.map(|text| {
            Entry::Action(Action::Send {
                key: format!("{turn}.1"),
                attempt: 1,
                text: text.to_owned(),
                reply_to: None,
                give_up_at: now,
            })
        }));
        let append = Append {
            records: entries.into_iter().map(record).collect(),
            consume_to: Some(item.seq),
            checkpoint: true,
            ..Append::default()
        };
        let outcome = subject.journal.append(&claim, loaded.len, append).await?;
        ensure!(
            outcome == AppendOutcome::Appended,
            "an append is {outcome:?}"
        );
        subject.journal.release(&claim, item.seq).await?;
        let person = persons.first().ok_or("an event has no person")?;
        Ok(Line {
            conversation: claim.conversation,
            index: loaded.len,
            person: *person,
        })
    }

    /// What an audience recalls, everything written before being found.
    pub(super) async fn recall(
        &self,
        subject: &MemorySubject,
        audience: Audience,
        scope: Scope,
        text: &str,
    ) -> Result<Vec<Hit>, Failed> {
        subject.memory.catch_up(self.tenant).await?;
        let query = Recall {
            limit: 20,
            ..Recall::new(text, audience, scope)
        };
        Ok(subject.memory.recall(self.tenant, query).await?)
    }

    /// Teaches a document.
    pub(super) async fn teach(
        &self,
        subject: &MemorySubject,
        title: &str,
        text: &str,
    ) -> Result<crate::Document, Failed> {
        let document = NewDocument::new(title, DocumentFormat::Markdown, text);
        Ok(subject.memory.put_document(self.tenant, document).await?)
    }

    /// All that the memory exports.
    pub(super) async fn exported(
        &self,
        subject: &MemorySubject,
    ) -> Result<Vec<Remembered>, Failed> {
        let exported = subject.memory.export_memory(self.tenant).await?;
        Ok(exported.try_collect().await?)
    }
}

fn started(connection: ConnectionId, conversation: ConversationRef, input: Input) -> Started {
    Started {
        engine: ENGINE_VERSION,
        employee: 1,
        model: PinnedModel {
            provider: "p".into(),
            model: "m".into(),
            price: None,
        },
        channel: PinnedChannel {
            kind: ChannelKind::SLACK,
            find: Find::Query,
            max_text: 4000,
            timeout_ms: 1000,
            grace_ms: 1000,
        },
        connection,
        conversation,
        tools: std::collections::BTreeMap::new(),
        closed: false,
        inputs: vec![input],
        carry: Carry::default(),
    }
}

/// Where hits stand.
pub(super) fn sources(hits: &[Hit]) -> Vec<Source> {
    hits.iter().map(|hit| hit.source).collect()
}

/// The time of something in the suite.
pub(super) fn now(subject: &MemorySubject) -> Timestamp {
    subject.clock.now()
}
