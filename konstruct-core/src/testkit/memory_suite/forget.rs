//! Forgetting, and moving a memory.

use std::time::Duration;

use futures_util::TryStreamExt as _;

use super::{
    Failed, MemorySubject, Outcome, ensure, ensure_eq,
    fact::{fact, own},
    office::{Line, Office, now},
};
use crate::{
    Audience, Depth, Erase, ErrorKind, Hit, PersonId, Recall,
    memory::{FactOwner, Language, NewFact, NewSummary, Remembered, Scope, Source, Summary},
    store::Exported,
};

/// Two who talk with the employee, in a channel and alone, and what was learned of it.
struct Scene {
    office: Office,
    ann: Line,
    bob: Line,
}

const ANN: &str = "the password is marmalade";

async fn scene(subject: &MemorySubject) -> Result<Scene, Failed> {
    let office = Office::new();
    let alone = office
        .ask(subject, ("D-ann", "U-ann"), ("I collect stamps", "Nice"))
        .await?[0];
    let ann = office.say(subject, ("#shop", "U-ann"), ANN).await?;
    let after = office
        .say(subject, ("#shop", "U-bob"), "we sell lamps")
        .await?;
    let bob = office
        .say(subject, ("D-bob", "U-bob"), "I collect coins")
        .await?;
    office.teach(subject, "Doc", "the shop sells bread").await?;
    subject.memory.catch_up(office.tenant).await?;
    let channel = FactOwner::Channel;
    for new in [
        fact("there is a password", channel, &ann, "password"),
        fact("Ann collects stamps", own(&alone), &alone, "collect stamps"),
        fact("lamps are sold", channel, &after, "sell lamps"),
    ] {
        subject.memory.remember(office.tenant, new).await?;
    }
    let summary = NewSummary {
        conversation: ann.conversation,
        to: after.index,
        text: "marmalade was spoken of".into(),
        persons: vec![ann.person],
        mark: subject.memory.mark(office.tenant).await?,
    };
    subject.memory.put_summary(office.tenant, summary).await?;
    subject.clock.advance(Duration::from_secs(60));
    Ok(Scene { office, ann, bob })
}

impl Scene {
    async fn texts(
        &self,
        subject: &MemorySubject,
        audience: &Audience,
        text: &str,
    ) -> Result<Vec<String>, Failed> {
        let hits = self
            .office
            .recall(subject, audience, Scope::ALL, text)
            .await?;
        Ok(hits.into_iter().map(|hit| hit.text).collect())
    }

    fn channel(&self) -> Audience {
        self.office.everyone("#shop")
    }

    /// Everything that can still be read of the tenant, as text.
    async fn everything(&self, subject: &MemorySubject) -> Result<String, Failed> {
        let tenant = self.office.tenant;
        let memory = self.office.exported(subject).await?;
        let journal: Vec<Exported> = subject.store.export(tenant).await?.try_collect().await?;
        let mut all = format!("{memory:?} {journal:?}");
        let unanswered = subject.memory.unanswered(tenant, 100).await?;
        all.push_str(&format!("{unanswered:?}"));
        let audiences = [
            self.channel(),
            Audience::Person {
                person: self.ann.person,
            },
            Audience::Person {
                person: self.bob.person,
            },
        ];
        for audience in &audiences {
            for text in ["password marmalade stamps", "lamps coins shop bread"] {
                let hits = self
                    .office
                    .recall(subject, audience, Scope::ALL, text)
                    .await?;
                all.push_str(&format!("{hits:?}"));
            }
        }
        Ok(all)
    }
}

