//! Rate limits: a message beyond a limit waits, or its sender gets one notice, and it is answered later.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    Clock as _, Employee, Error, LocalDirectory, TenantId, async_trait,
    channel::Find,
    directory::Directory as _,
    employee::Phrases,
    limit::{
        Decision, LimitKey, LimitScope, LocalLimiter, PlanRates, Quota, Rate, RateLimiter,
        RateLimits,
    },
    message::ActorKind,
    testkit::{ScriptedAnswer, ScriptedModel, message},
    turn::{Action, DriverStats, Entry, Event, FallbackReason, Outcome, WaitReason, Worker},
};

use crate::office::{Office, says};

/// One minute.
const MINUTE: Duration = Duration::from_secs(60);

fn office(model: ScriptedModel, change: impl FnOnce(&mut RateLimits)) -> Office {
    let rates = RateLimits::NONE.with(change);
    Office::with(Find::Query, model, |ava| {
        let busy = Phrases::default().with(|it| it.busy = "Later.".into());
        ava.rates(rates).phrases(busy)
    })
}

/// A worker with the limiter of a process.
struct Process(Worker, Arc<DriverStats>);

impl Process {
    fn new(office: &Office) -> Self {
        let limiter = LocalLimiter::new(Arc::new(office.clock.clone()));
        Self::with(office, limiter)
    }

    fn with(office: &Office, limiter: impl RateLimiter) -> Self {
        let driver = office.driver().with_limiter(Arc::new(limiter));
        let stats = Arc::clone(driver.stats());
        Self(Worker::new(driver), stats)
    }

    async fn work(&self) {
        self.0.run_until_idle().await.unwrap();
    }

    /// Works until nothing waits. Returns how long that took, in virtual time.
    async fn settle(&self, office: &Office) -> Duration {
        let from = office.clock.now();
        for _ in 0..5_000 {
            self.work().await;
            match office.next_due().await {
                Some(due) => office.clock.advance_to(due),
                None => return office.clock.now().since(from),
            }
        }
        panic!("the conversations are never finished");
    }

