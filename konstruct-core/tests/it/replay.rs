//! Every turn replays byte for byte.

use konstruct_core::{
    ErrorKind,
    testkit::{random_turns, unsteady_step},
    turn::{Action, Entry, Event, Record, Replay, State, replay, replay_with, step},
};

#[test]
fn random_turns_replay_the_same() {
    let turns = random_turns(1, 1_000);
    let mut actions = 0;
    for (employee, records) in &turns {
        assert!(ends(records), "{records:#?}");
        match replay(employee, records).unwrap() {
            Replay::Same { actions: same } => actions += same,
            other => panic!("{other:?}"),
        }
    }
    assert!(actions > 4_000, "{actions}");
    let again = random_turns(1, 1_000);
    assert_eq!(turns, again, "equal seeds generate equal turns");
    assert_ne!(turns[..10], random_turns(2, 10)[..]);
}

#[test]
fn random_turns_take_every_path() {
    let mut missing: Vec<_> = Event::NAMES.iter().chain(Action::NAMES).copied().collect();
    for (_, records) in random_turns(3, 1_000) {
        for record in records {
            let name = match &record.entry {
                Entry::Event(event) => event.name(),
                Entry::Action(action) => action.name(),
            };
            missing.retain(|missing| *missing != name);
        }
    }
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

#[test]
fn an_impure_step_is_detected() {
    let mut found = 0;
    for (employee, records) in random_turns(4, 300) {
        // The actions after `started` are not decided by a step.
        let drifts = records.iter().skip(2).any(|record| {
            matches!(
                record.entry,
                Entry::Action(Action::Send { .. } | Action::Wait { .. } | Action::CallModel { .. })
            )
        });
        let replayed = replay_with(unsteady_step, &employee, &records).unwrap();
        assert_eq!(
            matches!(replayed, Replay::Differs { .. }),
            drifts,
            "{replayed:?}"
        );
        found += usize::from(drifts);
    }
    assert!(found > 100, "{found}");
}

#[test]
fn a_log_that_was_tampered_with_differs() {
    for (employee, mut records) in random_turns(5, 200) {
        let decided = records
            .iter_mut()
            .find_map(|record| match &mut record.entry {
                Entry::Action(Action::Send { key, .. }) => Some(key),
                _ => None,
            });
        let Some(key) = decided else { continue };
        key.push('!');
        let replayed = replay(&employee, &records).unwrap();
        assert!(matches!(replayed, Replay::Differs { .. }), "{replayed:?}");
    }
}

#[test]
fn records_of_other_engines_are_refused() {
    let (employee, mut records) = random_turns(6, 1).remove(0);
    assert_eq!(
        replay(&employee, &records[1..]).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(
        replay(&employee, &[]).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    if let Entry::Event(Event::Started(started)) = &mut records[0].entry {
        started.engine += 1;
    }
    assert_eq!(
        replay(&employee, &records).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn folding_is_stepping() {
    for (employee, records) in random_turns(8, 300) {
        let mut folded = State::fold(&records[..1]).unwrap();
        for (n, record) in records.iter().enumerate().skip(1) {
            // Stepping an event gives the same state as folding the event and its actions.
            if let Entry::Event(event) = &record.entry {
                let mut stepped = folded.clone();
                let actions = step(&employee, &mut stepped, record.at, event).unwrap();
                let to = n + 1 + actions.len();
                assert_eq!(State::fold(&records[..to]).unwrap(), stepped);
            }
            folded.apply(record).unwrap();
        }
    }
}

fn ends(records: &[Record]) -> bool {
    matches!(
        records.last().map(|last| &last.entry),
        Some(Entry::Action(Action::Finish { .. }))
    )
}
