//! Replay: runs `step` again on the recorded events of a turn and compares the decisions byte for byte.

use super::{Action, ENGINE_VERSION, Entry, Event, Record, State, state};
use crate::{Employee, Error, ErrorKind, Result, Timestamp};

/// The step function of a replay: [`step`](super::step), or a changed one to see what it decides differently.
pub type Step = fn(&Employee, &mut State, Timestamp, &Event) -> Result<Vec<Action>>;

/// The result of a replay.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Replay {
    /// Every decision was the same.
    Same {
        /// How many actions were compared.
        actions: usize,
    },
    /// A decision differs.
    Differs {
        /// The position of the first record that differs, among the records of the turn.
        at: usize,
        /// The canonical JSON of the recorded action; empty if there was none.
        recorded: String,
        /// The canonical JSON of the action decided by the replay; empty if there is none.
        decided: String,
    },
}

/// Replays one turn with the employee version that it is pinned to.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a turn of another engine version, [`ErrorKind::Corrupt`] for records that do not begin a turn,
/// and [`ErrorKind::Protocol`] if an event does not fit the state that the replay reached.
pub fn replay(employee: &Employee, records: &[Record]) -> Result<Replay> {
    replay_with(super::step, employee, records)
}

/// Replays one turn with another step function.
///
/// # Errors
/// The same as for [`replay`].
pub fn replay_with(step: Step, employee: &Employee, records: &[Record]) -> Result<Replay> {
    let Some(Record {
        turn,
        at,
        entry: Entry::Event(Event::Started(started)),
        ..
    }) = records.first()
    else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the first record of the turn is not `started`",
        ));
    };
    if started.engine != ENGINE_VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the turn ran under engine {}, this build has {ENGINE_VERSION}",
                started.engine
            ),
        ));
    }
    let (mut state, first) = state::begin(employee, *turn, *at, (**started).clone())?;
    let mut decided = first.into_iter();
    let mut actions = 0;
    for (position, record) in records.iter().enumerate().skip(1) {
        let (recorded, now) = match &record.entry {
            Entry::Action(action) => (
                canonical(action)?,
                decided
                    .next()
                    .as_ref()
                    .map(canonical)
                    .transpose()?
                    .unwrap_or_default(),
            ),
            Entry::Event(event) => {
                let left = decided
                    .next()
                    .as_ref()
                    .map(canonical)
                    .transpose()?
                    .unwrap_or_default();
                if left.is_empty() {
                    decided = step(employee, &mut state, record.at, event)?.into_iter();
                }
                (String::new(), left)
            }
        };
        if recorded != now {
            return Ok(Replay::Differs {
                at: position,
                recorded,
                decided: now,
            });
        }
        actions += usize::from(!recorded.is_empty());
    }
    match decided.next() {
        Some(action) => Ok(Replay::Differs {
            at: records.len(),
            recorded: String::new(),
            decided: canonical(&action)?,
        }),
        None => Ok(Replay::Same { actions }),
    }
}

fn canonical(action: &Action) -> Result<String> {
    serde_json::to_string(action)
        .map_err(|error| Error::internal("could not serialize an action").with_source(error))
}
