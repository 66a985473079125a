//! Visibility: every audience sees its own content and nothing else.

use std::collections::BTreeSet;

use super::{
    Failed, MemorySubject, Outcome, ensure, ensure_eq,
    fact::fact,
    office::{MessageRef, Office},
};
use crate::{
    Audience, Hit,
    memory::{FactOwner, Scope},
};

/// All messages, with their places and senders.
struct SentMessage {
    place: &'static str,
    user: &'static str,
    marker: String,
    line: MessageRef,
}

/// Returns a word that occurs in only one message.
fn marker(n: usize) -> String {
    // Stemmers leave these words unchanged, and no two are similar.
    format!("qz{n}xk")
}

/// An audience of the suite.
#[derive(Clone, Copy, Debug)]
enum Viewer {
    Person(&'static str),
    Conversation(&'static str),
    Channel(&'static str),
    Tenant,
}

fn channel(place: &str) -> &str {
    place.split('/').next().unwrap_or(place)
}

/// Returns whether an audience may see messages in a place. One-to-one channels are named after their person, except the one in
/// which two persons wrote.
fn sees(viewer: Viewer, place: &str) -> bool {
    match viewer {
        Viewer::Person(user) => {
            let own = user.strip_prefix("U-").unwrap_or(user);
            channel(place) == format!("D-{own}")
        }
        Viewer::Conversation(of) => of == place,
        Viewer::Channel(of) => channel(of) == channel(place),
        Viewer::Tenant => false,
    }
}

const PLACES: [(&str, &str); 9] = [
    ("D-ann", "U-ann"),
    ("D-ann/t1", "U-ann"),
    ("D-bob", "U-bob"),
    ("#shop", "U-ann"),
    ("#shop", "U-bob"),
    ("#shop/t1", "U-bob"),
    ("#back", "U-ann"),
    // A shared phone: two persons in a one-to-one conversation.
    ("D-both", "U-ann"),
    ("D-both", "U-cid"),
];

async fn talk(
    subject: &MemorySubject,
    office: &Office,
    rounds: usize,
) -> Result<Vec<SentMessage>, Failed> {
    let mut all = Vec::new();
    for round in 0..rounds {
        for (n, (place, user)) in PLACES.into_iter().enumerate() {
            let marker = marker(round * PLACES.len() + n);
            let line = office
                .say(subject, (place, user), &format!("word {marker} word"))
                .await?;
            all.push(SentMessage {
                place,
                user,
                marker,
                line,
            });
        }
    }
    subject.memory.catch_up(office.tenant).await?;
    for said in &all {
        let new = fact(
            &format!("fact {}", said.marker),
            FactOwner::Channel,
            &said.line,
            &said.marker,
        );
        subject.memory.remember(office.tenant, new).await?;
    }
    Ok(all)
}

fn audience(office: &Office, viewer: Viewer, all: &[SentMessage]) -> Option<Audience> {
    let at = |place: &str| all.iter().find(|said| said.place == place);
    Some(match viewer {
        Viewer::Person(user) => Audience::Person {
            person: all.iter().find(|said| said.user == user)?.line.person,
        },
        Viewer::Conversation(place) => Audience::Conversation {
            channel: office.channel(place),
            conversation: at(place)?.line.conversation,
        },
        Viewer::Channel(place) => office.everyone(place),
        Viewer::Tenant => Audience::Tenant,
    })
}

fn viewers() -> impl Iterator<Item = Viewer> {
    let persons = ["U-ann", "U-bob", "U-cid"].map(Viewer::Person);
    let places: BTreeSet<&str> = PLACES.iter().map(|(place, _)| *place).collect();
    let places = places
        .into_iter()
        .flat_map(|place| [Viewer::Conversation(place), Viewer::Channel(place)]);
    persons.into_iter().chain(places).chain([Viewer::Tenant])
}

/// Returns the markers in the texts and neighbours of hits.
fn shown(hits: &[Hit], all: &[SentMessage]) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for said in all {
        let in_hit = |hit: &Hit| {
            let beside = hit
                .neighbours
                .iter()
                .any(|beside| beside.text.contains(&said.marker));
            hit.text.contains(&said.marker) || beside
        };
        if hits.iter().any(in_hit) {
            shown.insert(said.marker.clone());
        }
    }
    shown
}

pub(super) async fn audiences_see_their_own_content(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let all = talk(subject, &office, 1).await?;
    for viewer in viewers() {
        let Some(audience) = audience(&office, viewer, &all) else {
            continue;
        };
        for said in all.iter().filter(|said| sees(viewer, said.place)) {
            let hits = office
                .recall(subject, &audience, Scope::HISTORY, &said.marker)
                .await?;
            ensure!(
                hits.iter().any(|hit| hit.source == said.line.source()),
                "{viewer:?} does not find the message in {}",
                said.place
            );
            // A fact of a channel does not belong to one of its conversations.
            if !matches!(viewer, Viewer::Conversation(_)) {
                let hits = office
                    .recall(subject, &audience, Scope::FACTS, &said.marker)
                    .await?;
                ensure!(
                    hits.iter().any(|hit| hit.text.contains(&said.marker)),
                    "{viewer:?} does not find a fact of {}",
                    said.place
                );
            }
        }
    }
    Ok(())
}

/// Tests every audience and every query on two tenants with the same persons in the same places. The random part of this property
/// test is the words that all of them share.
pub(super) async fn audiences_see_nothing_else(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let other = office.other();
    let all = talk(subject, &office, 2).await?;
    let others = talk(subject, &other, 2).await?;
    for (office, own, foreign) in [(&office, &all, &others), (&other, &others, &all)] {
        for viewer in viewers() {
            let Some(audience) = audience(office, viewer, own) else {
                continue;
            };
            let allowed: BTreeSet<String> = own
                .iter()
                .filter(|said| sees(viewer, said.place))
                .map(|said| said.marker.clone())
                .collect();
            let mut questions: Vec<String> = own.iter().map(|said| said.marker.clone()).collect();
            questions.push("word".into());
            questions.push("word fact".into());
            for question in questions {
                let hits = office
                    .recall(subject, &audience, Scope::ALL, &question)
                    .await?;
                let shown = shown(&hits, own);
                let leaked: Vec<_> = shown.difference(&allowed).collect();
                ensure!(
                    leaked.is_empty(),
                    "{viewer:?} queried {question} and saw {leaked:?}"
                );
            }
            // A conversation of another tenant is like one that does not exist.
            let strange = foreign[0].line.conversation;
            for audience in [
                Audience::Conversation {
                    channel: office.channel("#shop"),
                    conversation: strange,
                },
                office.everyone("#nowhere"),
                // The same place of another connection.
                Office::new().everyone("#shop"),
            ] {
                let hits = office
                    .recall(subject, &audience, Scope::ALL, "word fact")
                    .await?;
                ensure!(
                    hits.is_empty(),
                    "hits of another tenant's conversation or channel: {hits:?}"
                );
            }
            let fetched = subject
                .memory
                .fetch(office.tenant, &[foreign[0].line.source()])
                .await?;
            ensure!(fetched == [None], "another tenant's message is fetched");
        }
    }
    // Content that one audience may not see does not change the scores of another.
    let ann = Audience::Person {
        person: all[0].line.person,
    };
    let before = office.recall(subject, &ann, Scope::HISTORY, "word").await?;
    office
        .say(subject, ("D-bob", "U-bob"), "word word word")
        .await?;
    let after = office.recall(subject, &ann, Scope::HISTORY, "word").await?;
    let shape = |hits: &[Hit]| -> Vec<_> {
        // The time has advanced by a minute.
        hits.iter()
            .map(|hit| (hit.source, (hit.score * 100.0).round() as i64))
            .collect()
    };
    ensure!(
        shape(&before) == shape(&after),
        "another person's message changed the scores"
    );
    Ok(())
}

/// Visibility does not depend on a log: the audience of a thread without messages is its channel.
pub(super) async fn a_new_thread_sees_its_channel(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    for (place, user, text) in [
        ("#shop", "U-ann", "word of the shop"),
        ("#shop/t1", "U-bob", "word of a thread"),
        ("#back", "U-ann", "word of the back room"),
        ("D-ann", "U-ann", "word of ann alone"),
    ] {
        office.say(subject, (place, user), text).await?;
    }
    let new = office.everyone("#shop/never-heard");
    let hits = office.recall(subject, &new, Scope::ALL, "word").await?;
    let mut texts: Vec<_> = hits.iter().map(|hit| hit.text.as_str()).collect();
    texts.sort_unstable();
    ensure_eq!(
        texts,
        ["word of a thread", "word of the shop"],
        "the hits of a new thread"
    );
    Ok(())
}