/// A message whose words are gone is not found by them, nor is the one after it.
async fn no_trace(subject: &MemorySubject, scene: &Scene, what: &str) -> Outcome {
    let channel = scene.channel();
    let found = scene.texts(subject, &channel, "marmalade").await?;
    ensure!(found.is_empty(), "{what}: found by its words: {found:?}");
    let everything = scene.everything(subject).await?;
    ensure!(
        !everything.contains("marmalade"),
        "{what}: its words stand in {everything}"
    );
    let fetched = subject
        .memory
        .fetch(scene.office.tenant, &[scene.ann.source()])
        .await?;
    ensure_eq!(fetched, [None], "{what}: what is fetched of it");
    let summary = subject
        .memory
        .summary(scene.office.tenant, scene.ann.conversation)
        .await?;
    ensure_eq!(summary, None, "{what}: a summary of it");
    let found = scene
        .texts(subject, &channel, "there is a password")
        .await?;
    ensure!(
        !found.contains(&"there is a password".to_owned()),
        "{what}: a fact outlived its last source"
    );
    Ok(())
}

pub(super) async fn a_message_is_forgotten(subject: &MemorySubject) -> Outcome {
    let scene = scene(subject).await?;
    let what = Erase::Message {
        conversation: scene.ann.conversation,
        index: scene.ann.index,
    };
    let receipt = subject
        .memory
        .forget(scene.office.tenant, what, Depth::Logical)
        .await?;
    ensure_eq!(
        (receipt.what, receipt.records, receipt.facts),
        (what, 1, 1),
        "what the receipt counts"
    );
    no_trace(subject, &scene, "a message").await?;
    let channel = scene.channel();
    let found = scene.texts(subject, &channel, "lamps").await?;
    for kept in ["we sell lamps", "lamps are sold"] {
        ensure!(found.contains(&kept.to_owned()), "{kept} is gone as well");
    }
    Ok(())
}

pub(super) async fn a_conversation_is_forgotten(subject: &MemorySubject) -> Outcome {
    let scene = scene(subject).await?;
    let what = Erase::Conversation {
        conversation: scene.ann.conversation,
    };
    let receipt = subject
        .memory
        .forget(scene.office.tenant, what, Depth::Logical)
        .await?;
    ensure_eq!(
        (receipt.records, receipt.facts),
        (6, 2),
        "what the receipt counts"
    );
    no_trace(subject, &scene, "a conversation").await?;
    let found = scene.texts(subject, &scene.channel(), "lamps").await?;
    ensure!(found.is_empty(), "its other messages are found: {found:?}");
    // Others are as they were, and the place can be talked in again.
    let bob = Audience::Person {
        person: scene.bob.person,
    };
    let found = scene.texts(subject, &bob, "coins").await?;
    ensure!(
        found.contains(&"I collect coins".to_owned()),
        "another conversation is gone"
    );
    let again = scene
        .office
        .say(subject, ("#shop", "U-ann"), "a kettle")
        .await?;
    ensure_eq!(
        again.conversation,
        scene.ann.conversation,
        "the conversation"
    );
    let found = scene.texts(subject, &scene.channel(), "kettle").await?;
    ensure_eq!(found, ["a kettle"], "what is found in it");
    Ok(())
}

pub(super) async fn a_person_is_forgotten(subject: &MemorySubject) -> Outcome {
    let scene = scene(subject).await?;
    let tenant = scene.office.tenant;
    let what = Erase::Person {
        person: scene.ann.person,
    };
    let receipt = subject.memory.forget(tenant, what, Depth::Logical).await?;
    // Three records of the two alone (the place, her words, the answer), and her words in the channel.
    ensure_eq!(
        (receipt.records, receipt.facts),
        (4, 2),
        "what the receipt counts"
    );
    no_trace(subject, &scene, "a person").await?;
    let everything = scene.everything(subject).await?;
    ensure!(
        !everything.contains("stamps"),
        "what she said alone stands in {everything}"
    );
    let own = Audience::Person {
        person: scene.ann.person,
    };
    let found = scene.texts(subject, &own, "stamps marmalade").await?;
    ensure!(
        found.iter().all(|text| text.contains("bread")),
        "she is remembered: {found:?}"
    );
    // What others said stays, and is found by their own words.
    let found = scene.texts(subject, &scene.channel(), "lamps").await?;
    for kept in ["we sell lamps", "lamps are sold"] {
        ensure!(found.contains(&kept.to_owned()), "{kept} is gone as well");
    }
    // She may come back, as somebody new.
    subject.clock.advance(Duration::from_secs(1));
    let again = scene
        .office
        .say(subject, ("D-ann", "U-ann"), "a new kettle")
        .await?;
    let own = Audience::Person {
        person: again.person,
    };
    let found = scene.texts(subject, &own, "kettle stamps").await?;
    ensure!(
        found.contains(&"a new kettle".to_owned()),
        "what she says now is not found: {found:?}"
    );
    Ok(())
}

