//! The pool, in virtual time: routing, recovery after a break, and skipping after failures.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use konstruct_core::{
    ConversationId, Embedder, Error, ErrorKind, LlmBackend as _, NanoUsd, Result, TenantId,
    embed::{EmbedContext, EmbedKind},
    limit::{Budget, LocalBudget},
    llm::{
        Ability, BlockKind, CallContext, Finish, LlmBackendExt as _, ModelEvent, ModelInfo,
        ModelMessage, OnBreak, Part, Purpose, Role,
    },
    money::{Basis, Price, Rates, Usage},
};
use konstruct_llm::{
    Deployment, EmbedderPool, Pool,
    testkit::{Beat, Scripted, Trouble, begins, says},
};

use crate::{ask, call, tool};

const USAGE: Usage = Usage {
    input: 10,
    output: 5,
    cache_read: 0,
    cache_write_5m: 0,
    cache_write_1h: 0,
    reasoning: 0,
};

fn info(model: &str) -> ModelInfo {
    ModelInfo::new("scripted", model)
        .with_price(Price::from(Rates::flat(1_000_000_000, 2_000_000_000)))
}

/// A deployment with the same behaviour for every call.
fn always(name: &str, beats: Vec<Beat>) -> Scripted {
    Scripted::new(info(name), move |_, _| beats.clone())
}

fn fine(name: &str) -> Scripted {
    always(name, says(&format!("{name} is here."), Some(USAGE)))
}

fn refuses(name: &str, trouble: impl Into<Trouble>) -> Scripted {
    always(name, vec![Beat::Refuse(trouble.into())])
}

/// A primary deployment with one fallback.
fn pair(primary: &Scripted, backup: &Scripted) -> Pool {
    Pool::builder()
        .deployment(Deployment::new("primary", primary.clone()))
        .deployment(Deployment::new("backup", backup.clone()).fallback(1))
        .build()
        .unwrap()
}

fn asked(model: &Scripted) -> usize {
    model.requests().len()
}

async fn text(pool: &Pool) -> Result<String> {
    Ok(pool.complete(ask("Hi"), &call()).await?.text())
}

#[tokio::test(start_paused = true)]
async fn before_the_first_content_another_deployment_takes_over() {
    let broken = |kind: ErrorKind| {
        let mut beats = begins("");
        beats.truncate(2);
        beats.push(Beat::Break(kind.into()));
        beats
    };
    for (what, beats) in [
        ("500", vec![Beat::Refuse(ErrorKind::Unavailable.into())]),
        ("401", vec![Beat::Refuse(ErrorKind::Unauthorized.into())]),
        ("404", vec![Beat::Refuse(ErrorKind::NotFound.into())]),
        (
            "quota",
            vec![Beat::Refuse(ErrorKind::QuotaExhausted.into())],
        ),
        ("429", vec![Beat::Refuse(ErrorKind::RateLimited.into())]),
        ("html", vec![Beat::Refuse(ErrorKind::Protocol.into())]),
        ("first event", broken(ErrorKind::Unavailable)),
        ("cut", broken(ErrorKind::Truncated)),
        ("malformed", broken(ErrorKind::Protocol)),
        ("clean end", vec![Beat::End]),
    ] {
        let (primary, backup) = (always("primary", beats), fine("backup"));
        let started = tokio::time::Instant::now();
        let answer = pair(&primary, &backup)
            .complete(ask("Hi"), &call())
            .await
            .unwrap();
        assert_eq!(answer.text(), "backup is here.", "{what}");
        assert_eq!(answer.finish, Finish::Stop);
        assert_eq!((asked(&primary), asked(&backup)), (1, 1), "{what}");
        assert_eq!(started.elapsed(), Duration::ZERO, "{what}: nobody waits");
    }
}

