//! Finding what was said.

use std::time::Duration;

use super::{
    MemorySubject, Outcome, ensure, ensure_eq,
    fact::{fact, own},
    office::{Office, now, sources},
};
use crate::{
    Audience, Recall,
    memory::{Language, SaidBy, Scope},
    message::{Body, Content},
};

pub(super) async fn what_was_said_is_found(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let ann = ("D-ann", "U-ann");
    let [bike, answer] = office
        .ask(
            subject,
            ann,
            ("My bicycle has a broken spoke", "Bring it in on Monday"),
        )
        .await?;
    let other = office
        .say(subject, ann, "Thanks, and what about lunch?")
        .await?;
    let person = Audience::Person {
        person: bike.person,
    };
    let hits = office
        .recall(subject, &person, Scope::HISTORY, "broken spokes")
        .await?;
    let hit = hits.first().ok_or("nothing was found")?;
    ensure_eq!(hit.source, bike.source(), "the best hit");
    ensure_eq!(hit.text, "My bicycle has a broken spoke", "its text");
    ensure_eq!(hit.said_by, Some(SaidBy::Person), "who said it");
    ensure!(
        hit.at <= now(subject) && hit.at > crate::Timestamp::from_secs(0),
        "it was said at {}",
        hit.at
    );
    ensure!(
        hit.persons.contains(&bike.person),
        "a hit does not name whose words it holds"
    );
    let beside: Vec<_> = hit.neighbours.iter().map(|beside| beside.source).collect();
    ensure_eq!(
        beside,
        [answer.source()],
        "what stands beside the first message"
    );
    let hits = office
        .recall(subject, &person, Scope::HISTORY, "bring Monday")
        .await?;
    let hit = hits.first().ok_or("the employee's words were not found")?;
    ensure_eq!(hit.source, answer.source(), "the employee's words");
    ensure_eq!(hit.said_by, Some(SaidBy::Employee), "who said them");
    let beside: Vec<_> = hit.neighbours.iter().map(|beside| beside.source).collect();
    ensure_eq!(
        beside,
        [bike.source(), other.source()],
        "what stands beside the second message"
    );
    let fetched = subject
        .memory
        .fetch(office.tenant, &[other.source(), bike.source()])
        .await?;
    let texts: Vec<_> = fetched
        .iter()
        .map(|hit| hit.as_ref().map(|hit| hit.text.as_str()))
        .collect();
    ensure_eq!(
        texts,
        [
            Some("Thanks, and what about lunch?"),
            Some("My bicycle has a broken spoke")
        ],
        "what is fetched"
    );
    Ok(())
}

pub(super) async fn limits_and_times_are_kept(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let mut lines = Vec::new();
    for n in 0..5 {
        lines.push(
            office
                .say(subject, ("D-ann", "U-ann"), &format!("tomato number {n}"))
                .await?,
        );
        subject.clock.advance(Duration::from_secs(86_400));
    }
    subject.memory.catch_up(office.tenant).await?;
    let audience = Audience::Person {
        person: lines[0].person,
    };
    let ask = async |limit, when, explain| {
        let query = Recall::new("tomato", audience.clone(), Scope::HISTORY).with_limit(limit);
        let query = Recall {
            when,
            explain,
            ..query
        };
        subject.memory.recall(office.tenant, query).await
    };
    for limit in [0, 1, 3, 5, 50] {
        let hits = ask(limit, None, false).await?;
        ensure_eq!(hits.len(), limit.min(5), "hits of a limit of {limit}");
        ensure!(
            hits.is_sorted_by(|a, b| a.score >= b.score),
            "the best is not first"
        );
        ensure!(
            hits.iter().all(|hit| hit.signals.is_none()),
            "explained unasked"
        );
        let again = ask(limit, None, false).await?;
        ensure_eq!(again, hits, "the same question again");
    }
    let all = ask(5, None, true).await?;
    ensure!(all.iter().all(|hit| hit.signals.is_some()), "not explained");
    // The best hits lie outside the time, and cost none inside it.
    let mut at: Vec<_> = all.iter().map(|hit| (hit.at, hit.source)).collect();
    at.sort();
    let when = at[1].0..at[3].0;
    let found = ask(2, Some(when), false).await?;
    let mut found = sources(&found);
    found.sort();
    ensure_eq!(found, [at[1].1, at[2].1], "what was said in a time");
    Ok(())
}

