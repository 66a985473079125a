//! A tenant with persons who write messages for the cases.

use std::{collections::BTreeSet, time::Duration};

use futures_util::TryStreamExt as _;

use super::{Failed, MemorySubject, ensure};
use crate::{
    AccountId, Audience, ChannelKind, Clock as _, ConnectionId, ConversationId, ConversationRef,
    DocumentFormat, Hit, Inbound, NewDocument, Outgoing, PersonId, Recall, TenantId, Timestamp,
    TurnId,
    channel::Find,
    id::WorkerId,
    memory::{ChannelRef, Remembered, Scope, Source},
    message::{Actor, Body, Content, ConversationKind, IdKind, RoutedEvent},
    store::{Accepted, Append, AppendOutcome, ClaimRequest},
    turn::{
        Cause, ConversationState, ENGINE_VERSION, Entry, Event, Gathered, Input, PinnedChannel,
        PinnedModel, RECORD_VERSION, Record, ReplyPart, Started,
    },
};

/// A tenant with one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Office {
    pub(super) tenant: TenantId,
    connection: ConnectionId,
}

/// The location of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageRef {
    pub(super) conversation: ConversationId,
    pub(super) index: u64,
    pub(super) person: PersonId,
}

impl MessageRef {
    pub(super) fn source(&self) -> Source {
        Source::Message {
            conversation: self.conversation,
            index: self.index,
        }
    }
}

