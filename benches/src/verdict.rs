//! Compares the store and the fakes after the crash test with the guarantees.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
    time::Duration,
};

use futures_util::TryStreamExt as _;
use konstruct_core::{
    ConversationId, Error, Result, TenantId, Timestamp,
    message::{Body, DeliveryState},
    store::{Archive, Exported},
    turn::{Action, Entry, Event, Input, ItemKind, Outcome, Record},
};
use konstruct_memory::{KeyRing, Redb};

/// A turn, as far as the guarantees concern it.
#[derive(Clone, Debug, Default)]
struct Turn {
    inputs: Vec<Input>,
    sends: Vec<String>,
    done: HashSet<String>,
    /// The delivery keys of each item that it opened.
    asked: HashMap<String, Vec<String>>,
    outcome: Option<Outcome>,
    /// From when to when the outcome of each send was not recorded.
    pending: HashMap<String, (Timestamp, Option<Timestamp>)>,
    /// The sends whose outcome was recorded as unknown.
    ambiguous: HashSet<String>,
}

impl Turn {
    fn take(&mut self, record: &Record) {
        match &record.entry {
            Entry::Event(Event::Received(input)) => self.inputs.push(Input::clone(input)),
            Entry::Event(Event::SendDone { key, .. }) => {
                self.done.insert(key.clone());
                self.known(key, record.at);
            }
            Entry::Event(Event::SendFailed { key, .. }) => self.known(key, record.at),
            Entry::Event(Event::SendAmbiguous { key }) => {
                self.ambiguous.insert(key.clone());
            }
            Entry::Action(Action::Send { key, .. }) => {
                self.pending.entry(key.clone()).or_insert((record.at, None));
                if !self.sends.contains(key) {
                    self.sends.push(key.clone());
                }
            }
            Entry::Action(Action::Open(item)) => {
                if let ItemKind::Send { keys, .. } = &item.kind {
                    self.asked.insert(item.id.0.clone(), keys.clone());
                }
            }
            Entry::Action(Action::Finish { outcome }) => self.outcome = Some(outcome.clone()),
            _ => {}
        }
    }

    fn known(&mut self, key: &str, at: Timestamp) {
        if let Some((_, to)) = self.pending.get_mut(key) {
            *to = Some(at);
        }
    }

    /// Returns the messages of people in it.
    fn said(&self) -> impl Iterator<Item = (&Input, &str)> {
        self.inputs
            .iter()
            .filter_map(|input| match &input.event.body {
                Body::Message { content, .. } => Some((input, number(&content.text)?)),
                _ => None,
            })
    }
}

/// Returns the number of a message.
fn number(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| {
        let digits = word.strip_prefix('m').unwrap_or_default();
        digits.len() == 8 && digits.bytes().all(|c| c.is_ascii_digit() || c == b'-')
    })
}

/// How much the times of records and of disruptions may differ.
const SKEW: Duration = Duration::from_millis(50);

/// What was observed outside the store.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The numbers of the acknowledged messages.
    pub accepted: BTreeSet<String>,
    /// The delivery keys that each fake accepted, in order.
    pub taken: Vec<Vec<String>>,
    /// The open items of the admin API: the id and the kind of each.
    pub questions: HashMap<String, String>,
    /// When processes were killed, servers stopped and connections cut.
    pub disruptions: Vec<Timestamp>,
}

/// The figures and their findings.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Acknowledged messages in no finished turn, and sends of finished turns that were neither accepted nor asked about.
    pub lost: usize,
    /// Messages in two turns, and sends that were accepted twice.
    pub duplicates: usize,
    /// Inputs and replies out of order, and late inputs that are not marked.
    pub out_of_order: usize,
    /// Sends that a person is asked about.
    pub unresolved: usize,
    /// Sends whose outcome the engine recorded as unknown, at least for a time.
    pub ambiguous: usize,
    /// Sends whose outcome was not recorded yet when something was disrupted.
    pub disrupted: usize,
    /// The number of turns.
    pub turns: usize,
    /// Turns that ended with the fallback reply.
    pub fallbacks: usize,
    /// Inputs that are marked late.
    pub late: usize,
    /// The violations, one line each.
    pub findings: Vec<String>,
}