/// One question in several scopes finds what a question in each of them finds, with the same scores.
pub(super) async fn scopes_are_ranked_by_themselves(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let mut lines = Vec::new();
    for n in 0..6 {
        let text = format!("tomato {}", "soup ".repeat(n));
        lines.push(office.say(subject, ("D-ann", "U-ann"), &text).await?);
        office.teach(subject, &format!("Doc {n}"), &text).await?;
    }
    subject.memory.catch_up(office.tenant).await?;
    for line in &lines[..3] {
        let new = fact("The person likes tomato soup", own(line), line, "tomato");
        subject.memory.remember(office.tenant, new).await?;
    }
    let audience = Audience::Person {
        person: lines[0].person,
    };
    let scopes = [
        (Scope::KNOWLEDGE, 4),
        (Scope::FACTS, 2),
        (Scope::HISTORY, 3),
        (Scope::ALL, 5),
        (Scope::FACTS, 0),
    ];
    let mut each = Vec::new();
    let mut all = Recall::new("tomato soup", audience.clone(), Scope::KNOWLEDGE).with_limit(4);
    for (n, (scope, limit)) in scopes.into_iter().enumerate() {
        let one = Recall::new("tomato soup", audience.clone(), scope).with_limit(limit);
        let hits = subject.memory.recall(office.tenant, one).await?;
        ensure_eq!(hits.len(), limit, "hits in {scope:?}");
        each.extend(hits);
        if n > 0 {
            all = all.and(scope, limit);
        }
    }
    let together = subject.memory.recall(office.tenant, all).await?;
    ensure_eq!(together, each, "what a question in all scopes finds");
    Ok(())
}

pub(super) async fn what_was_taken_back_is_not_found(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let ann = ("D-ann", "U-ann");
    let said = office.say(subject, ann, "my pin is zebra").await?;
    office.say(subject, ann, "I like walnuts").await?;
    let audience = Audience::Person {
        person: said.person,
    };
    let find = async |text| -> Result<Vec<String>, super::Failed> {
        let hits = office
            .recall(subject, &audience, Scope::HISTORY, text)
            .await?;
        Ok(hits.into_iter().map(|hit| hit.text).collect())
    };
    ensure!(
        find("zebra").await?.contains(&"my pin is zebra".to_owned()),
        "a message is not found"
    );
    let deleted = Body::Deleted {
        message: "m-my pin is zebra".into(),
    };
    office.happen(subject, ann, deleted, None).await?;
    ensure!(
        !find("zebra").await?.contains(&"my pin is zebra".to_owned()),
        "a deleted message is found"
    );
    let edited = Body::Edited {
        message: "m-I like walnuts".into(),
        content: Content::text("I like almonds"),
    };
    office.happen(subject, ann, edited, None).await?;
    ensure!(
        !find("walnuts")
            .await?
            .contains(&"I like walnuts".to_owned()),
        "what an edited message said is found"
    );
    ensure!(
        find("almonds")
            .await?
            .contains(&"I like almonds".to_owned()),
        "what an edited message says is not found"
    );
    Ok(())
}

pub(super) async fn each_language_has_its_stems(subject: &MemorySubject) -> Outcome {
    for (language, text, question) in [
        (
            Language::German,
            "Wir haben die kaputten Speichen ausgetauscht",
            "kaputte Speiche",
        ),
        (
            Language::Spanish,
            "Las bicicletas reparadas están listas",
            "bicicleta reparada",
        ),
        (
            Language::English,
            "The repaired bicycles are waiting",
            "repairing a bicycle",
        ),
    ] {
        let office = Office::new();
        let before = office
            .say(subject, ("D-ann", "U-ann"), "unrelated words")
            .await?;
        subject.memory.set_language(office.tenant, language).await?;
        let line = office.say(subject, ("D-ann", "U-ann"), text).await?;
        office.teach(subject, "Doc", text).await?;
        let audience = Audience::Person {
            person: before.person,
        };
        let hits = office
            .recall(subject, &audience, Scope::HISTORY, question)
            .await?;
        ensure_eq!(
            hits.first().map(|hit| hit.source),
            Some(line.source()),
            "the best hit for {question}"
        );
        let hits = office
            .recall(subject, &audience, Scope::KNOWLEDGE, question)
            .await?;
        let coverage = hits.first().map_or(0.0, |hit| hit.coverage);
        ensure!(coverage > 0.5, "{question} is covered to {coverage}");
    }
    // A change analyses anew what is there.
    let office = Office::new();
    let line = office
        .say(subject, ("D-ann", "U-ann"), "viele alte Häuser")
        .await?;
    office.teach(subject, "Doc", "viele alte Häuser").await?;
    subject
        .memory
        .set_language(office.tenant, Language::German)
        .await?;
    let audience = Audience::Person {
        person: line.person,
    };
    for scope in [Scope::HISTORY, Scope::KNOWLEDGE] {
        let hits = office.recall(subject, &audience, scope, "Haus").await?;
        ensure!(!hits.is_empty(), "{scope:?} was not analysed anew");
    }
    Ok(())
}

pub(super) async fn progress_is_told(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let nothing = subject.memory.progress(office.tenant).await?;
    ensure!(nothing.is_complete(), "nothing is behind: {nothing:?}");
    office
        .ask(subject, ("D-ann", "U-ann"), ("one", "two"))
        .await?;
    office.teach(subject, "Doc", "three").await?;
    subject.memory.catch_up(office.tenant).await?;
    let progress = subject.memory.progress(office.tenant).await?;
    ensure!(progress.is_complete(), "caught up: {progress:?}");
    ensure_eq!(
        (progress.records, progress.passages),
        (4, 3),
        "records and passages"
    );
    Ok(())
}
