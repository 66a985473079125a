//! The guarantees of every webhook decoder.

use std::collections::HashSet;

use konstruct_core::Inbound;
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

/// Tests a decoder: it is total and deterministic, its events have ids and survive serialization, and duplicates of one message
/// share a logical id.
///
/// `samples` are bodies that decode to at least one event; `twins` are pairs of bodies for the same message.
///
/// # Panics
/// If a guarantee is violated.
pub fn decoding_suite(
    samples: &[&[u8]],
    twins: &[(&[u8], &[u8])],
    decode: impl Fn(&[u8]) -> Vec<Inbound>,
) {
    for sample in samples {
        check_sample(sample, &decode);
    }
    for (one, other) in twins {
        let (one, other) = (decode(one), decode(other));
        assert!(
            one.len() == 1 && other.len() == 1,
            "each twin must decode to one event: {one:?} {other:?}"
        );
        assert!(
            !one[0].logical_id.is_empty(),
            "a twin has no logical id: {one:?}"
        );
        assert_eq!(
            one[0].logical_id, other[0].logical_id,
            "twins must share their logical id"
        );
        assert_ne!(one[0].id, other[0].id, "twins must have different ids");
        assert_eq!(
            one[0].conversation, other[0].conversation,
            "twins must share their conversation"
        );
    }
    check_total(samples, &decode);
}

fn check_sample(sample: &[u8], decode: &impl Fn(&[u8]) -> Vec<Inbound>) {
    let events = decode(sample);
    let shown = String::from_utf8_lossy(sample);
    assert!(!events.is_empty(), "decoded to no event: {shown}");
    assert_eq!(
        events,
        decode(sample),
        "a redelivery decodes differently: {shown}"
    );
    let ids: HashSet<_> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), events.len(), "duplicate ids: {ids:?}");
    for event in &events {
        assert!(!event.id.is_empty(), "an event has no id: {event:?}");
        assert!(
            event.raw.is_some(),
            "an event lacks the provider's JSON: {event:?}"
        );
        let stored = serde_json::to_string(event).expect("an event can be written");
        let read: Inbound = serde_json::from_str(&stored).expect("an event can be read back");
        assert_eq!(&read, event, "an event changes when it is serialized");
    }
}

/// Asserts that arbitrary bytes, and samples with deleted and changed bytes, decode deterministically and without a panic.
fn check_total(samples: &[&[u8]], decode: &impl Fn(&[u8]) -> Vec<Inbound>) {
    let config = Config {
        cases: 512,
        failure_persistence: None,
        ..Config::default()
    };
    let noise = any::<Vec<u8>>();
    let damage = any::<(Index, Index, Index, Index, u8)>();
    let result =
        TestRunner::new(config).run(&(noise, damage), |(noise, (which, from, to, at, byte))| {
            prop_assert_eq!(decode(&noise), decode(&noise));
            if samples.is_empty() {
                return Ok(());
            }
            let mut sample = samples[which.index(samples.len())].to_vec();
            let (from, to) = (from.index(sample.len() + 1), to.index(sample.len() + 1));
            sample.drain(from.min(to)..from.max(to));
            if !sample.is_empty() {
                let at = at.index(sample.len());
                sample[at] = byte;
            }
            prop_assert_eq!(decode(&sample), decode(&sample));
            Ok(())
        });
    if let Err(error) = result {
        panic!("decoding is not total: {error}");
    }
}
