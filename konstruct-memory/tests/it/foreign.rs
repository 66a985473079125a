//! An employee with a memory that is separate from its store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use konstruct_core::text::terms;
use konstruct_core::{
    AccountId, Audience, ChannelKind, Clock as _, ConversationRef, Depth, Document, DocumentFormat,
    Employee, Erase, Hit, Inbound, MemoryStore as _, NewDocument, PersonId, Recall, Result,
    TenantId, Timestamp, Workforce,
    channel::Find,
    employee::TurnLimits,
    llm::ModelRequest,
    memory::{
        Candidate, ChannelRef, FactOwner, FactStore as _, Facts, KnowledgeStore as _, NewFact,
        PassageSearch, Question, Quote, ScanMemory, Scope, Section,
    },
    message::{Actor, Addressing, ConversationKind, IdKind},
    store::{Archive as _, History as _},
    testkit::{
        ReferenceItems, ScriptedAnswer, ScriptedChannel, ScriptedModel, VirtualClock, World,
        message,
    },
};
use konstruct_memory::Oracle;
use tokio::{sync::Notify, time::timeout};

/// A search that does not split documents, and finds passages that share a word with the question.
#[derive(Debug)]
struct Words;

#[async_trait]
impl PassageSearch for Words {
    fn read(&self, document: &NewDocument) -> Result<String> {
        Ok(String::from_utf8_lossy(&document.content).into_owned())
    }

    fn split(&self, _: &Document, text: &str) -> Vec<Section> {
        let text = text.to_owned();
        vec![Section {
            text,
            ..Section::default()
        }]
    }

    async fn rank(&self, question: Question<'_>, candidates: Vec<Candidate>) -> Result<Vec<Hit>> {
        let words = |text: &str| terms(question.language, text);
        let wanted = words(&question.recall.text);
        let shares = |hit: &Hit| words(&hit.text).iter().any(|word| wanted.contains(word));
        let hits = candidates
            .into_iter()
            .map(|candidate| candidate.hit.with(|it| it.coverage = 1.0));
        Ok(hits.filter(shares).take(question.limit).collect())
    }
}

struct App {
    clock: VirtualClock,
    /// The store of the conversations. Its own memory is unused.
    store: Oracle,
    memory: ScanMemory,
    model: ScriptedModel,
    /// Notified when the model is asked to learn.
    asked: Arc<Notify>,
    world: World,
    workforce: Workforce,
}

/// The most model calls of a test.
const MOST_CALLS: usize = 20;

/// Builds an app whose employee learns after each message, if at all.
fn app(learns: bool) -> App {
    let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
    let store = Oracle::new(Arc::new(clock.clone()), None).unwrap();
    let memory = ScanMemory::new(
        Arc::new(store.clone()),
        Arc::new(ReferenceItems::default()),
        Arc::new(Words),
        Arc::new(clock.clone()),
    );
    let asked = Arc::new(Notify::new());
    let learns_now = Arc::clone(&asked);
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let model = ScriptedModel::new(move |request: &ModelRequest| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(call < MOST_CALLS, "too many model calls");
        if request.system.starts_with("You read what people wrote") {
            learns_now.notify_one();
            ScriptedAnswer::text(
                r#"{"facts": [{"message": 1, "quote": "I ride a tandem", "fact": "Rides a tandem"}]}"#,
            )
        } else {
            ScriptedAnswer::text("I see.")
        }
    });
    let world = World::default();
    let channel = ScriptedChannel::new(world.clone(), Arc::new(clock.clone()), Find::Query);
    let limits = TurnLimits::default().with(|it| {
        it.burst_ms = 0;
        it.question_age_secs = 0;
    });
    let ava = Employee::builder("Ava").limits(limits).build().unwrap();
    let mut builder = Workforce::builder(store.clone())
        .memory(memory.clone())
        .clock(clock.clone())
        .model(model.clone())
        .channel("account", channel)
        .hire(ava);
    if learns {
        builder = builder.learn_every(1);
    }
    let workforce = builder.build().unwrap();
    App {
        clock,
        store,
        memory,
        model,
        asked,
        world,
        workforce,
    }
}

impl App {
    fn tenant(&self) -> TenantId {
        self.workforce.tenant()
    }

    async fn happens(&self, event: Inbound) {
        let kind = ChannelKind::new("scripted");
        let event = event.on(kind, AccountId("account".into()));
        self.workforce.accept(event).await.unwrap();
        self.workforce.run_until_idle().await.unwrap();
        self.store.catch_up(self.tenant()).await.unwrap();
    }

    /// A person writes to the employee in a channel.
    async fn says(&self, person: &str, id: &str, text: &str) {
        let place = ConversationRef {
            kind: ConversationKind::Channel,
            ..ConversationRef::direct("C1")
        };
        let addressed = Addressing {
            mention: true,
            ..Addressing::default()
        };
        let event = message("C1", id, text, self.clock.now())
            .in_conversation(place)
            .sent_by(Actor::human(IdKind::SlackUser, person))
            .addressed(addressed);
        self.happens(event).await;
    }

    /// Returns the context of the last model call.
    fn shown(&self) -> String {
        format!("{:?}", self.model.calls().pop().unwrap().1)
    }

