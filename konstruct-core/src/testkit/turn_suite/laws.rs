//! What must hold of the log, the ledger and the world once everything has come to rest.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use futures_util::TryStreamExt as _;

use super::scene::{PRICE, Scene, Setting};
use crate::{
    Error, Inbound, NanoUsd, TurnId,
    channel::Find,
    money::{LedgerRow, Usage},
    store::{Exported, Store},
    tool::Effect,
    turn::{
        Action, Entry, Event, Input, ItemId, ItemKind, OpenItem, Outcome, Record, Replay, replay,
    },
};

/// A law that was broken.
#[derive(Debug)]
pub(super) struct Broken {
    law: u8,
    what: String,
}

impl Broken {
    pub(super) fn law(law: u8, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { law, what }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::law(0, format!("the journal failed: {error}"))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.law {
            1 => "accept before ack",
            2 => "once",
            3 => "order",
            4 => "ambiguity is asked",
            5 => "the cap is a wall",
            6 => "the ledger is the invoice",
            8 => "every turn replays",
            _ => "no law, but the journal itself",
        };
        write!(f, "law {} ({name}): {}", self.law, self.what)
    }
}

macro_rules! hold {
    ($law:literal, $holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(Broken::law($law, format!($($what)+)));
        }
    };
}

/// Checks every law on what is left.
pub(super) async fn laws(
    scene: &Scene,
    journal: &dyn Store,
    events: &[Inbound],
    setting: Setting,
) -> Result<(), Broken> {
    let exported: Vec<_> = journal.export(scene.tenant).await?.try_collect().await?;
    let mut turns: Vec<(TurnId, Vec<Record>)> = Vec::new();
    let mut ledger = Vec::new();
    let (mut spent, mut reserved) = (NanoUsd(0), NanoUsd(0));
    for item in exported {
        match item {
            Exported::Record(stored) => {
                let record = stored
                    .record
                    .ok_or_else(|| Broken::law(8, "a record is unreadable"))?;
                let record = Arc::unwrap_or_clone(record);
                match turns.last_mut() {
                    Some((turn, records)) if *turn == record.turn => records.push(record),
                    _ => turns.push((record.turn, vec![record])),
                }
            }
            Exported::Ledger(row) => ledger.push(row),
            Exported::Budget {
                spent: s,
                reserved: r,
                ..
            } => {
                spent = spent.saturating_add(s);
                reserved = reserved.saturating_add(r);
            }
            Exported::Inbox(item) => {
                hold!(1, false, "event {} of the inbox was never worked", item.seq);
            }
            Exported::Conversation(_) | Exported::State(_) | Exported::Item(_) => {}
        }
    }
    inputs(&turns, events)?;
    for (turn, records) in &turns {
        outcome(*turn, records, scene, setting)?;
    }
    tools(&turns, scene)?;
    money(&ledger, spent, reserved, scene)?;
    replays(&turns, scene).await
}

fn heard(records: &[Record]) -> impl Iterator<Item = &Input> {
    records.iter().filter_map(|record| match &record.entry {
        Entry::Event(Event::Received(input)) => Some(&**input),
        _ => None,
    })
}

/// Each event is input to one turn, and in the order of the provider's time within it.
fn inputs(turns: &[(TurnId, Vec<Record>)], events: &[Inbound]) -> Result<(), Broken> {
    let mut taken: HashMap<&str, u32> = HashMap::new();
    for (turn, records) in turns {
        for input in heard(records) {
            // A broken journal may have renamed what it took in twice.
            let id = input.event.id.split('#').next().unwrap_or_default();
            *taken.entry(id).or_default() += 1;
        }
        let Some(Entry::Event(Event::Started(started))) = records.first().map(|first| &first.entry)
        else {
            return Err(Broken::law(
                2,
                format!("{turn} does not begin with its inputs"),
            ));
        };
        let first = usize::try_from(started.inputs).unwrap_or(usize::MAX);
        let in_order = heard(records)
            .take(first)
            .is_sorted_by_key(|input| (input.event.occurred_at, input.seq));
        hold!(3, in_order, "{turn} took its inputs out of order");
    }
    for event in events {
        let times = taken.get(event.id.as_str()).copied().unwrap_or(0);
        hold!(1, times > 0, "event {} was lost", event.id);
        hold!(
            2,
            times == 1,
            "event {} was input to {times} turns",
            event.id
        );
    }
    Ok(())
}

