//! Tests the erasure of one of a hundred colleagues: all other messages stay, and exactly the replies that were derived from the
//! person's words are erased.
//!
//! People write in threads of shared channels and in direct messages, and the turn engine answers, until the logs have the
//! requested number of records. Then one person is erased, and everything is read again: the logs, the export, the addresses, the
//! open items, the memory and, if there are any, the files of the store. Ends with
//! `others_kept=P replies_lost=N expected=N readable=0`.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use clap::Parser;
use futures_util::TryStreamExt as _;
use konstruct_benches::{
    Failed,
    dice::Dice,
    search_files::search_files,
    staff::Staffed,
    store::{Kind, Store},
};
use konstruct_core::{
    AccountId, ChannelKind, Clock as _, ConnectionId, ConversationId, ConversationRef, Depth,
    Erase, ErrorKind, Inbound, PersonId, SystemClock, TenantId, TurnId,
    llm::ModelRequest,
    memory::Remembered,
    message::{Actor, Addressing, Body, Content, ConversationKind, IdKind, Quoted, RoutedEvent},
    store::{Exported, Stored},
    testkit::{ScriptedAnswer, ScriptedModel, VirtualClock},
    turn::{Entry, Event, Worker},
};

/// The prefix of every message of the erased person, which is also in their ids. It occurs nowhere else.
const CANARY: &str = "zqcanaryxk";
/// The number of the erased person.
const FORGOTTEN: usize = 7;
/// The number of conversations that get a message before the engine runs.
const ROUND: usize = 40;
/// The number of shared channels.
const CHANNELS: u64 = 12;

/// Tests the erasure of one of a hundred colleagues.
#[derive(Parser)]
struct Arguments {
    /// Store.
    #[arg(long, value_enum, default_value_t = Kind::Redb)]
    store: Kind,
    /// Number of people.
    #[arg(long, default_value_t = 100)]
    people: usize,
    /// Number of records to write.
    #[arg(long, default_value_t = 10_000)]
    records: usize,
    /// Seed of who says what where.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// An office whose employee answers everybody.
struct Office {
    tenant: TenantId,
    connection: ConnectionId,
    clock: VirtualClock,
    worker: Worker,
    /// Whether the model is down.
    down: Arc<AtomicUsize>,
    said: usize,
}

impl Office {
    fn open(store: &Store, clock: VirtualClock) -> Result<Self, Failed> {
        let down = Arc::new(AtomicUsize::new(0));
        let (is_down, answers) = (Arc::clone(&down), AtomicUsize::new(0));
        let model = ScriptedModel::new(move |request: &ModelRequest| {
            if is_down.load(SeqCst) > 0 {
                return ScriptedAnswer::Refuses(ErrorKind::Unavailable);
            }
            // The model repeats its context, so that a reply that must be erased can be found.
            let shown = format!("{request:?}");
            let found = shown.match_indices(CANARY).last();
            let quoted = found.map_or("nothing", |(at, _)| &shown[at..at + CANARY.len() + 5]);
            let nth = answers.fetch_add(1, SeqCst);
            ScriptedAnswer::text(format!("ScriptedAnswer {nth}, about {quoted}."))
        });
        let Staffed {
            tenant,
            connection,
            worker,
        } = Staffed::hire(store, clock.clone(), model, 4)?;
        Ok(Self {
            tenant,
            connection,
            clock,
            worker,
            down,
            said: 0,
        })
    }

    /// Returns a message of a person in a place.
    fn says(
        &mut self,
        person: usize,
        place: ConversationRef,
        quoted: Option<String>,
    ) -> RoutedEvent {
        self.said += 1;
        let id = format!("e{:06}", self.said);
        let text = if person == FORGOTTEN {
            format!(
                "{CANARY}{:05} is what I need, can you help me with my desk?",
                self.said
            )
        } else {
            format!(
                "Number {:05}: who has the keys of the meeting room, and until when?",
                self.said
            )
        };
        let direct = place.kind == ConversationKind::Direct;
        let event = Inbound::new(
            ChannelKind::new("scripted"),
            AccountId("office".into()),
            &id,
            self.clock.now(),
            Body::Message {
                message: id.clone(),
                content: Content::text(text),
            },
        )
        .in_conversation(place)
        .sent_by(Actor::human(IdKind::Other, name(person)))
        .addressed(Addressing {
            direct,
            mention: !direct,
            ..Addressing::default()
        })
        .quoting(quoted.map(Quoted::new));
        RoutedEvent {
            connection: self.connection,
            event,
        }
    }

