//! The guarantees that must hold for the log, the ledger and the outside world once all turns have ended.

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
    limit::{BudgetKey, BudgetSum},
    money::{LedgerRow, Usage},
    store::{Exported, Store},
    tool::Effect,
    turn::{
        Action, Entry, Event, Input, ItemId, ItemKind, OpenItem, Outcome, Record, Replay, replay,
    },
};

/// A violated guarantee.
#[derive(Debug)]
pub(super) struct Violation {
    law: u8,
    what: String,
}

impl Violation {
    pub(super) fn law(law: u8, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { law, what }
    }
}

impl From<Error> for Violation {
    fn from(error: Error) -> Self {
        Self::law(0, format!("the store failed: {error}"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.law {
            1 => "accept before ack",
            2 => "once",
            3 => "order",
            4 => "ambiguity is asked",
            5 => "the cap is a wall",
            6 => "the ledger is the invoice",
            8 => "every turn replays",
            _ => "no guarantee, but the store itself",
        };
        write!(f, "law {} ({name}): {}", self.law, self.what)
    }
}

macro_rules! hold {
    ($law:literal, $holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(Violation::law($law, format!($($what)+)));
        }
    };
}

/// Checks every guarantee.
pub(super) async fn laws(
    scene: &Scene,
    store: &dyn Store,
    events: &[Inbound],
    setting: Setting,
) -> Result<(), Violation> {
    let exported: Vec<_> = store.export(scene.tenant).await?.try_collect().await?;
    let mut turns: Vec<(TurnId, Vec<Record>)> = Vec::new();
    let mut ledger = Vec::new();
    let (mut spent, mut reserved) = (NanoUsd(0), NanoUsd(0));
    for item in exported {
        match item {
            Exported::Record(stored) => {
                let record = stored
                    .record
                    .ok_or_else(|| Violation::law(8, "a record cannot be read"))?;
                let record = Arc::unwrap_or_clone(record);
                match turns.last_mut() {
                    Some((turn, records)) if *turn == record.turn => records.push(record),
                    _ => turns.push((record.turn, vec![record])),
                }
            }
            Exported::Ledger(row) => ledger.push(row),
            Exported::Budget(BudgetSum { budget, sum, .. }) => {
                if budget != BudgetKey::MONTH {
                    continue;
                }
                spent = spent.saturating_add(sum.spent);
                reserved = reserved.saturating_add(sum.reserved);
            }
            Exported::Inbox(item) => {
                hold!(
                    1,
                    false,
                    "event {} of the inbox was never processed",
                    item.seq
                );
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

fn received(records: &[Record]) -> impl Iterator<Item = &Input> {
    records.iter().filter_map(|record| match &record.entry {
        Entry::Event(Event::Received(input)) => Some(&**input),
        _ => None,
    })
}

/// Checks that each event is input to exactly one turn, and in the order of the provider's time within it.
fn inputs(turns: &[(TurnId, Vec<Record>)], events: &[Inbound]) -> Result<(), Violation> {
    let mut taken: HashMap<&str, u32> = HashMap::new();
    for (turn, records) in turns {
        for input in received(records) {
            // A broken store may have renamed an event that it accepted twice.
            let id = input.event.id.split('#').next().unwrap_or_default();
            *taken.entry(id).or_default() += 1;
        }
        let Some(Entry::Event(Event::Started(started))) = records.first().map(|first| &first.entry)
        else {
            return Err(Violation::law(
                2,
                format!("{turn} does not begin with its inputs"),
            ));
        };
        let first = usize::try_from(started.inputs).unwrap_or(usize::MAX);
        let in_order = received(records)
            .take(first)
            .is_sorted_by_key(|input| (input.event.occurred_at, input.seq));
        hold!(3, in_order, "{turn} processed its inputs out of order");
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

/// Checks that a turn ends once, and that the parts it reports match those that arrived.
fn outcome(
    turn: TurnId,
    records: &[Record],
    scene: &Scene,
    setting: Setting,
) -> Result<(), Violation> {
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
        "{turn} sent a part twice: {arrived:?}"
    );
    hold!(
        3,
        arrived.is_sorted(),
        "{turn} sent its parts out of order: {arrived:?}"
    );
    match ends[0] {
        Outcome::Replied { parts, .. } => {
            let said = arrived.len();
            hold!(
                2,
                *parts as usize == said,
                "{turn} reports {parts} parts, but {said} arrived"
            );
            hold!(
                2,
                said == 2,
                "{turn} replied with {said} parts instead of two"
            );
        }
        Outcome::Asked { item } => {
            let Some(key) = asked_about(records, item) else {
                return Err(Violation::law(
                    2,
                    format!("{turn} ended as `Asked` without an open item"),
                ));
            };
            let key = &key;
            hold!(
                4,
                setting.find != Find::Query,
                "{turn} asks a person although its channel can be queried"
            );
            let unknown = setting.find == Find::None || !arrived.contains(key);
            hold!(
                4,
                unknown,
                "{turn} asks about {key}, which the provider reported"
            );
        }
        Outcome::Silent { .. } => {
            hold!(
                2,
                arrived.is_empty(),
                "{turn} ended silently but sent a message"
            );
        }
    }
    Ok(())
}

/// Returns the first message that an item is about.
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

/// Checks that calls that must not be repeated were made once, and that repeated calls have one key.
fn tools(turns: &[(TurnId, Vec<Record>)], scene: &Scene) -> Result<(), Violation> {
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
            "{tool} was called outside of any turn"
        );
        let keys: BTreeSet<_> = runs.iter().map(|(_, key)| key).collect();
        let once = runs
            .iter()
            .filter(|(effect, _)| *effect == Effect::Once)
            .count();
        hold!(
            2,
            keys.len() == 1,
            "{tool} was called with {} keys in {turn}",
            keys.len()
        );
        hold!(2, once <= 1, "{tool} was called {once} times in {turn}");
    }
    Ok(())
}

/// Checks that nothing stays reserved, every call has its row, and the sum is not below the bill.
fn money(
    ledger: &[LedgerRow],
    spent: NanoUsd,
    reserved: NanoUsd,
    scene: &Scene,
) -> Result<(), Violation> {
    hold!(5, reserved == NanoUsd(0), "{reserved} are still reserved");
    let rows: BTreeSet<&str> = ledger.iter().map(|row| row.call.as_str()).collect();
    hold!(6, rows.len() == ledger.len(), "a call has two rows");
    let total = ledger
        .iter()
        .filter_map(|row| row.cost)
        .fold(NanoUsd(0), NanoUsd::saturating_add);
    hold!(
        6,
        total == spent,
        "the rows sum up to {total}, but {spent} were spent"
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
        "the ledger's {total} is below the bill's {bill}"
    );
    for (call, _) in &calls {
        hold!(
            6,
            rows.contains(call.as_str()),
            "{call} has no row in the ledger"
        );
    }
    Ok(())
}

async fn replays(turns: &[(TurnId, Vec<Record>)], scene: &Scene) -> Result<(), Violation> {
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