    fn limited(&self) -> u64 {
        self.1.limited.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_waits_and_keeps_its_order() {
    let office = office(says("Hi."), |it| {
        it.turns.conversation = Some(Rate::new(1, 10));
    });
    let process = Process::new(&office);
    office.say("P1", "e1", "one").await;
    process.work().await;
    office.say("P1", "e2", "two").await;
    process.work().await;
    office.clock.advance(Duration::from_secs(4));
    office.say("P1", "e3", "three").await;
    process.work().await;
    assert_eq!(
        office.world.texts(),
        ["Hi."],
        "no notice within the patience"
    );
    // Another conversation is not delayed.
    office.say("P2", "f1", "other").await;
    process.work().await;
    assert_eq!(office.world.texts().len(), 2);
    // The wait survives a restart, and holds no worker.
    let restarted = Process::new(&office);
    assert_eq!(restarted.settle(&office).await, Duration::from_secs(6));
    assert_eq!(office.world.texts(), ["Hi."; 3]);
    let shown = format!("{:?}", office.model.calls().last().unwrap().1.messages);
    assert!(shown.find("two") < shown.find("three"), "{shown}");
    office.replays().await;
}

#[tokio::test]
async fn a_long_wait_gets_one_notice_and_an_answer() {
    let office = office(says("Hi."), |it| {
        it.turns.person = Some(Rate::new(2, 120));
        it.notice_secs = 900;
    });
    let process = Process::new(&office);
    for n in 0..6 {
        office
            .say("P1", &format!("e{n}"), &format!("question {n}"))
            .await;
        process.work().await;
    }
    assert_eq!(office.world.texts(), ["Hi.", "Hi.", "Later."]);
    process.settle(&office).await;
    let texts = office.world.texts();
    assert_eq!(
        texts.iter().filter(|it| *it == "Later.").count(),
        1,
        "{texts:?}"
    );
    assert_eq!(texts.last().unwrap(), "Hi.");
    let shown = format!("{:?}", office.model.calls().last().unwrap().1.messages);
    for n in 0..6 {
        assert!(shown.contains(&format!("question {n}")), "{n} in {shown}");
    }
    assert!(office.items().await.is_empty(), "the question was answered");
    let busy = Outcome::Replied {
        parts: 1,
        fallback: Some(FallbackReason::Busy),
    };
    let outcomes = office.outcomes().await;
    assert_eq!(outcomes.iter().filter(|it| **it == busy).count(), 1);
    office.replays().await;
}

#[tokio::test]
async fn another_notice_is_possible_after_the_window() {
    let office = office(says("Hi."), |it| {
        it.turns.conversation = Some(Rate::new(1, 120));
        it.notice_secs = 300;
    });
    let process = Process::new(&office);
    let notices = || {
        let texts = office.world.texts();
        texts.iter().filter(|it| *it == "Later.").count()
    };
    for (n, expected) in [(0, 0), (1, 1), (2, 1)] {
        office.say("P1", &format!("e{n}"), "hello").await;
        process.work().await;
        assert_eq!(notices(), expected, "{n}");
    }
    process.settle(&office).await;
    office.clock.advance(Duration::from_secs(300));
    for (n, expected) in [(3, 1), (4, 2), (5, 2)] {
        office.say("P1", &format!("e{n}"), "hello").await;
        process.work().await;
        assert_eq!(notices(), expected, "{n}");
    }
    process.settle(&office).await;
    assert_eq!(notices(), 2);
    assert!(office.items().await.is_empty());
    office.replays().await;
}

#[tokio::test]
async fn a_bot_gets_no_notice() {
    let office = office(says("Hi."), |it| {
        it.turns.conversation = Some(Rate::new(1, 120));
    });
    let process = Process::new(&office);
    for id in ["e1", "e2"] {
        let mut event = message("P1", id, "beep", office.clock.now());
        event.sender.kind = ActorKind::Bot;
        office.accept(event).await;
        process.work().await;
    }
    assert_eq!(office.world.texts(), ["Hi."]);
    process.settle(&office).await;
    assert_eq!(office.world.texts(), ["Hi.", "Hi."]);
}

/// The limit that delays the second of two conversations.
#[tokio::test]
async fn every_scope_is_checked() {
    let check = async |scope: LimitScope, change: fn(&mut RateLimits), second: &str| {
        let office = office(says("Hi."), |it| {
            it.patience_secs = 0;
            change(it);
        });
        let process = Process::new(&office);
        office.say("P1", "e1", "hello").await;
        process.work().await;
        office.say(second, "e2", "hello").await;
        process.work().await;
        assert_eq!(office.world.texts().len(), 2, "{scope:?}");
        let records = office.turns().await.concat();
        let found: Vec<_> = records
            .iter()
            .filter_map(|record| match &record.entry {
                Entry::Event(Event::Started(started)) => started.limited,
                Entry::Event(Event::CallLimited { limited, .. }) => Some(*limited),
                _ => None,
            })
            .collect();
        assert_eq!(found.iter().map(|it| it.scope).collect::<Vec<_>>(), [scope]);
        assert!(found[0].until >= office.clock.now() + MINUTE, "{found:?}");
        process.settle(&office).await;
        assert_eq!(office.world.texts().len(), 3, "{scope:?}");
        office.replays().await;
    };
    const ONE: Option<Rate> = Some(Rate::new(1, 60));
    check(LimitScope::Person, |it| it.turns.person = ONE, "P1").await;
    check(
        LimitScope::Conversation,
        |it| it.turns.conversation = ONE,
        "P1",
    )
    .await;
    check(LimitScope::Channel, |it| it.turns.channel = ONE, "P2").await;
    check(LimitScope::Tenant, |it| it.turns.tenant = ONE, "P2").await;
    check(LimitScope::Person, |it| it.model_calls.person = ONE, "P1").await;
    check(
        LimitScope::Conversation,
        |it| it.model_calls.conversation = ONE,
        "P1",
    )
    .await;
    check(LimitScope::Channel, |it| it.model_calls.channel = ONE, "P2").await;
    check(LimitScope::Tenant, |it| it.model_calls.tenant = ONE, "P2").await;
}

#[tokio::test]
async fn a_limited_model_call_waits_in_its_turn() {
    // The first call requests a tool, so the turn is not given up.
    let model = ScriptedModel::new(|request| match request.messages.last() {
        Some(last) if last.role == konstruct_core::llm::Role::Tool => ScriptedAnswer::text("Done."),
        _ => ScriptedAnswer::tools(&["look"]),
    });
    let rates = RateLimits::NONE.with(|it| it.model_calls.tenant = Some(Rate::new(1, 60)));
    let office = Office::with(Find::Query, model, |ava| ava.tool("look").rates(rates));
    let process = Process::new(&office);
    office.say("P1", "e1", "look").await;
    process.work().await;
    assert_eq!(process.limited(), 1);
    assert!(office.world.texts().is_empty());
    let records = office.turns().await.concat();
    let wait = records.iter().find_map(|record| match &record.entry {
        Entry::Action(Action::Wait { reason, .. }) => Some(*reason),
        _ => None,
    });
    assert_eq!(wait, Some(WaitReason::RateLimit));
    let restarted = Process::new(&office);
    restarted.settle(&office).await;
    assert_eq!(office.world.texts(), ["Done."]);
    assert_eq!(office.model.calls().len(), 2, "no call was made twice");
    let keys: Vec<_> = office
        .model
        .calls()
        .iter()
        .map(|call| call.0.clone())
        .collect();
    assert_ne!(keys[0], keys[1]);
    office.replays().await;
}

#[tokio::test]
async fn many_conversations_at_a_limit_are_checked_a_few_times_each() {
    let office = office(says("Hi."), |it| {
        it.turns.channel = Some(Rate::new(10, 10));
        it.patience_secs = 3_600;
    });
    let process = Process::new(&office);
    for n in 0..200 {
        office
            .say(&format!("P{n}"), &format!("e{n}"), "hello")
            .await;
    }
    let took = process.settle(&office).await;
    assert_eq!(office.world.texts().len(), 200);
    assert!(took >= Duration::from_secs(190), "{took:?}");
    assert!(took <= Duration::from_secs(260), "{took:?}");
    let checks = process.limited();
    assert!(checks < 200 * 20, "{checks} checks of 200 conversations");
}

#[derive(Debug)]
struct Broken;

#[async_trait]
impl RateLimiter for Broken {
    async fn check(&self, _: &[(LimitKey, Quota)]) -> Result<Decision, Error> {
        Err(Error::internal("no storage"))
    }
}

#[tokio::test]
async fn a_limiter_that_fails_allows_everything() {
    let office = office(says("Hi."), |it| it.turns.person = Some(Rate::new(1, 60)));
    let process = Process::with(&office, Broken);
    for id in ["e1", "e2"] {
        office.say("P1", id, "hello").await;
        process.work().await;
    }
    assert_eq!(office.world.texts(), ["Hi.", "Hi."]);
}

#[tokio::test]
async fn the_plan_limits_a_tenant_in_addition_to_the_employee() {
    let directory = LocalDirectory::new(says("Hi."));
    let tenant = TenantId::new();
    directory
        .hire(tenant, Employee::builder("Ava").build().unwrap())
        .unwrap();
    let plan = PlanRates {
        turns: Some(Rate::new(1, 60)),
        model_calls: None,
    };
    directory.set_plan(tenant, plan).unwrap();
    assert_eq!(directory.staff(tenant, None).await.unwrap().plan, plan);
    let none = PlanRates {
        turns: Some(Rate::new(1, 0)),
        model_calls: None,
    };
    let error = directory.set_plan(tenant, none).unwrap_err();
    assert_eq!(error.message(), "plan.turns.per_secs: must be 1 to 86400");
}

#[test]
fn settings_are_validated_and_read_from_json() {
    let check = |change: fn(&mut RateLimits), expected: &str| {
        let rates = RateLimits::default().with(change);
        let built: Result<Employee, Error> = Employee::builder("Ava").rates(rates).build();
        assert_eq!(built.unwrap_err().message(), expected);
    };
    check(
        |it| it.turns.channel = Some(Rate::new(0, 60)),
        "rates.turns.channel.count: must be 1 to 1000000",
    );
    check(
        |it| it.model_calls.tenant = Some(Rate::new(1, 86_401)),
        "rates.model_calls.tenant.per_secs: must be 1 to 86400",
    );
    check(
        |it| it.patience_secs = 3_601,
        "rates.patience_secs: must be at most 3600",
    );
    check(
        |it| it.notice_secs = 59,
        "rates.notice_secs: must be 60 to 86400",
    );
    let read: RateLimits = serde_json::from_str(r#"{"turns":{"person":null}}"#).unwrap();
    let expected = RateLimits::default().with(|it| it.turns.person = None);
    assert_eq!(read, expected);
}
