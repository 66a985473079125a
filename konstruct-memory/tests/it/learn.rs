//! Learning with a scripted model, on the reference memory.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use konstruct_core::{
    Audience, Clock as _, ConnectionId, Employee, Inbound, MemoryStore as _, NanoUsd, PersonId,
    Recall, TenantId, Timestamp,
    channel::Find,
    employee::TurnLimits,
    learn::{LearnReport, Learner},
    limit::BudgetSum,
    llm::ModelRequest,
    memory::{FactStore as _, Facts, Scope, SummaryStore as _},
    message::{Body, Content, RoutedEvent},
    store::{Archive as _, Exported, History as _, Mailbox as _},
    testkit::{
        ScriptedAnswer, ScriptedChannel, ScriptedDirectory, ScriptedModel, VirtualClock, World,
        message,
    },
    tool::Toolbox,
    turn::{Driver, Worker},
};
use konstruct_memory::Oracle;

struct Office {
    clock: VirtualClock,
    store: Oracle,
    directory: ScriptedDirectory,
    model: ScriptedModel,
    tenant: TenantId,
    connection: ConnectionId,
}

/// Builds an employee whose model answers turns and notes facts. `notes` answers the requests for facts.
fn office(notes: impl Fn(&str) -> String + Send + Sync + 'static, cap: Option<NanoUsd>) -> Office {
    let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
    let store = Oracle::new(Arc::new(clock.clone()), None).unwrap();
    let model = ScriptedModel::new(move |request: &ModelRequest| {
        let said = request.messages.iter().flat_map(|message| &message.parts);
        let said: String = said.map(|part| format!("{part:?}")).collect();
        if request.system.starts_with("You read what people wrote") {
            ScriptedAnswer::text(notes(&said))
        } else if request.system.starts_with("You keep the notes") {
            ScriptedAnswer::text(format!("notes of {} signs", said.len()))
        } else {
            ScriptedAnswer::text("SECRET-OF-THE-EMPLOYEE")
        }
    });
    let directory = ScriptedDirectory::default();
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let mut employee = Employee::builder("Ava").limits(TurnLimits::default().with(|it| {
        it.burst_ms = 0;
        it.window_messages = 6;
    }));
    if let Some(cap) = cap {
        employee = employee.monthly_cap(cap);
    }
    let tools = Toolbox::builder().build().unwrap();
    directory.hire(
        tenant,
        employee.build().unwrap(),
        Arc::new(model.clone()),
        tools,
    );
    let channel = ScriptedChannel::new(World::default(), Arc::new(clock.clone()), Find::Query);
    directory.connect(tenant, connection, channel);
    Office {
        clock,
        store,
        directory,
        model,
        tenant,
        connection,
    }
}

impl Office {
    async fn say(&self, id: &str, text: &str) {
        self.clock.advance(std::time::Duration::from_secs(60));
        self.happen(message("P1", id, text, self.clock.now())).await;
    }

    /// The person edits or deletes a message.
    async fn change(&self, id: &str, body: Body) {
        self.clock.advance(std::time::Duration::from_secs(60));
        let mut event = message("P1", id, "", self.clock.now());
        event.body = body;
        self.happen(event).await;
    }

    async fn happen(&self, event: Inbound) {
        let routed = RoutedEvent {
            connection: self.connection,
            event,
        };
        self.store.accept(self.tenant, vec![routed]).await.unwrap();
        let driver = Driver::new(
            Arc::new(self.store.clone()),
            Arc::new(self.directory.clone()),
            Some(Arc::new(self.store.clone())),
            Arc::new(self.clock.clone()),
        );
        Worker::new(driver).run_until_idle().await.unwrap();
        self.store.catch_up(self.tenant).await.unwrap();
    }

    async fn learn(&self, every: u32) -> konstruct_core::Result<LearnReport> {
        let conversations = self.store.list(self.tenant, None, 9).await?;
        let learner = Learner::new(
            Arc::new(self.store.clone()),
            Arc::new(self.store.clone()),
            Arc::new(self.directory.clone()),
        );
        learner
            .with_every(every)
            .learn(self.tenant, conversations[0].id)
            .await
    }

    async fn person(&self) -> PersonId {
        let conversations = self.store.list(self.tenant, None, 9).await.unwrap();
        let log = self.store.read(self.tenant, conversations[0].id, 0..1);
        let first = log.await.unwrap()[0].record.clone().unwrap();
        *first.persons.iter().next().unwrap()
    }

    async fn facts(&self) -> Vec<String> {
        let query = Facts {
            audience: Audience::Person {
                person: self.person().await,
            },
            about: None,
            as_of: None,
        };
        let facts = self.store.facts(self.tenant, query).await.unwrap();
        facts.into_iter().map(|fact| fact.text).collect()
    }
}

fn fact(message: u32, quote: &str, fact: &str, topic: &str) -> String {
    serde_json::json!({"facts": [{"message": message, "quote": quote, "fact": fact, "topic": topic}]})
        .to_string()
}

