//! Who sees what: nobody anything that is not theirs.

use std::collections::BTreeSet;

use super::{
    Failed, MemorySubject, Outcome, ensure, ensure_eq,
    fact::fact,
    office::{Line, Office},
};
use crate::{
    Audience, Hit,
    memory::{FactOwner, Scope},
};

/// Everything that was said, with where and by whom.
struct Said {
    place: &'static str,
    user: &'static str,
    marker: String,
    line: Line,
}

/// Returns the word that nothing else says.
fn marker(n: usize) -> String {
    // Stemmers leave it alone, and no two are alike.
    format!("qz{n}xk")
}

/// Whether an audience may see what was said in a place.
#[derive(Clone, Copy, Debug)]
enum Eye {
    Person(&'static str),
    Conversation(&'static str),
    Channel(&'static str),
    Tenant,
}

fn channel(place: &str) -> &str {
    place.split('/').next().unwrap_or(place)
}

/// Who is alone in a one-to-one channel: those are named after their person, but for one that two wrote in.
fn sees(eye: Eye, place: &str) -> bool {
    match eye {
        Eye::Person(user) => {
            let own = user.strip_prefix("U-").unwrap_or(user);
            channel(place) == format!("D-{own}")
        }
        Eye::Conversation(of) => of == place,
        Eye::Channel(of) => channel(of) == channel(place),
        Eye::Tenant => false,
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
    // Somebody else's phone: two persons in what looks like a one-to-one conversation.
    ("D-both", "U-ann"),
    ("D-both", "U-cid"),
];

async fn talk(
    subject: &MemorySubject,
    office: &Office,
    rounds: usize,
) -> Result<Vec<Said>, Failed> {
    let mut all = Vec::new();
    for round in 0..rounds {
        for (n, (place, user)) in PLACES.into_iter().enumerate() {
            let marker = marker(round * PLACES.len() + n);
            let line = office
                .say(subject, (place, user), &format!("word {marker} word"))
                .await?;
            all.push(Said {
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

fn audience(office: &Office, eye: Eye, all: &[Said]) -> Option<Audience> {
    let at = |place: &str| all.iter().find(|said| said.place == place);
    Some(match eye {
        Eye::Person(user) => Audience::Person {
            person: all.iter().find(|said| said.user == user)?.line.person,
        },
        Eye::Conversation(place) => Audience::Conversation {
            channel: office.channel(place),
            conversation: at(place)?.line.conversation,
        },
        Eye::Channel(place) => office.everyone(place),
        Eye::Tenant => Audience::Tenant,
    })
}

fn eyes() -> impl Iterator<Item = Eye> {
    let persons = ["U-ann", "U-bob", "U-cid"].map(Eye::Person);
    let places: BTreeSet<&str> = PLACES.iter().map(|(place, _)| *place).collect();
    let places = places
        .into_iter()
        .flat_map(|place| [Eye::Conversation(place), Eye::Channel(place)]);
    persons.into_iter().chain(places).chain([Eye::Tenant])
}

/// The markers that stand in hits: in their texts and beside them.
fn shown(hits: &[Hit], all: &[Said]) -> BTreeSet<String> {
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

pub(super) async fn each_sees_their_own(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let all = talk(subject, &office, 1).await?;
    for eye in eyes() {
        let Some(audience) = audience(&office, eye, &all) else {
            continue;
        };
        for said in all.iter().filter(|said| sees(eye, said.place)) {
            let hits = office
                .recall(subject, &audience, Scope::HISTORY, &said.marker)
                .await?;
            ensure!(
                hits.iter().any(|hit| hit.source == said.line.source()),
                "{eye:?} does not find what was said in {}",
                said.place
            );
            // A fact of a channel is not a conversation's own.
            if !matches!(eye, Eye::Conversation(_)) {
                let hits = office
                    .recall(subject, &audience, Scope::FACTS, &said.marker)
                    .await?;
                ensure!(
                    hits.iter().any(|hit| hit.text.contains(&said.marker)),
                    "{eye:?} does not find a fact of {}",
                    said.place
                );
            }
        }
    }
    Ok(())
}

/// Two tenants with the same people in the same places, every audience, every question: a property test, whose random part is
/// the words that all of them share.
pub(super) async fn nobody_sees_what_is_not_theirs(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let other = office.other();
    let all = talk(subject, &office, 2).await?;
    let others = talk(subject, &other, 2).await?;
    for (office, own, foreign) in [(&office, &all, &others), (&other, &others, &all)] {
        for eye in eyes() {
            let Some(audience) = audience(office, eye, own) else {
                continue;
            };
            let allowed: BTreeSet<String> = own
                .iter()
                .filter(|said| sees(eye, said.place))
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
                    "{eye:?} asked for {question} and saw {leaked:?}"
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
                    "by a foreign conversation or channel: {hits:?}"
                );
            }
            let fetched = subject
                .memory
                .fetch(office.tenant, &[foreign[0].line.source()])
                .await?;
            ensure!(fetched == [None], "a foreign message is fetched");
        }
    }
    // What one audience may not see does not change another's scores.
    let ann = Audience::Person {
        person: all[0].line.person,
    };
    let before = office.recall(subject, &ann, Scope::HISTORY, "word").await?;
    office
        .say(subject, ("D-bob", "U-bob"), "word word word")
        .await?;
    let after = office.recall(subject, &ann, Scope::HISTORY, "word").await?;
    let shape = |hits: &[Hit]| -> Vec<_> {
        // The time has gone on by a minute.
        hits.iter()
            .map(|hit| (hit.source, (hit.score * 100.0).round() as i64))
            .collect()
    };
    ensure!(
        shape(&before) == shape(&after),
        "what somebody else said changed the scores"
    );
    Ok(())
}

/// Who may see what does not follow from a log: the audience of a thread that nothing was said in yet is its channel.
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
        "what a new thread sees"
    );
    Ok(())
}