/// Reads the store, in which nobody writes, and compares it with the observations.
///
/// # Errors
/// Errors of the store.
pub async fn verdict(store: &dyn Archive, tenant: TenantId, seen: &Seen) -> Result<Verdict> {
    let conversations = read(store, tenant).await?;
    let mut verdict = Verdict::default();
    for turn in conversations.values().flatten() {
        verdict.ambiguous += turn.ambiguous.len();
        let times = turn.pending.values();
        let hit = times.filter(|(from, to)| {
            let disrupted = seen.disruptions.iter();
            disrupted
                .into_iter()
                .any(|at| *from <= *at + SKEW && to.is_none_or(|to| *at <= to + SKEW))
        });
        verdict.disrupted += hit.count();
    }
    verdict.inputs(&conversations, seen);
    verdict.order(&conversations);
    verdict.replies(&conversations, seen);
    Ok(verdict)
}

type Conversations = BTreeMap<ConversationId, Vec<Turn>>;

/// Opens the embedded store of a server that has ended.
///
/// # Errors
/// Errors of the store.
pub fn open(store: &Path) -> Result<Redb> {
    let ring = std::fs::read_to_string(store.with_file_name("master.key"))
        .map_err(|error| Error::internal("the key ring cannot be read").with_source(error))?;
    Redb::builder()
        .key_ring(KeyRing::parse(ring.trim())?)
        .open(store)
}

async fn read(store: &dyn Archive, tenant: TenantId) -> Result<Conversations> {
    let mut export = store.export(tenant).await?;
    let (mut all, mut here) = (Conversations::new(), None);
    let mut last = None;
    while let Some(item) = export.try_next().await? {
        match item {
            Exported::Conversation(summary) => {
                (here, last) = (Some(summary.id), None);
            }
            Exported::Record(stored) => {
                let (Some(here), Some(record)) = (here, stored.record) else {
                    continue;
                };
                let turns = all.entry(here).or_default();
                if last.replace(record.turn) != Some(record.turn) {
                    turns.push(Turn::default());
                }
                if let Some(turn) = turns.last_mut() {
                    turn.take(&record);
                }
            }
            _ => {}
        }
    }
    Ok(all)
}

impl Verdict {
    fn lost(&mut self, what: String) {
        self.lost += 1;
        self.findings.push(format!("lost: {what}"));
    }

    fn duplicate(&mut self, what: String) {
        self.duplicates += 1;
        self.findings.push(format!("duplicate: {what}"));
    }

    fn disorder(&mut self, what: String) {
        self.out_of_order += 1;
        self.findings.push(format!("out of order: {what}"));
    }

    /// Every accepted message is an input of exactly one turn, and that turn has ended.
    fn inputs(&mut self, conversations: &Conversations, seen: &Seen) {
        let mut worked: HashMap<&str, usize> = HashMap::new();
        for turn in conversations.values().flatten() {
            self.turns += 1;
            for (input, number) in turn.said() {
                self.late += usize::from(input.late);
                if turn.outcome.is_some() {
                    *worked.entry(number).or_default() += 1;
                }
            }
            match &turn.outcome {
                Some(Outcome::Replied { fallback, .. }) => {
                    self.fallbacks += usize::from(fallback.is_some());
                }
                Some(Outcome::Silent { reason }) if turn.said().next().is_some() => {
                    let numbers: Vec<_> = turn.said().map(|(_, number)| number).collect();
                    self.lost(format!("{numbers:?} were not answered: {reason:?}"));
                }
                _ => {}
            }
        }
        for number in &seen.accepted {
            match worked.get(number.as_str()) {
                None => self.lost(format!("{number} is in no finished turn")),
                Some(1) => {}
                Some(times) => self.duplicate(format!("{number} is in {times} turns")),
            }
        }
    }