#[tokio::test]
async fn facts_are_learned_and_superseded_only_from_what_people_said() {
    let office = office(
        |said| {
            assert!(
                !said.contains("SECRET-OF-THE-EMPLOYEE"),
                "the employee's words are shown to the model that looks for facts"
            );
            if said.contains("Nice") {
                fact(1, "moved to Nice", "The person lives in Nice", "Home city")
            } else {
                fact(
                    1,
                    "i live in Lyon",
                    "The person lives in Lyon",
                    "home  city",
                )
            }
        },
        None,
    );
    office.say("1", "I live in Lyon").await;
    assert_eq!(
        office.learn(8).await.unwrap(),
        LearnReport::default(),
        "too few"
    );
    let learned = office.learn(1).await.unwrap();
    assert_eq!(
        (learned.messages, learned.facts, learned.refused),
        (2, 1, 0)
    );
    assert_eq!(office.facts().await, ["The person lives in Lyon"]);
    assert_eq!(
        office.learn(1).await.unwrap(),
        LearnReport::default(),
        "nothing new"
    );
    office.say("2", "I moved to Nice").await;
    assert_eq!(office.learn(1).await.unwrap().facts, 1);
    assert_eq!(office.facts().await, ["The person lives in Nice"]);
    let query = Recall::new(
        "where does the person live",
        Audience::Person {
            person: office.person().await,
        },
        Scope::FACTS,
    );
    let hits = office.store.recall(office.tenant, query).await.unwrap();
    assert_eq!(hits.len(), 1, "{hits:?}");
    // Known facts are shown with the next question.
    office.say("3", "where do I live?").await;
    let asked = office.model.calls().pop().unwrap().1;
    assert!(
        asked.context.contains("The person lives in Nice"),
        "{}",
        asked.context
    );
}

#[tokio::test]
async fn edited_and_deleted_messages_are_not_learned() {
    // An edit and a deletion, before the first learning pass and after it.
    for learned_before in [false, true] {
        let office = office(
            |said| {
                let wrong = ["Lyon", "7 bikes"].iter().any(|word| said.contains(word));
                if said.contains("Nice") {
                    assert!(!wrong, "what was changed is shown: {said}");
                    fact(1, "I live in Nice", "The person lives in Nice", "home city")
                } else {
                    r#"{"facts": []}"#.to_owned()
                }
            },
            None,
        );
        office.say("m1", "I live in Lyon").await;
        office.say("m2", "I have 7 bikes").await;
        if learned_before {
            office.learn(1).await.unwrap();
        }
        let edited = Body::Edited {
            message: "m1".into(),
            content: Content::text("I live in Nice"),
        };
        office.change("e1", edited).await;
        let deleted = Body::Deleted {
            message: "m2".into(),
        };
        office.change("e2", deleted).await;
        // Answered, so that a turn ends.
        office.say("m3", "Thanks").await;
        office.learn(1).await.unwrap();
        assert_eq!(office.facts().await, ["The person lives in Nice"]);
    }
}

#[tokio::test]
async fn a_late_summary_omits_deleted_messages() {
    let office = office(|_| r#"{"facts": []}"#.to_owned(), None);
    office.say("m0", "my secret is 4711").await;
    // Looked at, but still in the window: there is no summary yet.
    assert!(!office.learn(1).await.unwrap().summarised);
    let message = "m0".into();
    office.change("e0", Body::Deleted { message }).await;
    for n in 1..5 {
        office.say(&format!("m{n}"), "part of a story").await;
    }
    assert!(office.learn(1).await.unwrap().summarised);
    let calls = office.model.calls();
    let notes = |request: &ModelRequest| request.system.starts_with("You keep the notes");
    let (_, asked) = calls.iter().find(|(_, request)| notes(request)).unwrap();
    assert!(!format!("{asked:?}").contains("4711"), "{asked:?}");
}

#[tokio::test]
async fn facts_that_a_model_makes_up_are_refused() {
    for made_up in [
        fact(1, "I live in Paris", "The person lives in Paris", "home"),
        fact(7, "I live in Lyon", "The person lives in Lyon", "home"),
        fact(1, "", "The person lives in Lyon", "home"),
        fact(1, "I live in Lyon", "", "home"),
        "nothing to note".to_owned(),
    ] {
        let office = office(move |_| made_up.clone(), None);
        office.say("1", "I live in Lyon").await;
        let learned = office.learn(1).await.unwrap();
        assert_eq!((learned.facts, learned.refused), (0, 1));
        assert!(office.facts().await.is_empty());
    }
}

#[tokio::test]
async fn messages_outside_the_window_are_summarised() {
    let office = office(|_| r#"{"facts": []}"#.to_owned(), None);
    for n in 0..3 {
        office
            .say(&n.to_string(), &format!("part {n} of a story"))
            .await;
        assert!(
            !office.learn(1).await.unwrap().summarised,
            "the window holds {n}"
        );
    }
    office.say("3", "part 3 of a story").await;
    assert!(office.learn(1).await.unwrap().summarised);
    let conversation = office.store.list(office.tenant, None, 9).await.unwrap()[0].id;
    let kept = office
        .store
        .summary(office.tenant, conversation)
        .await
        .unwrap()
        .unwrap();
    assert!(kept.text.starts_with("notes of"), "{kept:?}");
    office.say("4", "part 4").await;
    let asked = office.model.calls().pop().unwrap().1;
    assert!(asked.context.contains(&kept.text), "{}", asked.context);
}

#[tokio::test]
async fn learning_is_paid_for_and_kept_under_the_cap() {
    for (cap, learned) in [(None, true), (Some(NanoUsd(1)), false)] {
        let office = office(|_| r#"{"facts": []}"#.to_owned(), cap);
        office.say("1", "I live in Lyon").await;
        assert_eq!(office.learn(1).await.is_ok(), learned, "cap {cap:?}");
        let exported = office.store.export(office.tenant).await.unwrap();
        let exported: Vec<Exported> = exported.try_collect().await.unwrap();
        let rows = exported
            .iter()
            .filter(|item| matches!(item, Exported::Ledger(row) if row.call.contains(".facts.")));
        assert_eq!(rows.count(), usize::from(learned), "rows of the ledger");
        for item in &exported {
            if let Exported::Budget(BudgetSum { sum, .. }) = item {
                assert_eq!(sum.reserved, NanoUsd(0), "reserved");
            }
        }
    }
}