pub(super) async fn a_tenant_is_forgotten(subject: &MemorySubject) -> Outcome {
    let scene = scene(subject).await?;
    let other = scene.office.other();
    other
        .say(subject, ("#shop", "U-ann"), "others stay")
        .await?;
    let tenant = scene.office.tenant;
    subject
        .memory
        .set_language(tenant, Language::German)
        .await?;
    let receipt = subject
        .memory
        .forget(tenant, Erase::Tenant, Depth::Logical)
        .await?;
    ensure_eq!(receipt.records, 13, "records that went");
    no_trace(subject, &scene, "a tenant").await?;
    let left = scene.office.exported(subject).await?;
    ensure!(left.is_empty(), "of an erased tenant {left:?} is left");
    let audience = other.everyone("#shop");
    let hits = other
        .recall(subject, &audience, Scope::ALL, "others")
        .await?;
    ensure_eq!(hits.len(), 1, "hits of another tenant");
    Ok(())
}

pub(super) async fn late_writers_do_not_bring_it_back(subject: &MemorySubject) -> Outcome {
    let scene = scene(subject).await?;
    let tenant = scene.office.tenant;
    let mark = subject.memory.mark(tenant).await?;
    let (ann, bob) = (&scene.ann, &scene.bob);
    let summary = |of: &Line, person, mark| NewSummary {
        conversation: of.conversation,
        to: 100,
        text: "marmalade".into(),
        persons: vec![person],
        mark,
    };
    // A fact of what Bob said, by a model that was shown what Ann said as well.
    let shown = || NewFact {
        shown: vec![ann.person],
        mark: Some(mark),
        ..fact("marmalade", own(bob), bob, "collect coins")
    };
    for what in [
        Erase::Message {
            conversation: ann.conversation,
            index: ann.index,
        },
        Erase::Person { person: ann.person },
    ] {
        subject.memory.forget(tenant, what, Depth::Logical).await?;
        let late = summary(ann, ann.person, mark);
        ensure!(
            !subject.memory.put_summary(tenant, late).await?,
            "a late summary is stored after {what:?}"
        );
        let late = fact("there is a password", FactOwner::Channel, ann, "password");
        ensure!(
            subject.memory.remember(tenant, late).await.is_err(),
            "a late fact is stored after {what:?}"
        );
        no_trace(subject, &scene, "late").await?;
    }
    let nothing_kept = async |when: &str| {
        let elsewhere = summary(bob, ann.person, mark);
        ensure!(
            !subject.memory.put_summary(tenant, elsewhere).await?,
            "{when}: a late summary of another conversation names a forgotten person"
        );
        let kept = subject.memory.remember(tenant, shown()).await;
        ensure_eq!(
            kept.map(drop).map_err(|error| error.kind()),
            Err(ErrorKind::Conflict),
            "{when}: a late fact by a model that was shown what a forgotten person said"
        );
        Ok::<_, Failed>(())
    };
    nothing_kept("at once").await?;
    // Whatever clock the writer has, and though the person is known again.
    subject.clock.advance(Duration::from_secs(60));
    let again = scene
        .office
        .say(subject, ("D-ann", "U-ann"), "a new kettle")
        .await?;
    if again.person == ann.person {
        nothing_kept("after they came back").await?;
    }
    // What is read after the erasure may be kept.
    let mark = subject.memory.mark(tenant).await?;
    let fresh = summary(&again, again.person, mark);
    ensure!(
        subject.memory.put_summary(tenant, fresh).await?,
        "a summary of what was said since is refused"
    );
    Ok(())
}

