//! Writes a chat into a store: messages are accepted as events, and appended as turns.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use konstruct_core::{
    AccountId, ChannelKind, Clock as _, ConnectionId, ConversationId, ConversationRef, Inbound,
    Outgoing, PersonId, SystemClock, TenantId, Timestamp, TurnId,
    channel::Find,
    id::WorkerId,
    memory::ChannelRef,
    message::{Actor, Body, Content, ConversationKind, IdKind, RoutedEvent},
    store::{Append, AppendOutcome, Claim, ClaimRequest, InboxItem, Store},
    turn::{
        Cause, ConversationState, ENGINE_VERSION, Entry, Event, Gathered, Input, PinnedChannel,
        PinnedModel, Record, ReplyPart, Started,
    },
};

use super::{Chat, Speaker};
use crate::Failed;

/// A chat in a store.
#[derive(Debug)]
pub struct StoredChat {
    /// Its tenant, which has no other chat.
    pub tenant: TenantId,
    /// The channel of the conversation.
    pub channel: ChannelRef,
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of each message's record, with its turn of the chat.
    pub places: BTreeMap<u64, usize>,
}

/// Writes a chat into a store, as a conversation of its own tenant.
///
/// # Errors
/// Errors of the store.
pub async fn feed(store: &dyn Store, chat: &Chat) -> Result<StoredChat, Failed> {
    let tenant = TenantId::new();
    let connection = ConnectionId::new();
    let begin = SystemClock.now().since(Timestamp::from_micros(0));
    let place = ConversationRef {
        kind: ConversationKind::Group,
        ..ConversationRef::direct("chat")
    };
    let channel = ChannelRef::of(connection, &place);
    let mut events = Vec::new();
    for (at, turn) in chat.turns.iter().enumerate() {
        let name = match &turn.speaker {
            Speaker::Person(name) => name,
            // Messages of the employee are appended after the first message of a person.
            Speaker::Employee => continue,
        };
        // A minute between turns, and a week between sessions, before now.
        let age = (chat.turns.len() - at) * 60
            + (chat.turns.last().map_or(0, |last| last.session) - turn.session) * 604_800;
        let age = Duration::from_secs(age as u64);
        let mut sender = Actor::human(IdKind::SlackUser, format!("U{name}"));
        sender.name = (!name.is_empty()).then(|| name.clone());
        events.push(RoutedEvent {
            connection,
            event: Inbound::new(
                ChannelKind::SLACK,
                AccountId("T1".into()),
                format!("e{at}"),
                micros(begin - age),
                Body::Message {
                    message: format!("m{at}"),
                    content: Content::text(&turn.text),
                },
            )
            .in_conversation(place.clone())
            .sent_by(sender),
        });
    }
    for events in events.chunks(64) {
        store.accept(tenant, events.to_vec()).await?;
    }
    let claim = store
        .claim(ClaimRequest::new(WorkerId::new(), Duration::from_secs(60)))
        .await?
        .conversation()
        .ok_or("no conversation is ready")?;
    // A load returns a part of a long inbox.
    let mut inbox = Vec::new();
    let len = loop {
        let loaded = store.load(&claim).await?;
        let loaded = loaded.ok_or("a valid claim does not load")?;
        let Some(last) = loaded.inbox.last() else {
            break loaded.len;
        };
        let consumed = Append {
            consume_to: Some(last.seq),
            ..Append::default()
        };
        append(store, &claim, loaded.len, consumed).await?;
        inbox.extend(loaded.inbox);
    };
    let seen = inbox.last().map_or(0, |item| item.seq);
    let (records, places) = records(chat, (connection, &place), inbox)?;
    let said = Append {
        records,
        checkpoint: true,
        ..Append::default()
    };
    append(store, &claim, len, said).await?;
    store.release(&claim, seen).await?;
    Ok(StoredChat {
        channel,
        tenant,
        conversation: claim.conversation,
        places,
    })
}

async fn append(store: &dyn Store, claim: &Claim, len: u64, append: Append) -> Result<(), Failed> {
    match store.append(claim, len, append).await? {
        AppendOutcome::Appended => Ok(()),
        outcome => Err(format!("an append is {outcome:?}").into()),
    }
}

fn micros(since: Duration) -> Timestamp {
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Returns the records of a chat, and the turn of each message.
fn records(
    chat: &Chat,
    (connection, place): (ConnectionId, &ConversationRef),
    inbox: Vec<InboxItem>,
) -> Result<(Vec<Record>, BTreeMap<u64, usize>), Failed> {
    let mut written = Written {
        records: Vec::new(),
        places: BTreeMap::new(),
        turn: TurnId::new(),
        at: Timestamp::default(),
        persons: BTreeSet::new(),
    };
    let mut inbox = inbox.into_iter();
    for (at, turn) in chat.turns.iter().enumerate() {
        if turn.speaker == Speaker::Employee {
            let part = ReplyPart {
                key: format!("{}.{at}", written.turn),
                what: Outgoing::markdown(&turn.text),
            };
            let persons = written.persons.clone();
            let rendered = Event::Rendered {
                parts: vec![part],
                rest: None,
            };
            let index = written.add(Cause::Employee, persons, rendered);
            written.places.insert(index, at);
            continue;
        }
        let item = inbox
            .next()
            .ok_or("the inbox has fewer events than the chat")?;
        let event = item.event.ok_or("an event cannot be opened")?.event;
        written.turn = TurnId::new();
        written.at = event.occurred_at;
        written.persons = item.persons.iter().copied().collect();
        let started = started(written.len(), (connection, place.clone()));
        written.add(
            Cause::Rule,
            BTreeSet::new(),
            Event::Started(Box::new(started)),
        );
        let cause = item
            .persons
            .first()
            .map_or(Cause::Vendor, |of| Cause::Person(*of));
        let input = Input {
            seq: item.seq,
            accepted_at: item.accepted_at,
            late: false,
            persons: item.persons,
            about: None,
            undelivered: None,
            event,
        };
        let persons = written.persons.clone();
        let index = written.add(cause, persons, Event::Received(Box::new(input)));
        written.places.insert(index, at);
        let gathered = Event::Gathered(Gathered::default());
        written.add(Cause::Vendor, BTreeSet::new(), gathered);
    }
    Ok((written.records, written.places))
}

/// The records so far, and the current turn.
struct Written {
    records: Vec<Record>,
    places: BTreeMap<u64, usize>,
    turn: TurnId,
    at: Timestamp,
    persons: BTreeSet<PersonId>,
}

impl Written {
    fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// Adds an event, and returns its index.
    fn add(&mut self, cause: Cause, persons: BTreeSet<PersonId>, event: Event) -> u64 {
        self.records
            .push(Record::new(self.turn, self.at, cause, Entry::Event(event)).sealed_to(persons));
        self.len() - 1
    }
}

fn started(first: u64, (connection, conversation): (ConnectionId, ConversationRef)) -> Started {
    Started {
        engine: ENGINE_VERSION,
        employee: 1,
        first,
        model: PinnedModel {
            provider: "none".into(),
            model: "none".into(),
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
        tools: BTreeMap::new(),
        closed: false,
        inputs: 1,
        state: ConversationState::default(),
        questions: Vec::new(),
        follow_up: None,
        limited: None,
        deadline: None,
    }
}
