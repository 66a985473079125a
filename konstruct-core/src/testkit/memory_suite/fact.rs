//! Facts and summaries.

use std::time::Duration;

use super::{
    MemorySubject, Outcome, ensure, ensure_eq,
    office::{Line, Office, now},
};
use crate::{
    Audience, ErrorKind,
    memory::{FactOwner, Facts, NewFact, NewSummary, Quote, Scope, Source},
};

pub(super) fn fact(text: &str, owner: FactOwner, line: &Line, quote: &str) -> NewFact {
    let quote = Quote {
        conversation: line.conversation,
        index: line.index,
        quote: quote.into(),
    };
    NewFact {
        about: Some(line.person),
        ..NewFact::new(text, owner, vec![quote])
    }
}

/// What belongs to the person who said something.
pub(super) fn own(line: &Line) -> FactOwner {
    FactOwner::Person {
        person: line.person,
    }
}

pub(super) async fn facts_are_remembered_and_superseded(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let ann = ("D-ann", "U-ann");
    let (memory, tenant) = (&subject.memory, office.tenant);
    let first = office.say(subject, ann, "I live in  Lyon now.").await?;
    memory.catch_up(tenant).await?;
    let audience = Audience::Person {
        person: first.person,
    };
    let lyon = memory
        .remember(
            tenant,
            fact("Ann lives in Lyon", own(&first), &first, "i live in lyon"),
        )
        .await?;
    let hits = office
        .recall(subject, &audience, Scope::FACTS, "lives Lyon")
        .await?;
    let hit = hits.first().ok_or("a fact is not found")?;
    ensure_eq!(hit.source, Source::Fact { id: lyon.id }, "the fact");
    ensure_eq!(
        hit.learned_from,
        [first.source()],
        "what it was learned from"
    );
    let as_of_lyon = now(subject);
    let second = office.say(subject, ann, "I moved to Nice").await?;
    let nice = memory
        .supersede(
            tenant,
            lyon.id,
            Some(fact(
                "Ann lives in Nice",
                own(&first),
                &second,
                "moved to Nice",
            )),
        )
        .await?
        .ok_or("no new fact")?;
    let list = async |as_of| {
        let query = Facts {
            audience: audience.clone(),
            about: Some(first.person),
            as_of,
        };
        let facts = memory.facts(tenant, query).await?;
        Ok::<_, crate::Error>(facts.into_iter().map(|fact| fact.id).collect::<Vec<_>>())
    };
    ensure_eq!(list(None).await?, [nice.id], "facts now");
    ensure_eq!(
        list(Some(as_of_lyon)).await?,
        [lyon.id],
        "facts as of before"
    );
    let early = now(subject) + Duration::from_secs(0);
    ensure!(early > as_of_lyon, "the clock stands still");
    let hits = office
        .recall(subject, &audience, Scope::FACTS, "lives in Lyon Nice")
        .await?;
    let found: Vec<_> = hits.iter().map(|hit| hit.text.as_str()).collect();
    ensure_eq!(found, ["Ann lives in Nice"], "what is recalled");
    let again = memory.supersede(tenant, lyon.id, None).await;
    ensure_eq!(
        again.map_err(|error| error.kind()),
        Err(ErrorKind::Conflict),
        "superseding twice"
    );
    let nobody = memory
        .supersede(tenant, crate::id::FactId::new(), None)
        .await;
    ensure_eq!(
        nobody.map_err(|error| error.kind()),
        Err(ErrorKind::NotFound),
        "superseding what is not there"
    );
    // One that ends without another, and one that expires.
    memory.supersede(tenant, nice.id, None).await?;
    ensure_eq!(list(None).await?, [], "facts after the last was ended");
    let mut passing = fact("Ann is on holiday", own(&first), &second, "moved");
    passing.expires_at = Some(now(subject) + Duration::from_secs(3600));
    let passing = memory.remember(tenant, passing).await?;
    ensure_eq!(list(None).await?, [passing.id], "a passing fact");
    subject.clock.advance(Duration::from_secs(3600));
    ensure_eq!(list(None).await?, [], "an expired fact");
    let hits = office
        .recall(subject, &audience, Scope::FACTS, "holiday")
        .await?;
    ensure!(hits.is_empty(), "an expired fact is recalled");
    Ok(())
}