/// Only what was heard makes a person known: no fact and no summary gives a key to anybody else.
pub(super) async fn nobody_unheard_is_named(subject: &MemorySubject) -> Outcome {
    let scene = scene(subject).await?;
    let tenant = scene.office.tenant;
    let stranger = PersonId::new();
    let conflict = |kept: crate::Result<()>| kept.map_err(|error| error.kind());
    let about = NewFact {
        about: Some(stranger),
        ..fact("lamps", FactOwner::Channel, &scene.ann, "password")
    };
    let kept = subject.memory.remember(tenant, about).await.map(drop);
    ensure_eq!(
        conflict(kept),
        Err(ErrorKind::Conflict),
        "a fact about a stranger"
    );
    let summary = NewSummary {
        conversation: scene.bob.conversation,
        to: 100,
        text: "coins".into(),
        persons: vec![scene.bob.person, stranger],
        mark: subject.memory.mark(tenant).await?,
    };
    ensure!(
        !subject.memory.put_summary(tenant, summary).await?,
        "a summary that names a stranger is stored"
    );
    let imported = Remembered::Summary {
        summary: Summary {
            conversation: scene.bob.conversation,
            to: 100,
            text: "coins".into(),
            persons: vec![stranger],
            made_at: now(subject),
        },
    };
    let kept = subject.memory.import_memory(tenant, vec![imported]).await;
    ensure_eq!(
        conflict(kept),
        Err(ErrorKind::Conflict),
        "an import that names a stranger"
    );
    Ok(())
}

/// The answers to some questions, without what an instance chooses itself.
async fn answers(
    subject: &MemorySubject,
    scene: &Scene,
) -> Result<Vec<(Source, String, i64)>, Failed> {
    let mut all = Vec::new();
    let audiences = [
        scene.channel(),
        Audience::Person {
            person: scene.bob.person,
        },
        Audience::Tenant,
    ];
    subject.memory.catch_up(scene.office.tenant).await?;
    for audience in audiences {
        for text in ["marmalade password", "lamps", "coins collect", "bread"] {
            let query = Recall::new(text, audience.clone(), Scope::ALL);
            let hits: Vec<Hit> = subject.memory.recall(scene.office.tenant, query).await?;
            all.extend(hits.into_iter().map(|hit| {
                let score = (hit.score * 1000.0).round() as i64;
                (hit.source, hit.text, score)
            }));
        }
    }
    Ok(all)
}

pub(super) async fn an_export_answers_alike(subject: &MemorySubject) -> Outcome {
    let scene = scene(subject).await?;
    let tenant = scene.office.tenant;
    scene
        .office
        .teach(subject, "Doc", "the shop sells bread and cake")
        .await?;
    let before = answers(subject, &scene).await?;
    ensure!(before.len() >= 6, "only {} answers", before.len());
    let facts = |exported: &[Remembered]| {
        let facts = exported
            .iter()
            .filter(|item| matches!(item, Remembered::Fact { .. }));
        facts.count()
    };
    let memory = scene.office.exported(subject).await?;
    ensure_eq!(facts(&memory), 3, "facts of the export");
    let journal: Vec<Exported> = subject.store.export(tenant).await?.try_collect().await?;
    // An instance of its own would do; a tenant that was erased whole is one.
    subject
        .memory
        .forget(tenant, Erase::Tenant, Depth::Logical)
        .await?;
    ensure!(
        answers(subject, &scene).await?.is_empty(),
        "an erased tenant answers"
    );
    subject.store.import(tenant, journal).await?;
    subject.memory.import_memory(tenant, memory.clone()).await?;
    ensure_eq!(
        answers(subject, &scene).await?,
        before,
        "the answers after the import"
    );
    ensure_eq!(
        scene.office.exported(subject).await?,
        memory,
        "the export after the import"
    );
    let summary = subject
        .memory
        .summary(tenant, scene.ann.conversation)
        .await?;
    ensure!(summary.is_some(), "the summary is gone");
    let again = subject.memory.import_memory(tenant, memory).await;
    ensure!(again.is_err(), "an import of what is there was taken");
    Ok(())
}
