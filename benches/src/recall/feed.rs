//! A chat through a store's journal: what people say is accepted as events, worked and written down as turns.

use std::{collections::BTreeMap, time::Duration};

use konstruct_core::{
    AccountId, Actor, Addressing, Body, ChannelKind, Clock as _, ConnectionId, Content,
    ConversationId, ConversationKind, ConversationRef, Find, IdKind, Inbound, RoutedEvent,
    SystemClock, TenantId, Timestamp, TurnId, WorkerId,
    turn::{
        Action, Append, AppendOutcome, Carry, ENGINE_VERSION, Entry, Event, Gathered, InboxItem,
        Input, Journal, PinnedChannel, PinnedModel, RECORD_VERSION, Record, Started,
    },
};

use super::{Chat, Speaker};
use crate::Failed;

/// Where a chat stands in a store.
#[derive(Debug)]
pub struct Fed {
    /// Its tenant, which has no other.
    pub tenant: TenantId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of each record that says something, and the turn of the chat that it is.
    pub places: BTreeMap<u64, usize>,
}

/// Writes a chat into a store, as a conversation of a tenant of its own.
///
/// # Errors
/// Those of the store.
pub async fn feed(journal: &dyn Journal, chat: &Chat) -> Result<Fed, Failed> {
    let tenant = TenantId::new();
    let connection = ConnectionId::new();
    let begin = SystemClock.now().since(Timestamp::from_micros(0));
    let place = ConversationRef {
        kind: ConversationKind::Group,
        ..ConversationRef::direct("chat")
    };
    let mut events = Vec::new();
    for (at, turn) in chat.turns.iter().enumerate() {
        let name = match &turn.speaker {
            Speaker::Person(name) => name,
            // What begins with the employee is written down with the first that a person says.
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
            event: Inbound {
                id: format!("e{at}"),
                logical_id: String::new(),
                channel: ChannelKind::SLACK,
                account: AccountId("T1".into()),
                conversation: Some(place.clone()),
                sender,
                occurred_at: micros(begin - age),
                redelivery: 0,
                body: Body::Message {
                    message: format!("m{at}"),
                    content: Content::text(&turn.text),
                },
                addressed: Addressing::default(),
                raw: None,
            },
        });
    }
    for events in events.chunks(64) {
        journal.accept(tenant, events.to_vec()).await?;
    }
    let claim = journal
        .claim(WorkerId::new(), Duration::from_secs(60))
        .await?
        .ok_or("nothing is ready")?;
    let loaded = journal
        .load(&claim)
        .await?
        .ok_or("a valid claim does not load")?;
    let seen = loaded.inbox.last().map(|item| item.seq);
    let (records, places) = records(chat, (connection, &place), loaded.inbox)?;
    let append = Append {
        records,
        consume_to: seen,
        checkpoint: true,
        ..Append::default()
    };
    let outcome = journal.append(&claim, loaded.len, append).await?;
    if outcome != AppendOutcome::Appended {
        return Err(format!("an append is {outcome:?}").into());
    }
    journal.release(&claim, seen.unwrap_or(0)).await?;
    Ok(Fed {
        tenant,
        conversation: claim.conversation,
        places,
    })
}

fn micros(since: Duration) -> Timestamp {
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The records of a chat, and which of its turns each of them says.
fn records(
    chat: &Chat,
    (connection, place): (ConnectionId, &ConversationRef),
    inbox: Vec<InboxItem>,
) -> Result<(Vec<Record>, BTreeMap<u64, usize>), Failed> {
    let (mut records, mut places) = (Vec::new(), BTreeMap::new());
    let mut inbox = inbox.into_iter();
    let mut current = None;
    for (at, turn) in chat.turns.iter().enumerate() {
        let mut add = |(id, when, persons): &(TurnId, Timestamp, std::collections::BTreeSet<_>),
                       entry| {
            records.push(Record {
                v: RECORD_VERSION,
                turn: *id,
                at: *when,
                persons: persons.clone(),
                entry,
            });
            records.len() as u64 - 1
        };
        if turn.speaker == Speaker::Employee {
            let current = current.get_or_insert_with(|| {
                (TurnId::new(), Timestamp::from_micros(0), Default::default())
            });
            let send = Action::Send {
                key: format!("{}.{at}", current.0),
                attempt: 1,
                text: turn.text.clone(),
                reply_to: None,
                give_up_at: current.1,
            };
            places.insert(add(current, Entry::Action(send)), at);
            continue;
        }
        let item = inbox
            .next()
            .ok_or("the inbox has fewer events than the chat")?;
        let event = item.event.ok_or("an event cannot be opened")?.event;
        let now = (
            TurnId::new(),
            event.occurred_at,
            item.persons.iter().copied().collect(),
        );
        let input = Input {
            seq: item.seq,
            late: false,
            persons: item.persons,
            undelivered: None,
            event,
        };
        let started = started((connection, place.clone()), input);
        places.insert(
            add(&now, Entry::Event(Event::Started(Box::new(started)))),
            at,
        );
        add(&now, Entry::Event(Event::Gathered(Gathered::default())));
        current = Some(now);
    }
    Ok((records, places))
}

fn started((connection, conversation): (ConnectionId, ConversationRef), input: Input) -> Started {
    Started {
        engine: ENGINE_VERSION,
        employee: 1,
        model: PinnedModel {
            provider: "none".into(),
            model: "none".into(),
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
        tools: BTreeMap::new(),
        closed: false,
        inputs: vec![input],
        carry: Carry::default(),
    }
}