pub(super) async fn facts_without_grounds_are_refused(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let tenant = office.tenant;
    let ann = office
        .say(subject, ("D-ann", "U-ann"), "I like tea")
        .await?;
    let bob = office
        .say(subject, ("D-bob", "U-bob"), "I like rum")
        .await?;
    subject.memory.catch_up(tenant).await?;
    let shop = office
        .say(subject, ("#shop", "U-ann"), "I like milk")
        .await?;
    subject.memory.catch_up(tenant).await?;
    let own = own(&ann);
    let good = || fact("Ann likes tea", own, &ann, "I like tea");
    let mut without = good();
    without.sources.clear();
    let mut empty = good();
    empty.text = " ".into();
    let mut nowhere = good();
    nowhere.sources[0].index += 100;
    let two = |owner| {
        let mut new = fact("Ann likes milk", owner, &shop, "I like milk");
        new.sources.extend(good().sources);
        new
    };
    let other = office.other();
    for (new, tenant, field, what) in [
        (without, tenant, "sources", "no source"),
        (empty, tenant, "text", "no text"),
        (nowhere, tenant, "sources[0]", "a source that is not there"),
        (
            fact("Ann likes rum", own, &ann, "I like rum"),
            tenant,
            "sources[0].quote",
            "a quote that does not stand there",
        ),
        (fact("", own, &ann, ""), tenant, "text", "nothing at all"),
        (
            fact("Bob likes rum", own, &bob, "I like rum"),
            tenant,
            "sources[0]",
            "a source of somebody else",
        ),
        (
            two(FactOwner::Channel),
            tenant,
            "sources[1]",
            "a private source for a channel",
        ),
        (
            two(FactOwner::Conversation),
            tenant,
            "sources[1]",
            "a source of another conversation",
        ),
        (good(), other.tenant, "sources[0]", "a foreign source"),
    ] {
        let refused = subject.memory.remember(tenant, new).await;
        let error = refused
            .err()
            .ok_or(format!("a fact with {what} was taken"))?;
        ensure_eq!(error.kind(), ErrorKind::InvalidInput, "{what}");
        ensure!(
            error.to_string().contains(field),
            "{what}: the error does not name {field}: {error}"
        );
    }
    let audience = Audience::Person { person: ann.person };
    let hits = office
        .recall(subject, &audience, Scope::FACTS, "Ann likes tea rum Bob")
        .await?;
    ensure!(hits.is_empty(), "a refused fact is recalled: {hits:?}");
    subject.memory.remember(tenant, good()).await?;
    Ok(())
}

pub(super) async fn summaries_roll_on(subject: &MemorySubject) -> Outcome {
    let office = Office::new();
    let line = office
        .say(subject, ("D-ann", "U-ann"), "a long story")
        .await?;
    let mark = subject.memory.mark(office.tenant).await?;
    let summary = |to, text: &str| NewSummary {
        conversation: line.conversation,
        to,
        text: text.into(),
        persons: vec![line.person],
        mark,
    };
    let read = async || {
        let kept = subject
            .memory
            .summary(office.tenant, line.conversation)
            .await?;
        Ok::<_, crate::Error>(kept.map(|kept| (kept.to, kept.text)))
    };
    ensure_eq!(read().await?, None, "a summary of nothing");
    for (to, text, stored, kept) in [
        (1, "short", true, (1, "short")),
        (1, "again", false, (1, "short")),
        (2, "longer", true, (2, "longer")),
        (1, "back", false, (2, "longer")),
    ] {
        let put = subject
            .memory
            .put_summary(office.tenant, summary(to, text))
            .await?;
        ensure_eq!(put, stored, "whether {text} was stored");
        ensure_eq!(
            read().await?,
            Some((kept.0, kept.1.to_owned())),
            "the summary after {text}"
        );
    }
    let foreign = subject
        .memory
        .summary(office.other().tenant, line.conversation)
        .await?;
    ensure_eq!(foreign, None, "a foreign summary");
    Ok(())
}