    /// A turn processes its inputs in the order of the provider's times. An input after a later one is marked late.
    fn order(&mut self, conversations: &Conversations) {
        for turns in conversations.values() {
            let mut latest: Option<Timestamp> = None;
            for turn in turns {
                let times: Vec<_> = turn
                    .said()
                    .map(|(input, number)| (input.event.occurred_at, number, input.late))
                    .collect();
                for pair in times.windows(2) {
                    if pair[0].0 > pair[1].0 {
                        self.disorder(format!("{} after {} in a turn", pair[1].1, pair[0].1));
                    }
                }
                for (time, number, late) in &times {
                    if latest.is_some_and(|latest| *time < latest) && !late {
                        self.disorder(format!("{number} is late and not marked"));
                    }
                }
                let newest = turn.inputs.iter().map(|input| input.event.occurred_at);
                latest = latest.max(newest.max());
            }
        }
    }

    /// Every part arrived once and in order, or a person is asked about it.
    fn replies(&mut self, conversations: &Conversations, seen: &Seen) {
        let mut places = HashMap::new();
        for (conversation, turns) in conversations {
            let keys = turns.iter().flat_map(|turn| &turn.sends);
            for (nth, key) in keys.enumerate() {
                places.entry(key.as_str()).or_insert((*conversation, nth));
            }
        }
        let mut taken = HashSet::new();
        for fake in &seen.taken {
            let mut said: HashMap<ConversationId, usize> = HashMap::new();
            for key in fake {
                let Some((conversation, nth)) = places.get(key.as_str()) else {
                    self.lost(format!("{key} was sent by no turn"));
                    continue;
                };
                if !taken.insert(key.as_str()) {
                    self.duplicate(format!("{key} was taken twice"));
                } else if said
                    .insert(*conversation, *nth)
                    .is_some_and(|before| before > *nth)
                {
                    self.disorder(format!("{key} was sent after a later one"));
                }
            }
        }
        for turns in conversations.values() {
            self.settled(turns, &taken, seen);
        }
        let kinds = seen.questions.values();
        self.unresolved = kinds.filter(|kind| *kind == "unresolved").count();
    }