/// A deployment on a server, with the same behaviour for every call.
fn at(server: &str, model: Vec<Beat>) -> Scripted {
    Scripted::new(info(server).with_server(server), move |_, _| model.clone())
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_is_tried_at_one_other_provider() {
    let refusal = |kind: ErrorKind| vec![Beat::Refuse(kind.into())];
    let says_so = || says("Answered.", Some(USAGE));
    // The deployments in order, each with its server and behaviour; then the expected number of calls, and the result.
    type Case<'a> = (
        &'a [(&'a str, Vec<Beat>)],
        &'a [usize],
        Result<(), ErrorKind>,
    );
    for kind in [ErrorKind::InvalidInput, ErrorKind::Unsupported] {
        let invalid = || refusal(kind);
        let down = || refusal(ErrorKind::QuotaExhausted);
        let cases: &[Case<'_>] = &[
            // An empty balance: the other provider answers.
            (&[("a", invalid()), ("b", says_so())], &[1, 1], Ok(())),
            // Two providers agree: the third is not tried.
            (
                &[("a", invalid()), ("b", invalid()), ("c", says_so())],
                &[1, 1, 0],
                Err(kind),
            ),
            // Other keys of the same provider are skipped if another provider is available.
            (
                &[("a", invalid()), ("a", says_so()), ("b", says_so())],
                &[1, 0, 1],
                Ok(()),
            ),
            // With only one provider, another key is tried.
            (
                &[("a", invalid()), ("a", says_so()), ("a", says_so())],
                &[1, 1, 0],
                Ok(()),
            ),
            // A provider with another error has not judged the request.
            (
                &[("a", invalid()), ("b", down()), ("c", says_so())],
                &[1, 1, 1],
                Ok(()),
            ),
            (&[("a", invalid())], &[1], Err(kind)),
        ];
        for (models, hits, expected) in cases {
            let models: Vec<Scripted> = models
                .iter()
                .map(|(server, beats)| at(server, beats.clone()))
                .collect();
            let pool = (0..)
                .zip(&models)
                .fold(Pool::builder(), |pool, (place, model)| {
                    let deployment = Deployment::new(format!("{place}"), model.clone());
                    pool.deployment(deployment.fallback(place))
                });
            let answer = text(&pool.build().unwrap()).await;
            let got: Vec<usize> = models.iter().map(asked).collect();
            assert_eq!(got, *hits, "{kind}: {answer:?}");
            let outcome = answer.map(drop).map_err(|error| error.kind());
            assert_eq!(outcome, *expected, "{kind} {hits:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_blamed_while_another_provider_cannot_be_asked() {
    let hour = Trouble {
        retry_after: Some(Duration::from_secs(3_600)),
        ..Trouble::from(ErrorKind::QuotaExhausted)
    };
    let sick = at("b", vec![Beat::Refuse(hour)]);
    let shared = Pool::builder()
        .deployment(Deployment::new("b", sick.clone()))
        .build()
        .unwrap();
    text(&shared).await.unwrap_err();
    let empty = at("a", vec![Beat::Refuse(ErrorKind::InvalidInput.into())]);
    let pool = shared.extend().deployment(Deployment::new("a", empty));
    let error = text(&pool.build().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.retry_after().is_some(), "{error}");
    assert_eq!(asked(&sick), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_too_long_for_all_fails() {
    let (primary, backup) = (refuses("primary", ErrorKind::TooLarge), fine("backup"));
    let error = text(&pair(&primary, &backup)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!((asked(&primary), asked(&backup)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_long_request_is_retried_only_with_a_larger_window() {
    let deployment = |name: &str, window, beats| {
        let info = info(name).with_context_window(window);
        Deployment::new(name, Scripted::new(info, move |_, _| Vec::clone(&beats)))
    };
    let full = || vec![Beat::Refuse(ErrorKind::TooLarge.into())];
    let pool = |other| {
        Pool::builder()
            .deployment(deployment("small", 8_000, full()))
            .deployment(deployment("other", other, says("It fits.", None)).fallback(1))
            .build()
            .unwrap()
    };
    assert_eq!(text(&pool(200_000)).await.unwrap(), "It fits.");
    let error = text(&pool(8_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_retried_only_if_that_can_help() {
    let check = async |trouble: Trouble, tries: usize, waited: Option<u64>| {
        let sick = Scripted::new(info("m"), move |number, _| {
            if number == 0 {
                vec![Beat::Refuse(trouble)]
            } else {
                says("Better.", None)
            }
        });
        let pool = Pool::builder()
            .deployment(Deployment::new("only", sick.clone()))
            .build()
            .unwrap();
        let started = tokio::time::Instant::now();
        let answer = text(&pool).await;
        assert_eq!(asked(&sick), tries, "{trouble:?}");
        assert_eq!(answer.is_ok(), tries == 2, "{trouble:?}");
        if let Some(waited) = waited {
            let elapsed = started.elapsed().as_millis();
            assert!(
                elapsed.abs_diff(u128::from(waited)) <= 2,
                "{trouble:?}: {elapsed}"
            );
        }
    };
    let with = |kind: ErrorKind, wait: Option<u64>, should_retry| Trouble {
        retry_after: wait.map(Duration::from_millis),
        should_retry,
        ..Trouble::from(kind)
    };
    check(with(ErrorKind::Unavailable, None, None), 2, None).await;
    check(with(ErrorKind::Unavailable, None, Some(false)), 1, None).await;
    check(
        with(ErrorKind::RateLimited, Some(6_000), None),
        2,
        Some(6_000),
    )
    .await;
    check(with(ErrorKind::RateLimited, Some(61_000), None), 1, Some(0)).await;
    check(
        with(ErrorKind::QuotaExhausted, Some(10), Some(true)),
        1,
        Some(0),
    )
    .await;
    check(with(ErrorKind::InvalidInput, None, Some(true)), 2, None).await;
    check(with(ErrorKind::Unauthorized, None, None), 1, Some(0)).await;
}

fn broken(text: &str) -> Scripted {
    let mut beats = begins(text);
    beats.push(Beat::Break(ErrorKind::Truncated.into()));
    always("primary", beats)
}

async fn events(pool: &Pool, on_break: OnBreak) -> Vec<Result<ModelEvent>> {
    let stream = pool.stream(ask("Hi"), &call().on_break(on_break)).await;
    stream.unwrap().collect().await
}

#[tokio::test(start_paused = true)]
async fn after_the_first_content_the_caller_decides() {
    let (primary, backup) = (broken("Half of "), fine("backup"));
    let pool = pair(&primary, &backup);
    let mut failed = events(&pool, OnBreak::Fail).await;
    let error = failed.pop().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert!(failed.iter().all(Result::is_ok));
    assert_eq!(asked(&backup), 0);

    let anew = events(&pool, OnBreak::Restart).await;
    assert_eq!(
        anew.iter()
            .filter(|event| matches!(event, Ok(ModelEvent::Restart)))
            .count(),
        1
    );
    let answer = pool
        .complete(ask("Hi"), &call().on_break(OnBreak::Restart))
        .await;
    assert_eq!(answer.unwrap().text(), "backup is here.");

    let on = Scripted::new(info("on"), |_, request| {
        assert_eq!(
            request.messages[1],
            ModelMessage::text(Role::Assistant, "Half of ")
        );
        assert_eq!(request.messages[2].role, Role::User);
        says("the whole.", Some(USAGE))
    });
    let pool = pair(&primary, &on);
    let answer = pool
        .complete(ask("Hi"), &call().on_break(OnBreak::Continue))
        .await;
    assert_eq!(answer.unwrap().text(), "Half of the whole.");
    well_formed(&events(&pool, OnBreak::Continue).await);
}

#[tokio::test(start_paused = true)]
async fn a_continued_answer_keeps_the_context_in_place() {
    let mut request = ask("Hi");
    request.context = "It is Sunday.".into();
    let told = request.clone().told();
    let first = told.messages[0].clone();
    let on = Scripted::new(info("on"), move |_, request| {
        assert_eq!(request.context, "");
        assert_eq!(request.messages[0], first);
        assert_eq!(request.messages.len(), 3);
        says("the whole.", Some(USAGE))
    });
    let pool = pair(&broken("Half of "), &on);
    let goes_on = call().on_break(OnBreak::Continue);
    let answer = pool.complete(request, &goes_on).await.unwrap();
    assert_eq!(answer.text(), "Half of the whole.");
}

/// Checks the contract of a stream that finishes.
fn well_formed(events: &[Result<ModelEvent>]) {
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    for (at, event) in events.iter().enumerate() {
        let last = at + 1 == events.len();
        match event.as_ref().unwrap() {
            ModelEvent::Start { .. } => assert_eq!(at, 0, "one start"),
            ModelEvent::BlockStart { index, .. } => {
                assert!(!seen.contains(index), "{index} begins twice");
                seen.push(*index);
                open.push(*index);
            }
            ModelEvent::BlockEnd { index } => {
                assert!(open.contains(index), "{index} is not open");
                open.retain(|open| open != index);
            }
            ModelEvent::Text { index, .. } => assert!(open.contains(index)),
            ModelEvent::Finish(_) => assert!(last && open.is_empty()),
            _ => {}
        }
        assert_eq!(last, matches!(event, Ok(ModelEvent::Finish(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_tool_call_is_not_continued() {
    let mut beats = begins("Let me see. ");
    let kind = BlockKind::ToolCall {
        id: "c1".into(),
        name: "look".into(),
    };
    beats.push(Beat::Yield(ModelEvent::BlockEnd { index: 0 }));
    beats.push(Beat::Yield(ModelEvent::BlockStart { index: 1, kind }));
    beats.push(Beat::Break(ErrorKind::Truncated.into()));
    let (primary, backup) = (always("primary", beats), fine("backup"));
    let pool = pair(&primary, &backup);
    let mut request = ask("Hi");
    request.tools = vec![tool("look")];
    let on = call().on_break(OnBreak::Continue);
    let error = pool.complete(request.clone(), &on).await.unwrap_err();
    assert_eq!((error.kind(), asked(&backup)), (ErrorKind::Truncated, 0));
    let anew = call().on_break(OnBreak::Restart);
    let answer = pool.complete(request, &anew).await.unwrap();
    assert_eq!(answer.text(), "backup is here.");
    assert_eq!(answer.tool_calls().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_timeout_ends_a_stall() {
    let hangs = |text: &str| {
        let mut beats = if text.is_empty() {
            vec![]
        } else {
            begins(text)
        };
        beats.push(Beat::Hang);
        always("primary", beats)
    };
    let check = async |primary: Scripted, within: u64| {
        let deployment = Deployment::new("primary", primary)
            .first_content(Duration::from_secs(3))
            .idle(Duration::from_secs(2));
        let pool = Pool::builder()
            .deployment(deployment)
            .deployment(Deployment::new("backup", fine("backup")).fallback(1))
            .build()
            .unwrap();
        let started = tokio::time::Instant::now();
        let answer = pool
            .complete(ask("Hi"), &call().on_break(OnBreak::Restart))
            .await;
        assert_eq!(answer.unwrap().text(), "backup is here.");
        let elapsed = started.elapsed().as_millis();
        assert!(
            elapsed.abs_diff(u128::from(within) * 1000) <= 2,
            "{elapsed}"
        );
    };
    check(hangs(""), 3).await;
    check(hangs("Half of "), 2).await;
    // Heartbeats do not extend the limit for the first content.
    let beat = || {
        [
            Beat::Wait(Duration::from_secs(1)),
            Beat::Yield(ModelEvent::Heartbeat),
        ]
    };
    let beats: Vec<Beat> = std::iter::repeat_with(beat).take(60).flatten().collect();
    check(always("primary", beats), 3).await;
    // All deployments together share the call's time.
    let pool = pair(&hangs(""), &hangs(""));
    let started = tokio::time::Instant::now();
    let error = text(&pool).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert!(started.elapsed() <= Duration::from_millis(20_002));
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_no_attempt_is_started_paid_or_blamed() {
    let hangs = |text: &str| {
        let mut beats = begins(text);
        beats.push(Beat::Hang);
        always("primary", beats)
    };
    // Before the first content, and in the middle of the answer.
    for primary in [hangs(""), hangs("Half an ")] {
        let backup = fine("backup");
        let budget = Arc::new(LocalBudget::new(None));
        let call = CallContext::new(TenantId::new(), "c", Duration::from_secs(1))
            .on_break(OnBreak::Restart)
            .with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        let pool = pair(&primary, &backup);
        let error = pool.complete(ask("Hi"), &call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert_eq!((asked(&primary), asked(&backup)), (1, 0));
        assert_eq!(budget.rows().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_may_take_as_long_as_it_takes() {
    let call = CallContext::new(TenantId::new(), "c", Duration::MAX);
    let pool = pair(&fine("primary"), &fine("backup"));
    let answer = pool.complete(ask("Hi"), &call).await.unwrap();
    assert_eq!(answer.text(), "primary is here.");
}

#[tokio::test(start_paused = true)]
async fn a_short_deadline_blames_no_deployment() {
    let ask_for = async |secs: u64| {
        let mut beats = begins("Half an ");
        beats.push(Beat::Hang);
        let (primary, backup) = (always("primary", beats), fine("backup"));
        let pool = pair(&primary, &backup);
        let call = CallContext::new(TenantId::new(), "c", Duration::from_secs(secs));
        for _ in 0..3 {
            pool.complete(ask("Hi"), &call).await.unwrap_err();
        }
        let later = CallContext::new(TenantId::new(), "c", Duration::from_secs(60));
        let _answer = pool.complete(ask("Hi"), &later).await;
        asked(&primary)
    };
    assert_eq!(ask_for(1).await, 4, "it is asked as before");
    assert_eq!(ask_for(9).await, 3, "its breaker is open");
}

#[tokio::test(start_paused = true)]
async fn zero_usage_counts_as_unknown() {
    let nothing = Usage::default();
    let no_output = Usage {
        input: 10,
        ..nothing
    };
    for usage in [nothing, no_output] {
        let model = always("m", says("Four words for you.", Some(usage)));
        let pool = Pool::builder()
            .deployment(Deployment::new("m", model))
            .build()
            .unwrap();
        let budget = Arc::new(LocalBudget::new(None));
        let call = call().with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        pool.complete(ask("Hi"), &call).await.unwrap();
        let row = budget.rows().pop().unwrap();
        assert_eq!(row.basis, Basis::Estimated, "{usage:?}");
        assert!(row.cost.unwrap() >= NanoUsd(19 * 2_000), "{row:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_excessive_index_fails_the_attempt() {
    let start = |index| {
        let kind = BlockKind::Text;
        Beat::Yield(ModelEvent::BlockStart { index, kind })
    };
    for index in [u32::MAX, 1 << 20] {
        let mut beats = begins("");
        beats[1] = start(index);
        let primary = always("primary", beats);
        let answer = text(&pair(&primary, &fine("backup"))).await.unwrap();
        assert_eq!(answer, "backup is here.");
    }
    // Also after content was yielded.
    let mut beats = begins("Half an ");
    beats.push(start(u32::MAX));
    let primary = always("primary", beats);
    let got = events(&pair(&primary, &fine("backup")), OnBreak::Fail).await;
    let error = got.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn one_dead_and_one_healthy_deployment_answer_sixty_of_sixty() {
    for dead in [
        vec![Beat::Refuse(ErrorKind::Unavailable.into())],
        vec![Beat::Hang],
        begins("Half of ").into_iter().chain([Beat::End]).collect(),
        vec![Beat::Refuse(ErrorKind::RateLimited.into())],
        vec![Beat::Refuse(ErrorKind::Unauthorized.into())],
    ] {
        let (dead, alive) = (always("dead", dead), fine("alive"));
        let patience = Duration::from_secs(3);
        let pool = Pool::builder()
            .deployment(Deployment::new("dead", dead.clone()).first_content(patience))
            .deployment(Deployment::new("alive", alive.clone()))
            .build()
            .unwrap();
        let started = tokio::time::Instant::now();
        for number in 0..60 {
            let answer = pool
                .complete(ask("Hi"), &call().on_break(OnBreak::Restart))
                .await;
            assert_eq!(answer.unwrap().text(), "alive is here.", "{number}");
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        // Three failures that open the breaker, and a probe after every cooldown.
        let probes = started.elapsed().as_secs() / 5 + 1;
        assert!(asked(&dead) as u64 <= 3 + probes, "{}", asked(&dead));
    }
}

#[tokio::test(start_paused = true)]
async fn credential_and_endpoint_failures_are_shared() {
    let check = async |kind: ErrorKind, shared: fn(Deployment) -> Deployment| {
        let (first, second, third) = (refuses("first", kind), fine("second"), fine("third"));
        let pool = Pool::builder()
            .deployment(shared(Deployment::new("first", first.clone())))
            .deployment(shared(
                Deployment::new("second", second.clone()).fallback(1),
            ))
            .deployment(Deployment::new("third", third).fallback(2))
            .build()
            .unwrap();
        for _ in 0..4 {
            text(&pool).await.unwrap();
        }
        (asked(&first), asked(&second))
    };
    let credential = |deployment: Deployment| deployment.credential("key-1");
    let endpoint = |deployment: Deployment| deployment.endpoint("gpu-1");
    assert_eq!(check(ErrorKind::QuotaExhausted, credential).await, (1, 0));
    assert_eq!(check(ErrorKind::Unauthorized, credential).await, (1, 0));
    assert_eq!(check(ErrorKind::Unavailable, credential).await, (3, 4));
    // The second deployment answers, which closes the shared breakers.
    assert_eq!(check(ErrorKind::Unavailable, endpoint).await, (4, 4));
    assert_eq!(check(ErrorKind::QuotaExhausted, endpoint).await, (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_key_rejected_by_one_server_may_work_at_another() {
    let with_key = |server: &str, beats: Vec<Beat>| {
        let info = info("m")
            .with_server(server)
            .with_origin("scripted/1a2b3c4d");
        Scripted::new(info, move |_, _| beats.clone())
    };
    let refuses = with_key("a:80", vec![Beat::Refuse(ErrorKind::Unauthorized.into())]);
    let pool = pair(&refuses, &with_key("b:80", says("Welcome.", None)));
    assert_eq!(text(&pool).await.unwrap(), "Welcome.");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_uses_the_faster_of_two_attempts() {
    let slow = always(
        "slow",
        [Beat::Wait(Duration::from_secs(9))]
            .into_iter()
            .chain(says("Slow.", Some(USAGE)))
            .collect(),
    );
    let quick = fine("quick");
    let budget = Arc::new(LocalBudget::new(None));
    let pool = Pool::builder()
        .deployment(Deployment::new("slow", slow.clone()))
        .deployment(Deployment::new("quick", quick).fallback(1))
        .hedge(Duration::from_secs(1))
        .build()
        .unwrap();
    let started = tokio::time::Instant::now();
    let metered = call().with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
    let answer = pool.complete(ask("Hi"), &metered).await.unwrap();
    assert_eq!(answer.text(), "quick is here.");
    assert!(started.elapsed() < Duration::from_secs(2));
    let rows = budget.rows();
    let keys: Vec<&str> = rows.iter().map(|row| row.call.as_str()).collect();
    assert_eq!(
        keys,
        ["trn_1.m1", "trn_1.m1.a1"],
        "the one that was dropped is paid for"
    );
    assert_eq!(budget.reserved(), NanoUsd(0));
    // A deployment that answers in time is not hedged.
    let pool = Pool::builder()
        .deployment(Deployment::new("only", fine("only")))
        .deployment(Deployment::new("slow", slow.clone()).fallback(1))
        .hedge(Duration::from_secs(1))
        .build()
        .unwrap();
    text(&pool).await.unwrap();
    assert_eq!(asked(&slow), 1);
}

async fn shares(pool: &Pool, call: impl Fn() -> CallContext) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..400 {
        let answer = pool.complete(ask("Hi"), &call()).await.unwrap();
        *shares.entry(answer.text()).or_default() += 1;
    }
    shares
}

#[tokio::test(start_paused = true)]
async fn equals_share_by_weight_and_a_conversation_is_sticky() {
    let pool = Pool::builder()
        .deployment(Deployment::new("a", fine("a")).weight(3))
        .deployment(Deployment::new("b", fine("b")))
        .deployment(Deployment::new("off", fine("off")).weight(0))
        .build()
        .unwrap();
    let counted = shares(&pool, call).await;
    assert!((240..=360).contains(&counted["a is here."]), "{counted:?}");
    assert_eq!(counted.values().sum::<usize>(), 400);
    assert!(!counted.contains_key("off is here."));
    let talk = ConversationId::new();
    let counted = shares(&pool, || call().in_conversation(talk)).await;
    assert_eq!(counted.len(), 1, "{counted:?}");
    let counted = shares(&pool, || call().in_conversation(ConversationId::new())).await;
    assert!((240..=360).contains(&counted["a is here."]), "{counted:?}");
}

#[tokio::test(start_paused = true)]
async fn purpose_and_abilities_select_the_deployment() {
    let sees = Scripted::new(
        info("sees").with_abilities([Ability::Tools, Ability::Images]),
        |_, _| says("I see.", None),
    );
    let pool = Pool::builder()
        .deployment(Deployment::new("fast", fine("fast")).for_purpose(Purpose::Fast))
        .deployment(Deployment::new("sees", sees).for_purpose(Purpose::Quality))
        .build()
        .unwrap();
    let for_purpose = async |purpose| {
        let call = call().for_purpose(purpose);
        pool.complete(ask("Hi"), &call).await.unwrap().text()
    };
    assert_eq!(for_purpose(Purpose::Fast).await, "fast is here.");
    assert_eq!(for_purpose(Purpose::Quality).await, "I see.");
    let mut request = ask("What is this?");
    let image = konstruct_core::llm::Media::new("image/png", &b"\x89PNG"[..]);
    request.messages[0].parts.push(Part::Image(image));
    let fast = call().for_purpose(Purpose::Fast);
    let answer = pool.complete(request.clone(), &fast).await;
    assert_eq!(answer.unwrap().text(), "I see.", "only this one can");
    request.output = Some(konstruct_core::llm::OutputSchema {
        name: "it".into(),
        schema: serde_json::json!({"type": "object"}),
    });
    let error = pool.complete(request, &fast).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("Schema"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn signed_reasoning_is_sent_back_to_its_origin() {
    let deployment = |name: &str| {
        let model = Scripted::new(info(name).with_origin(format!("scripted/{name}")), {
            let text = format!("{name} is here.");
            move |_, _| says(&text, None)
        });
        Deployment::new(name, model)
    };
    let pool = Pool::builder()
        .deployment(deployment("first"))
        .deployment(deployment("signer").fallback(3))
        .build()
        .unwrap();
    let request = ask("Hi").with(|it| {
        it.messages = vec![ModelMessage {
            role: Role::Assistant,
            parts: vec![Part::Reasoning {
                text: "Hm.".into(),
                signature: Some("sig".into()),
                origin: Some("scripted/signer".into()),
            }],
        }]
    });
    let answer = pool.complete(request, &call()).await.unwrap();
    assert_eq!(answer.text(), "signer is here.");
    assert_eq!(text(&pool).await.unwrap(), "first is here.");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_settled_however_it_ends() {
    let nothing = Some(NanoUsd(0));
    let reported = Some(NanoUsd(10 * 1_000 + 5 * 2_000));
    let open = |beats: Vec<Beat>| begins("Half ").into_iter().chain(beats).collect::<Vec<_>>();
    let input = Usage {
        input: 40,
        output: 1,
        ..Usage::default()
    };
    for (beats, expected) in [
        (says("Whole.", Some(USAGE)), reported),
        (vec![Beat::Refuse(ErrorKind::Unavailable.into())], nothing),
        (vec![Beat::Refuse(ErrorKind::Unauthorized.into())], nothing),
        (vec![Beat::Refuse(ErrorKind::Truncated.into())], None),
        (vec![Beat::Refuse(ErrorKind::Ambiguous.into())], None),
        (open(vec![Beat::Break(ErrorKind::Unavailable.into())]), None),
        (open(vec![Beat::End]), None),
        // The input is limited by its growth, and the output by the requested maximum.
        (
            open(vec![Beat::Yield(ModelEvent::Usage(input)), Beat::End]),
            Some(NanoUsd((2 * 40 + 1_024) * 1_000 + 100 * 2_000)),
        ),
    ] {
        let budget = Arc::new(LocalBudget::new(None));
        let pool = Pool::builder()
            .deployment(Deployment::new("only", always("only", beats.clone())))
            .build()
            .unwrap();
        let metered = call().with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        let trouble = pool.complete(ask("Hi"), &metered).await.err();
        let worst = info("m")
            .price
            .map(|price| price.worst_case(ask("Hi").input_bound(), 100));
        let row = &budget.rows()[0];
        assert_eq!(row.cost, expected.or(worst), "{beats:?}: {trouble:?}");
        assert_eq!(budget.reserved(), NanoUsd(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_is_settled_and_an_unaffordable_attempt_is_skipped() {
    let budget = Arc::new(LocalBudget::new(Some(NanoUsd(4_000_000))));
    let metered = call().with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
    let (dear, cheap) = (fine("dear"), fine("cheap"));
    let priced = |model: &Scripted, price: Option<Rates>| {
        let mut info = model.describe().clone();
        info.price = price.map(Price::from);
        let beats = says("Here.", Some(USAGE));
        Scripted::new(info, move |_, _| beats.clone())
    };
    let dear = priced(&dear, Some(Rates::flat(1_000_000_000_000, 0)));
    let unknown = priced(&cheap, None);
    let cheap = priced(&cheap, Some(Rates::flat(1_000_000_000, 1_000_000_000)));
    let pool = Pool::builder()
        .deployment(Deployment::new("dear", dear.clone()))
        .deployment(Deployment::new("unknown", unknown.clone()).fallback(1))
        .deployment(Deployment::new("cheap", cheap.clone()).fallback(2))
        .build()
        .unwrap();
    let mut stream = pool.stream(ask("Hi"), &metered).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert!(budget.reserved() > NanoUsd(0));
    drop(stream);
    assert_eq!(budget.reserved(), NanoUsd(0));
    assert_eq!(budget.rows().len(), 1);
    assert_eq!(budget.rows()[0].model, "cheap");
    assert_eq!((asked(&dear), asked(&unknown)), (0, 0));
    let poor = Arc::new(LocalBudget::new(Some(NanoUsd(1))));
    let error = pool
        .complete(ask("Hi"), &call().with_budget(poor))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExhausted, "{error}");
    assert_eq!(asked(&cheap), 1);
}

#[tokio::test(start_paused = true)]
async fn an_extending_pool_sees_the_state_of_the_other() {
    let dead = refuses("shared", ErrorKind::Unauthorized);
    let shared = pair(&dead, &fine("backup"));
    let own = fine("own");
    let pool = shared
        .extend()
        .deployment(Deployment::new("own", own))
        .build()
        .unwrap();
    let place = |pool: &Pool| pool.describe().clone().model;
    assert_eq!(place(&pool), "own");
    text(&shared).await.unwrap();
    for _ in 0..50 {
        assert_eq!(text(&pool).await.unwrap(), "own is here.");
    }
    assert_eq!(asked(&dead), 1, "its key was known to be refused");
}

/// A tenant's pool: its own model before the shared ones, on the same endpoint.
fn tenant(shared: &Pool, own: &Scripted, key: &str) -> Pool {
    let own = Deployment::new("own", own.clone());
    let own = own.endpoint("api/m").credential(key);
    shared.extend().deployment(own).build().unwrap()
}

/// A pool of one model on the endpoint of [`tenant`].
fn shared_by_all(model: &Scripted) -> Pool {
    let shared = Deployment::new("shared", model.clone());
    let shared = shared.endpoint("api/m").credential("key-1");
    Pool::builder().deployment(shared).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_tenants_failures_do_not_affect_the_shared_pool() {
    for kind in [
        ErrorKind::Unauthorized,
        ErrorKind::Forbidden,
        ErrorKind::QuotaExhausted,
        ErrorKind::NotFound,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::Ambiguous,
        ErrorKind::Truncated,
        ErrorKind::Protocol,
    ] {
        let model = fine("shared");
        let shared = shared_by_all(&model);
        let bad = Trouble {
            retry_after: Some(Duration::from_secs(5)),
            ..Trouble::from(kind)
        };
        let other = tenant(&shared, &fine("other"), "key-2");
        let sick = tenant(&shared, &refuses("own", bad), "key-3");
        let started = tokio::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(text(&sick).await.unwrap(), "shared is here.", "{kind}");
        }
        // The same if its key has the fingerprint of the shared one: then the tenant has no other credential.
        let same = tenant(&shared, &refuses("own", bad), "key-1");
        let _answer = text(&same).await;
        let before = asked(&model);
        assert_eq!(text(&shared).await.unwrap(), "shared is here.", "{kind}");
        assert_eq!(text(&other).await.unwrap(), "other is here.", "{kind}");
        assert_eq!(started.elapsed(), Duration::ZERO, "{kind}: nobody waits");
        assert_eq!(asked(&model), before + 1, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenants_own_model_skips_targets_that_fail_in_the_shared_pool() {
    let shared = Pool::builder()
        .deployment(
            Deployment::new("shared", refuses("m", ErrorKind::Unavailable)).endpoint("api/m"),
        )
        .deployment(Deployment::new("backup", fine("backup")).fallback(1))
        .build()
        .unwrap();
    for _ in 0..3 {
        text(&shared).await.unwrap();
    }
    let own = fine("own");
    let pool = tenant(&shared, &own, "key-2");
    assert_eq!(text(&pool).await.unwrap(), "backup is here.");
    assert_eq!(asked(&own), 0, "its endpoint is known to fail");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(text(&pool).await.unwrap(), "own is here.");
}

#[tokio::test(start_paused = true)]
async fn a_tenants_own_model_uses_its_own_retry_budget() {
    let shaky = Scripted::new(info("shared"), |number, _| {
        if number % 2 == 0 {
            vec![Beat::Refuse(ErrorKind::RateLimited.into())]
        } else {
            says("Second try.", Some(USAGE))
        }
    });
    let shared = shared_by_all(&shaky);
    let hurried = |pool: &Pool| {
        let pool = pool.clone();
        let call = CallContext::new(TenantId::new(), "c", Duration::from_secs(30));
        async move { pool.complete(ask("Hi"), &call).await }
    };
    // The tenant's calls retry its own server until its budget is empty; each tries it three times.
    let sick = always(
        "own",
        vec![Beat::Refuse(Trouble {
            retry_after: Some(Duration::from_millis(1)),
            ..Trouble::from(ErrorKind::Conflict)
        })],
    );
    let alone = Scripted::new(
        info("image").with_abilities([Ability::Tools, Ability::Images]),
        {
            let beats = vec![Beat::Refuse(Trouble {
                retry_after: Some(Duration::from_millis(1)),
                ..Trouble::from(ErrorKind::Conflict)
            })];
            move |_, _| beats.clone()
        },
    );
    let pool = shared
        .extend()
        .deployment(Deployment::new("own", sick))
        .deployment(Deployment::new("alone", alone.clone()))
        .build()
        .unwrap();
    let mut request = ask("What is this?");
    let image = konstruct_core::llm::Media::new("image/png", &b"\x89PNG"[..]);
    request.messages[0].parts.push(Part::Image(image));
    for _ in 0..40 {
        // Only its own model supports this, so the shared one is not tried.
        pool.complete(request.clone(), &call()).await.unwrap_err();
    }
    assert!(
        asked(&alone) < 80,
        "its own budget is empty: {}",
        asked(&alone)
    );
    assert_eq!(asked(&shaky), 0);
    assert_eq!(hurried(&shared).await.unwrap().text(), "Second try.");
    // With its own budget empty, the shared model can still be retried.
    assert_eq!(hurried(&pool).await.unwrap().text(), "Second try.");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_model_affects_only_its_deployment() {
    let (unknown, known) = (refuses("unknown", ErrorKind::NotFound), fine("known"));
    let pool = Pool::builder()
        .deployment(Deployment::new("unknown", unknown.clone()).endpoint("gpu-1"))
        .deployment(
            Deployment::new("known", known.clone())
                .endpoint("gpu-1")
                .fallback(1),
        )
        .build()
        .unwrap();
    for _ in 0..4 {
        assert_eq!(text(&pool).await.unwrap(), "known is here.");
    }
    assert_eq!((asked(&unknown), asked(&known)), (1, 4));
}

#[tokio::test]
async fn pool_errors_name_the_problem() {
    let error = |pool: Result<Pool>| pool.unwrap_err().to_string();
    assert!(error(Pool::builder().build()).contains("deployment"));
    let twice = Pool::builder()
        .deployment(Deployment::new("a", fine("a")))
        .deployment(Deployment::new("a", fine("a")));
    assert!(error(twice.build()).contains("\"a\" is used twice"));
    let pool = pair(&fine("a"), &fine("b"));
    let unbounded = ask("Hi").with(|it| it.max_tokens = 0);
    let error: Error = pool.complete(unbounded, &call()).await.unwrap_err();
    assert!(error.message().starts_with("max_tokens"), "{error}");
}

/// An embedder that fails a given number of times, and counts its calls.
#[derive(Clone, Debug)]
struct Shaky {
    id: &'static str,
    fails: usize,
    kind: ErrorKind,
    asked: Arc<std::sync::atomic::AtomicUsize>,
}

#[async_trait::async_trait]
impl Embedder for Shaky {
    fn id(&self) -> &str {
        self.id
    }

    fn dim(&self) -> usize {
        2
    }

    async fn embed(&self, _: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let asked = self
            .asked
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if asked < self.fails {
            return Err(Error::new(self.kind, "scripted"));
        }
        Ok(vec![vec![1.0, 0.0]; texts.len()])
    }
}

#[tokio::test(start_paused = true)]
async fn embedders_replace_each_other() {
    let shaky = |fails, kind| Shaky {
        id: "m",
        fails,
        kind,
        asked: Arc::default(),
    };
    let check =
        async |first: (usize, ErrorKind), second: (usize, ErrorKind), hits: (usize, usize), ok| {
            let (one, two) = (shaky(first.0, first.1), shaky(second.0, second.1));
            let pool =
                EmbedderPool::new(vec![Box::new(one.clone()), Box::new(two.clone())]).unwrap();
            let context = EmbedContext::new(TenantId::new(), EmbedKind::Query, "call");
            let vectors = pool.embed(&context, &["a", "b"]).await;
            let count = |it: &Shaky| it.asked.load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(
                (count(&one), count(&two)),
                hits,
                "{first:?} {second:?}: {vectors:?}"
            );
            assert_eq!(vectors.is_ok(), ok, "{first:?} {second:?}");
        };
    let (down, wrong, key) = (
        ErrorKind::Unavailable,
        ErrorKind::InvalidInput,
        ErrorKind::Unauthorized,
    );
    check((0, down), (0, down), (1, 0), true).await;
    check((9, down), (0, down), (1, 1), true).await;
    check((9, key), (1, down), (1, 2), true).await;
    check((9, wrong), (0, down), (1, 1), true).await;
    check((9, wrong), (9, wrong), (1, 1), false).await;
    check((9, down), (9, down), (3, 3), false).await;
    check((1, down), (1, down), (2, 1), true).await;
    let other = Shaky {
        id: "other",
        ..shaky(0, down)
    };
    let error = EmbedderPool::new(vec![Box::new(shaky(0, down)), Box::new(other)]).unwrap_err();
    assert!(error.message().contains("other of 2"), "{error}");
    assert!(EmbedderPool::new(Vec::new()).is_err());
}