    async fn accept(&self, store: &Store, events: Vec<RoutedEvent>) -> Result<(), Failed> {
        store.turn_store.accept(self.tenant, events).await?;
        Ok(())
    }
}

/// Returns the id of a person at the vendor.
fn name(person: usize) -> String {
    if person == FORGOTTEN {
        format!("U{CANARY}phone")
    } else {
        format!("U{person:04}")
    }
}

fn direct(person: usize) -> ConversationRef {
    ConversationRef::direct(name(person))
}

fn thread(channel: u64, thread: u64) -> ConversationRef {
    ConversationRef {
        kind: ConversationKind::Channel,
        thread: Some(format!("t{channel}-{thread}")),
        ..ConversationRef::direct(format!("C{channel}"))
    }
}

/// A record's conversation and index.
type Place = (ConversationId, u64);

/// Reads every record of a tenant.
async fn logs(store: &Store, tenant: TenantId) -> Result<BTreeMap<Place, Stored>, Failed> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = store.turn_store.list(tenant, after, 500).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = Some(last.cursor());
        for conversation in page {
            let log = store
                .turn_store
                .read(tenant, conversation.id, 0..conversation.len);
            let log = log.await?.into_iter();
            all.extend(log.map(|stored| ((conversation.id, stored.index), stored)));
        }
    }
}

/// The content of the logs before the erasure.
#[derive(Debug, Default)]
struct Before {
    /// The messages of everybody else.
    others: BTreeMap<Place, Stored>,
    /// All replies.
    replies: BTreeSet<Place>,
    /// The replies of turns whose model saw the person's words.
    shown: BTreeSet<Place>,
    person: Option<PersonId>,
}

impl Before {
    fn of(logs: &BTreeMap<Place, Stored>) -> Self {
        let mut before = Self::default();
        let mut seen: BTreeMap<TurnId, BTreeSet<PersonId>> = BTreeMap::new();
        let mut replies = Vec::new();
        for (place, stored) in logs {
            let Some(record) = &stored.record else {
                continue;
            };
            match &record.entry {
                Entry::Event(Event::Received(input)) => {
                    let turn = seen.entry(record.turn).or_default();
                    turn.extend(&input.persons);
                    if input.event.sender.id() == Some(&name(FORGOTTEN)) {
                        before.person = input.persons.first().copied();
                    } else {
                        before.others.insert(*place, stored.clone());
                    }
                }
                Entry::Event(Event::Gathered(gathered)) => {
                    seen.entry(record.turn)
                        .or_default()
                        .extend(&gathered.persons);
                }
                // Derived from the model's answer; fixed sentences contain nobody's words.
                Entry::Event(Event::Rendered { parts, .. })
                    if parts
                        .iter()
                        .any(|part| part.what.text.starts_with("ScriptedAnswer ")) =>
                {
                    before.replies.insert(*place);
                    replies.push((*place, record.turn));
                }
                _ => {}
            }
        }
        let of_person = |turn| {
            let seen: Option<&BTreeSet<PersonId>> = seen.get(&turn);
            seen.is_some_and(|seen| before.person.is_some_and(|person| seen.contains(&person)))
        };
        let shown = replies.into_iter().filter(|(_, turn)| of_person(*turn));
        before.shown = shown.map(|(place, _)| place).collect();
        before
    }
}

/// Returns everything that the store returns, as text.
async fn api_output(store: &Store, tenant: TenantId) -> Result<String, Failed> {
    let exported: Vec<Exported> = store.turn_store.export(tenant).await?.try_collect().await?;
    let memory: Vec<Remembered> = store
        .memory
        .export_memory(tenant)
        .await?
        .try_collect()
        .await?;
    let places = store.turn_store.list(tenant, None, usize::MAX >> 1).await?;
    let items = store
        .turn_store
        .items(tenant, None, usize::MAX >> 1)
        .await?;
    let feed = store.turn_store.feed(tenant, 0, usize::MAX >> 1).await?;
    let unanswered = store.memory.unanswered(tenant, usize::MAX).await?;
    Ok(format!(
        "{exported:?}{memory:?}{places:?}{items:?}{feed:?}{unanswered:?}"
    ))
}