    /// Returns the person of the first message, its quote, and the channel.
    async fn first(&self) -> (PersonId, Quote, ChannelRef) {
        let listed = self.workforce.conversations(None, 9).await.unwrap();
        let summary = &listed[listed.len() - 1];
        let log = self.workforce.transcript(summary.id, 0..99).await.unwrap();
        let said = log.iter().find_map(|stored| {
            let said = konstruct_core::turn::spoken_message(stored.record.as_ref()?)?;
            Some((stored.index, said))
        });
        let (index, said) = said.unwrap();
        let quote = Quote {
            conversation: summary.id,
            index,
            quote: said.text,
        };
        let channel = ChannelRef::of(summary.connection, summary.place.as_ref().unwrap());
        (said.speaker.unwrap(), quote, channel)
    }
}

async fn facts(memory: &dyn konstruct_core::MemoryStore, app: &App, who: Audience) -> Vec<String> {
    let query = Facts {
        audience: who,
        about: None,
        as_of: None,
    };
    let facts = memory.facts(app.tenant(), query).await.unwrap();
    facts.into_iter().map(|fact| fact.text).collect()
}

#[tokio::test]
async fn a_turn_recalls_from_the_memory_that_it_was_given() {
    let app = app(false);
    let document = |text: &str| NewDocument::new("Hours", DocumentFormat::Text, text);
    let taught = app.workforce.teach(document("We open at nine.")).await;
    taught.unwrap();
    assert!(app.store.documents(app.tenant()).await.unwrap().is_empty());
    let other = document("We open at noon.");
    app.store.put_document(app.tenant(), other).await.unwrap();
    let asks = message("P1", "1", "When do you open?", app.clock.now());
    app.happens(asks).await;
    assert_eq!(app.world.texts(), ["I see."]);
    assert!(app.shown().contains("at nine"), "{}", app.shown());
    assert!(!app.shown().contains("at noon"), "{}", app.shown());
}

#[tokio::test]
async fn learning_writes_to_it_and_forgetting_erases_from_both() {
    let app = app(true);
    let tells = message("P1", "1", "I ride a tandem", app.clock.now());
    app.happens(tells).await;
    let (person, quote, _) = app.first().await;
    let who = Audience::Person { person };
    assert_eq!(
        facts(&app.memory, &app, who.clone()).await,
        ["Rides a tandem"]
    );
    assert!(facts(&app.store, &app, who.clone()).await.is_empty());
    app.happens(message("P1", "2", "What do I ride?", app.clock.now()))
        .await;
    let calls = app.model.calls();
    let replies = |request: &&ModelRequest| request.system.starts_with("You are Ava");
    let shown = calls.iter().map(|(_, request)| request).rfind(replies);
    let shown = format!("{:?}", shown.unwrap());
    assert!(shown.contains("Rides a tandem"), "{shown}");

    let what = Erase::Person { person };
    let receipt = app.workforce.erase(what, Depth::Logical).await.unwrap();
    assert_eq!(receipt.facts, 1, "{receipt:?}");
    assert!(receipt.records > 0 && receipt.keys > 0, "{receipt:?}");
    assert!(facts(&app.memory, &app, who.clone()).await.is_empty());
    for memory in [
        &app.memory as &dyn konstruct_core::MemoryStore,
        &app.store as &dyn konstruct_core::MemoryStore,
    ] {
        let query = Recall::new("tandem", who.clone(), Scope::ALL);
        let found = memory.recall(app.tenant(), query).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
    }
    let log = app.store.read(app.tenant(), quote.conversation, 0..99);
    let log = log.await.unwrap();
    let left = log
        .iter()
        .filter_map(|stored| konstruct_core::turn::spoken_message(stored.record.as_ref()?));
    assert_eq!(left.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_workforce_learns_and_finishes_at_shutdown() {
    let app = app(true);
    let kind = ChannelKind::new("scripted");
    let tells = message("P1", "1", "I ride a tandem", app.clock.now());
    let tells = tells.on(kind, AccountId("account".into()));
    app.workforce.accept(tells).await.unwrap();
    // In virtual time: as soon as everything else is idle.
    let asked = timeout(Duration::from_secs(3_600), app.asked.notified());
    let shutdown = async { asked.await.unwrap() };
    app.workforce.clone().run(shutdown).await;
    let (person, ..) = app.first().await;
    let who = Audience::Person { person };
    assert_eq!(facts(&app.memory, &app, who).await, ["Rides a tandem"]);
}

/// After the erasure from the store, and before that from the memory or after it failed.
#[tokio::test]
async fn facts_of_an_erased_person_are_not_used() {
    let app = app(false);
    app.says("U1", "1", "I ride a tandem").await;
    let (person, quote, channel) = app.first().await;
    let fact = NewFact::new("U1 rides a tandem", FactOwner::Channel, vec![quote]);
    let kept = app.memory.remember(app.tenant(), fact).await.unwrap();
    assert_eq!(kept.persons, [person]);
    let what = Erase::Person { person };
    app.store
        .erase(app.tenant(), what, Depth::Logical)
        .await
        .unwrap();
    let who = Audience::Channel { channel };
    assert_eq!(
        facts(&app.memory, &app, who).await,
        ["U1 rides a tandem"],
        "the memory has not forgotten it"
    );
    app.says("U2", "2", "Who rides a tandem?").await;
    assert_eq!(app.world.texts(), ["I see.", "I see."]);
    assert!(!app.shown().contains("U1 rides"), "{}", app.shown());
}