/// Returns a place: `#name` is a channel, `#name/thread` a thread in it, and any other name a one-to-one conversation.
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

    /// Returns another tenant with the same connection, so that only the tenant differs.
    pub(super) fn other(&self) -> Self {
        Self {
            tenant: TenantId::new(),
            ..*self
        }
    }

    /// Sends a message from a person, and returns its location. `id` is the provider's id of the message.
    pub(super) async fn say(
        &self,
        subject: &MemorySubject,
        (at, user): (&str, &str),
        text: &str,
    ) -> Result<MessageRef, Failed> {
        let body = Body::Message {
            message: format!("m-{text}"),
            content: Content::text(text),
        };
        self.happen(subject, (at, user), body, None).await
    }

    /// Sends a message from a person, and lets the employee answer.
    pub(super) async fn ask(
        &self,
        subject: &MemorySubject,
        place: (&str, &str),
        (text, answer): (&str, &str),
    ) -> Result<[MessageRef; 2], Failed> {
        let body = Body::Message {
            message: format!("m-{text}"),
            content: Content::text(text),
        };
        let asked = self.happen(subject, place, body, Some(answer)).await?;
        let answered = MessageRef {
            index: asked.index + 2,
            ..asked
        };
        Ok([asked, answered])
    }

    /// Runs a turn with one event.
    pub(super) async fn happen(
        &self,
        subject: &MemorySubject,
        (at, user): (&str, &str),
        body: Body,
        answer: Option<&str>,
    ) -> Result<MessageRef, Failed> {
        subject.clock.advance(Duration::from_secs(60));
        let place = place(at);
        let event = Inbound::new(
            ChannelKind::SLACK,
            AccountId("T1".into()),
            TurnId::new().to_string(),
            subject.clock.now(),
            body,
        )
        .in_conversation(place.clone())
        .sent_by(Actor::human(IdKind::SlackUser, user));
        let routed = RoutedEvent {
            connection: self.connection,
            event,
        };
        let accepted = subject.store.accept(self.tenant, vec![routed]).await?;
        ensure!(
            matches!(accepted[..], [Accepted::New { .. }]),
            "the outcome of an event is {accepted:?}"
        );
        let claim = subject
            .store
            .claim(ClaimRequest::new(WorkerId::new(), Duration::from_secs(30)))
            .await?
            .conversation()
            .ok_or("nothing is ready")?;
        let loaded = subject
            .store
            .load(&claim)
            .await?
            .ok_or("a valid claim does not load")?;
        let item = loaded.inbox.last().ok_or("the inbox is empty")?.clone();
        let event = item.event.ok_or("an event cannot be opened")?.event;
        let persons: BTreeSet<PersonId> = item.persons.iter().copied().collect();
        let input = Input {
            seq: item.seq,
            accepted_at: item.accepted_at,
            late: false,
            about: None,
            persons: item.persons,
            undelivered: None,
            event,
        };
        let turn = TurnId::new();
        let now = subject.clock.now();
        let record = |persons: &BTreeSet<PersonId>, event| Record {
            v: RECORD_VERSION,
            turn,
            at: now,
            cause: Cause::Rule,
            persons: persons.clone(),
            entry: Entry::Event(event),
        };
        let nobody = BTreeSet::new();
        let direct = place.kind == ConversationKind::Direct;
        let started = started(self.connection, place, loaded.len);
        let mut records = vec![
            record(
                if direct { &persons } else { &nobody },
                Event::Started(Box::new(started)),
            ),
            record(&persons, Event::Received(Box::new(input))),
            record(&nobody, Event::Gathered(Gathered::default())),
        ];
        records.extend(answer.map(|text| {
            let part = ReplyPart {
                key: format!("{turn}.p0"),
                what: Outgoing::markdown(text),
            };
            let rendered = Event::Rendered {
                parts: vec![part],
                rest: None,
            };
            record(&persons, rendered)
        }));
        let append = Append {
            records,
            consume_to: Some(item.seq),
            checkpoint: true,
            ..Append::default()
        };
        let outcome = subject.store.append(&claim, loaded.len, append).await?;
        ensure!(
            outcome == AppendOutcome::Appended,
            "the outcome of an append is {outcome:?}"
        );
        subject.store.release(&claim, item.seq).await?;
        let person = persons.first().ok_or("an event has no person")?;
        Ok(MessageRef {
            conversation: claim.conversation,
            index: loaded.len + 1,
            person: *person,
        })
    }

    /// Returns the channel of a place.
    pub(super) fn channel(&self, at: &str) -> ChannelRef {
        ChannelRef::of(self.connection, &place(at))
    }

    /// Returns everyone in the channel of a place as an audience.
    pub(super) fn everyone(&self, at: &str) -> Audience {
        Audience::Channel {
            channel: self.channel(at),
        }
    }

    /// Returns the hits of an audience, after everything written before is indexed.
    pub(super) async fn recall(
        &self,
        subject: &MemorySubject,
        audience: &Audience,
        scope: Scope,
        text: &str,
    ) -> Result<Vec<Hit>, Failed> {
        subject.memory.catch_up(self.tenant).await?;
        let query = Recall::new(text, audience.clone(), scope).with_limit(20);
        Ok(subject.memory.recall(self.tenant, query).await?)
    }

    /// Adds a document.
    pub(super) async fn teach(
        &self,
        subject: &MemorySubject,
        title: &str,
        text: &str,
    ) -> Result<crate::Document, Failed> {
        let document = NewDocument::new(title, DocumentFormat::Markdown, text);
        Ok(subject.memory.put_document(self.tenant, document).await?)
    }

    /// Returns everything that the memory exports.
    pub(super) async fn exported(
        &self,
        subject: &MemorySubject,
    ) -> Result<Vec<Remembered>, Failed> {
        let exported = subject.memory.export_memory(self.tenant).await?;
        Ok(exported.try_collect().await?)
    }
}

fn started(connection: ConnectionId, conversation: ConversationRef, first: u64) -> Started {
    Started {
        engine: ENGINE_VERSION,
        employee: 1,
        first,
        model: PinnedModel {
            provider: "p".into(),
            model: "m".into(),
            price: None,
        },
        channel: PinnedChannel {
            kind: ChannelKind::SLACK,
            find: Find::Query,
            timeout_ms: 1000,
            grace_ms: 1000,
        },
        connection,
        conversation,
        tools: std::collections::BTreeMap::new(),
        closed: false,
        inputs: 1,
        state: ConversationState::default(),
        questions: Vec::new(),
        follow_up: None,
        limited: None,
        deadline: None,
    }
}

/// Returns the locations of hits.
pub(super) fn sources(hits: &[Hit]) -> Vec<Source> {
    hits.iter().map(|hit| hit.source).collect()
}

/// Returns the suite's current time.
pub(super) fn now(subject: &MemorySubject) -> Timestamp {
    subject.clock.now()
}