/// Lets people write until the logs are long enough.
async fn live(office: &mut Office, store: &Store, arguments: &Arguments) -> Result<(), Failed> {
    let mut dice = Dice::new(arguments.seed);
    let people = arguments.people.max(FORGOTTEN + 2) as u64;
    let (mut round, mut written) = (0_u64, 0);
    while written < arguments.records {
        let mut events = Vec::new();
        let mut used = BTreeSet::new();
        for _ in 0..ROUND {
            let person = usize::try_from(dice.below(people))?;
            // The person to be erased is one of the busier ones.
            let person = if dice.percent(4) { FORGOTTEN } else { person };
            let place = if dice.percent(40) {
                direct(person)
            } else {
                // A thread lasts for several rounds.
                thread(dice.below(CHANNELS), round / 6)
            };
            if !used.insert(place.key()) {
                continue;
            }
            let quoted = (office.said > 0 && dice.percent(20))
                .then(|| format!("e{:06}", 1 + dice.below(office.said as u64)));
            events.push(office.says(person, place, quoted));
        }
        office.accept(store, events).await?;
        office.worker.run_until_idle().await?;
        store.memory.catch_up(office.tenant).await?;
        round += 1;
        let mut feed = store
            .turn_store
            .feed(office.tenant, written as u64, usize::MAX >> 1)
            .await?;
        written = feed.pop().map_or(written, |last| last.cursor as usize);
    }
    Ok(())
}

/// Leaves open questions and unprocessed messages.
async fn leave_open(office: &mut Office, store: &Store) -> Result<usize, Failed> {
    office.down.store(1, SeqCst);
    let asked = [FORGOTTEN, FORGOTTEN + 1];
    let questions = asked.map(|person| office.says(person, direct(person), None));
    let threads = asked.map(|person| office.says(person, thread(99, person as u64), None));
    let events = questions.into_iter().chain(threads).collect();
    office.accept(store, events).await?;
    // Longer than any wait for a model.
    for _ in 0..20 {
        office.worker.run_until_idle().await?;
        office.clock.advance(Duration::from_secs(10));
    }
    let items = store
        .turn_store
        .items(office.tenant, None, 100)
        .await?
        .len();
    let waiting = asked.map(|person| office.says(person, direct(person), None));
    office.accept(store, waiting.into()).await?;
    Ok(items)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let clock = VirtualClock::new(SystemClock.now());
    let store = Store::open_at(arguments.store, None, Arc::new(clock.clone())).await?;
    let mut office = Office::open(&store, clock)?;
    let tenant = office.tenant;
    live(&mut office, &store, &arguments).await?;
    let open = leave_open(&mut office, &store).await?;
    let logs_before = logs(&store, tenant).await?;
    let before = Before::of(&logs_before);
    let person = before.person.ok_or("the person has no messages")?;
    let planted = api_output(&store, tenant).await?.matches(CANARY).count();
    println!(
        "records={} messages={} replies={} open_items={open} planted={planted}",
        logs_before.len(),
        office.said,
        before.replies.len()
    );

    let what = Erase::Person { person };
    let depth = match arguments.store {
        Kind::Redb => Depth::Physical,
        _ => Depth::Logical,
    };
    let receipt = store.memory.forget(tenant, what, depth).await?;
    println!(
        "receipt records={} passages={} keys={}",
        receipt.records, receipt.passages, receipt.keys
    );

    let after = logs(&store, tenant).await?;
    let kept = |(place, stored): &(&Place, &Stored)| after.get(place) == Some(*stored);
    let others = before.others.iter().filter(kept).count();
    let readable = |place: &Place| {
        after
            .get(place)
            .is_some_and(|stored| stored.record.is_some())
    };
    let lost: BTreeSet<Place> = before
        .replies
        .iter()
        .copied()
        .filter(|place| !readable(place))
        .collect();
    let mut left = api_output(&store, tenant).await?.matches(CANARY).count();
    if depth == Depth::Physical {
        for path in store.files().await? {
            left += search_files(&path, CANARY)?.len();
        }
    }
    // The open items of others stay open.
    let items = store.turn_store.items(tenant, None, 100).await?.len();
    store.close().await?;
    let share = 100.0 * others as f64 / before.others.len().max(1) as f64;
    println!("open_items_after={items}");
    println!(
        "others_kept={share} replies_lost={} expected={} readable={left}",
        lost.len(),
        before.shown.len()
    );
    let right = others == before.others.len() && lost == before.shown && left == 0 && planted > 0;
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