    /// Every send of a conversation is known to have arrived, or is an open question.
    fn settled(&mut self, turns: &[Turn], taken: &HashSet<&str>, seen: &Seen) {
        let told: HashSet<&str> = turns
            .iter()
            .flat_map(|turn| &turn.inputs)
            .filter_map(|input| match &input.event.body {
                Body::Delivery {
                    key: Some(key),
                    state,
                    ..
                } if *state != DeliveryState::Failed => Some(key.as_str()),
                _ => None,
            })
            .collect();
        let open = turns.iter().flat_map(|turn| &turn.asked);
        let open = open.filter(|(item, _)| seen.questions.contains_key(*item));
        let open: HashSet<&String> = open.flat_map(|(_, keys)| keys).collect();
        for turn in turns {
            for key in &turn.sends {
                let known = turn.done.contains(key) || told.contains(key.as_str());
                let asked = open.contains(key);
                if known && !taken.contains(key.as_str()) {
                    self.lost(format!("{key} is recorded as arrived but did not arrive"));
                }
                if !known && !asked {
                    self.lost(format!(
                        "{key} is neither known to have arrived nor asked about"
                    ));
                }
                if known && asked {
                    self.findings.push(format!(
                        "note: {key} is asked about although its outcome is known"
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use konstruct_core::{
        testkit::message,
        turn::{Cause, SilenceReason},
    };

    use super::*;

    fn said(nth: u64, late: bool) -> Input {
        let at = Timestamp::from_secs(i64::try_from(nth).unwrap());
        Input {
            seq: nth,
            accepted_at: at,
            late,
            persons: Vec::new(),
            about: None,
            undelivered: None,
            event: message("place", "e", &format!("m00000-{nth:02}"), at),
        }
    }

    fn turn(key: &str, inputs: Vec<Input>) -> Turn {
        Turn {
            inputs,
            sends: vec![key.into()],
            done: HashSet::from([key.into()]),
            asked: HashMap::new(),
            pending: HashMap::new(),
            ambiguous: HashSet::new(),
            outcome: Some(Outcome::Replied {
                parts: 1,
                fallback: None,
            }),
        }
    }

    /// Two turns of a conversation without violations.
    fn scene() -> (Vec<Turn>, Seen) {
        let turns = vec![
            turn("a", vec![said(1, false), said(2, false)]),
            turn("b", vec![said(3, false)]),
        ];
        let seen = Seen {
            accepted: (1..=3).map(|nth| format!("m00000-{nth:02}")).collect(),
            taken: vec![Vec::new(), vec!["a".into(), "b".into()]],
            questions: HashMap::new(),
            ..Seen::default()
        };
        (turns, seen)
    }

    fn check(alter: impl FnOnce(&mut Vec<Turn>, &mut Seen), expected: [usize; 3]) {
        let (mut turns, mut seen) = scene();
        alter(&mut turns, &mut seen);
        let conversations = Conversations::from([(ConversationId::from_bytes([1; 16]), turns)]);
        let mut verdict = Verdict::default();
        verdict.inputs(&conversations, &seen);
        verdict.order(&conversations);
        verdict.replies(&conversations, &seen);
        let found = [verdict.lost, verdict.duplicates, verdict.out_of_order];
        assert_eq!(found, expected, "{:?}", verdict.findings);
    }

    #[test]
    fn a_correct_run_has_no_findings() {
        check(|_, _| {}, [0, 0, 0]);
        // Sends that are confirmed by a status, or that a person is asked about, are not lost.
        check(
            |turns, seen| {
                turns[1].done.clear();
                turns[1].asked.insert("i".into(), vec!["b".into()]);
                seen.questions.insert("i".into(), "unresolved".into());
            },
            [0, 0, 0],
        );
    }

    #[test]
    fn a_loss_is_found() {
        let accepted = |_: &mut Vec<Turn>, seen: &mut Seen| {
            seen.accepted.insert("m00000-09".into());
        };
        check(accepted, [1, 0, 0]);
        check(|turns, _| turns[1].outcome = None, [1, 0, 0]);
        check(|_, seen| drop(seen.taken[1].pop()), [1, 0, 0]);
        check(|turns, _| turns[1].done.clear(), [1, 0, 0]);
        // A closed item does not ask anybody.
        let closed = |turns: &mut Vec<Turn>, _: &mut Seen| {
            turns[1].done.clear();
            turns[1].asked.insert("i".into(), vec!["b".into()]);
        };
        check(closed, [1, 0, 0]);
        check(|_, seen| seen.taken[0].push("z".into()), [1, 0, 0]);
        let reason = SilenceReason::NotAddressed;
        check(
            |turns, _| turns[1].outcome = Some(Outcome::Silent { reason }),
            [1, 0, 0],
        );
    }

    #[test]
    fn a_duplicate_is_found() {
        check(|_, seen| seen.taken[1].push("b".into()), [0, 1, 0]);
        check(|turns, _| turns[1].inputs.push(said(3, false)), [0, 1, 0]);
    }

    #[test]
    fn disorder_is_found() {
        check(|turns, _| turns[0].inputs.swap(0, 1), [0, 0, 1]);
        check(|_, seen| seen.taken[1].swap(0, 1), [0, 0, 1]);
        let overtaken = |late| {
            move |turns: &mut Vec<Turn>, _: &mut Seen| {
                turns[0].inputs[1] = said(3, false);
                turns[1].inputs[0] = said(2, late);
            }
        };
        check(overtaken(false), [0, 0, 1]);
        check(overtaken(true), [0, 0, 0]);
    }

    #[test]
    fn a_turn_is_read_from_its_records() {
        let mut turn = Turn::default();
        let record = |entry| {
            Record::new(
                konstruct_core::TurnId::from_bytes([1; 16]),
                Timestamp::default(),
                Cause::Vendor,
                entry,
            )
        };
        turn.take(&record(Entry::Event(Event::Received(Box::new(said(
            1, false,
        ))))));
        turn.take(&record(Entry::Event(Event::Due)));
        assert_eq!(
            turn.said().map(|(_, number)| number).collect::<Vec<_>>(),
            ["m00000-01"]
        );
    }
}
