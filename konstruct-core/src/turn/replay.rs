//! Replay: `step` is run again on what a turn recorded, and must decide the same, byte for byte.

use super::{Action, ENGINE_VERSION, Entry, Event, Record, State, state};
use crate::{Employee, Error, ErrorKind, Result, Timestamp};

/// The step to replay with: [`step`](super::step), or another one to see what differs.
pub type Step = fn(&Employee, &mut State, Timestamp, &Event) -> Result<Vec<Action>>;

/// What came of a replay.
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
        /// The position, among the turn's records, of the first one that differs.
        at: usize,
        /// The canonical JSON of the action that was recorded; empty where there was none.
        recorded: String,
        /// The canonical JSON of the action that was decided now; empty where there is none.
        decided: String,
    },
}

/// Replays one turn under the employee version that it is pinned to.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a turn of another engine version, [`ErrorKind::Corrupt`] for records that are no turn, and
/// [`ErrorKind::Protocol`] where an event does not fit what was decided now.
pub fn replay(employee: &Employee, records: &[Record]) -> Result<Replay> {
    replay_with(super::step, employee, records)
}

/// Replays one turn with a step of your own.
///
/// # Errors
/// Those of [`replay`].
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
            "a turn that does not begin with `started`",
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
        .map_err(|error| Error::internal("an action cannot be written").with_source(error))
}