/// A turn ends once, and what it says of its parts is so.
fn outcome(
    turn: TurnId,
    records: &[Record],
    scene: &Scene,
    setting: Setting,
) -> Result<(), Broken> {
    let ends: Vec<&Outcome> = records
        .iter()
        .filter_map(|record| match &record.entry {
            Entry::Action(Action::Finish { outcome, .. }) => Some(outcome),
            _ => None,
        })
        .collect();
    hold!(2, ends.len() == 1, "{turn} has {} outcomes", ends.len());
    let arrived: Vec<String> = scene
        .world
        .arrived()
        .into_iter()
        .map(|said| said.key)
        .filter(|key| key.starts_with(&turn.to_string()))
        .collect();
    let once: BTreeSet<_> = arrived.iter().collect();
    hold!(
        2,
        once.len() == arrived.len(),
        "{turn} said a part twice: {arrived:?}"
    );
    hold!(
        3,
        arrived.is_sorted(),
        "{turn} said its parts out of order: {arrived:?}"
    );
    match ends[0] {
        Outcome::Replied { parts, .. } => {
            let said = arrived.len();
            hold!(
                2,
                *parts as usize == said,
                "{turn} tells of {parts} parts, and {said} arrived"
            );
            hold!(2, said == 2, "{turn} replied with {said} parts of two");
        }
        Outcome::Asked { item } => {
            let Some(key) = asked_about(records, item) else {
                return Err(Broken::law(2, format!("{turn} asks about nothing")));
            };
            let key = &key;
            hold!(
                4,
                setting.find != Find::Query,
                "{turn} asks a person what its channel knows"
            );
            let unknown = setting.find == Find::None || !arrived.contains(key);
            hold!(
                4,
                unknown,
                "{turn} asks about {key}, which the provider told of"
            );
        }
        Outcome::Silent { .. } => {
            hold!(
                2,
                arrived.is_empty(),
                "{turn} was silent, and said something"
            );
        }
    }
    Ok(())
}

/// The first message that an item is about.
fn asked_about(records: &[Record], id: &ItemId) -> Option<String> {
    records.iter().find_map(|record| match &record.entry {
        Entry::Action(Action::Open(OpenItem {
            id: opened,
            kind: ItemKind::Send { keys, .. },
            ..
        })) if opened == id => keys.first().cloned(),
        _ => None,
    })
}

/// What must not happen twice did not, and what may has one key.
fn tools(turns: &[(TurnId, Vec<Record>)], scene: &Scene) -> Result<(), Broken> {
    let mut runs: BTreeMap<(String, String), Vec<(Effect, String)>> = BTreeMap::new();
    for run in scene.world.effects() {
        let turn = run.key.split('.').next().unwrap_or_default().to_owned();
        runs.entry((turn, run.tool))
            .or_default()
            .push((run.effect, run.key));
    }
    for ((turn, tool), runs) in &runs {
        hold!(
            2,
            turns.iter().any(|(id, _)| id.to_string() == *turn),
            "{tool} ran for no turn"
        );
        let keys: BTreeSet<_> = runs.iter().map(|(_, key)| key).collect();
        let once = runs
            .iter()
            .filter(|(effect, _)| *effect == Effect::Once)
            .count();
        hold!(
            2,
            keys.len() == 1,
            "{tool} ran with {} keys in {turn}",
            keys.len()
        );
        hold!(2, once <= 1, "{tool} ran {once} times in {turn}");
    }
    Ok(())
}

/// Nothing stays set aside, every call has its row, and the sum is not below the bill.
fn money(
    ledger: &[LedgerRow],
    spent: NanoUsd,
    reserved: NanoUsd,
    scene: &Scene,
) -> Result<(), Broken> {
    hold!(
        5,
        reserved == NanoUsd(0),
        "{reserved} stay set aside for ever"
    );
    let rows: BTreeSet<&str> = ledger.iter().map(|row| row.call.as_str()).collect();
    hold!(6, rows.len() == ledger.len(), "a call has two rows");
    let total = ledger
        .iter()
        .filter_map(|row| row.cost)
        .fold(NanoUsd(0), NanoUsd::saturating_add);
    hold!(
        6,
        total == spent,
        "the rows are {total}, and {spent} were spent"
    );
    let calls = scene.model.calls();
    let usage = Usage {
        input: 100,
        output: 20,
        ..Usage::default()
    };
    let bill = NanoUsd(PRICE.of(&usage).0.saturating_mul(calls.len() as u64));
    hold!(
        6,
        total >= bill,
        "the ledger's {total} are below the bill's {bill}"
    );
    for (call, _) in &calls {
        hold!(6, rows.contains(call.as_str()), "{call} has no row");
    }
    Ok(())
}

async fn replays(turns: &[(TurnId, Vec<Record>)], scene: &Scene) -> Result<(), Broken> {
    let employee = scene.employee().await?;
    for (turn, records) in turns {
        let replayed = replay(&employee, records)?;
        hold!(
            8,
            matches!(replayed, Replay::Same { .. }),
            "{turn} replays as {replayed:?}"
        );
    }
    Ok(())
}
