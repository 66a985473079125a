//! The fault matrix: a pool of one faulty provider and a healthy fallback, over every wire.
//!
//! Prints a line for each case, then the cost of one dead deployment beside a healthy one, and ends with
//! `cases=N complete=N silent_truncations=N`.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_benches::Failed;
use konstruct_core::{
    ErrorKind, LlmBackend, Secret, TenantId,
    llm::{CallContext, LlmBackendExt as _, ModelMessage, ModelRequest, OnBreak, Role},
};
use konstruct_llm::{
    Anthropic, Deployment, Ollama, OpenAi, Pool, Timeouts,
    testkit::{FakeProvider, Fault, Reply},
};

const TEXT: &str = "Grüße! We are open from ten to six on every day of the week but Sunday, and we look forward to your visit.";
const IDLE: Duration = Duration::from_millis(500);

/// Tests how a pool handles every fault of a provider.
#[derive(Parser)]
struct Arguments {
    /// Number of tries of each case.
    #[arg(long, default_value_t = 3)]
    tries: usize,
}

type Make = fn(&str) -> Arc<dyn LlmBackend>;

const WIRES: [(&str, Make); 3] = [
    ("openai", |url| {
        let model = OpenAi::new(Secret::new("key"), "m").base_url(format!("{url}/v1"));
        Arc::new(model.timeouts(timeouts()))
    }),
    ("anthropic", |url| {
        let model = Anthropic::new(Secret::new("key"), "m").base_url(url);
        Arc::new(model.timeouts(timeouts()))
    }),
    ("ollama", |url| {
        Arc::new(Ollama::new("m").base_url(url).timeouts(timeouts()))
    }),
];

fn timeouts() -> Timeouts {
    Timeouts::default()
        .with_connect(IDLE)
        .with_first_content(IDLE)
        .with_idle(IDLE)
}

/// Returns the faults that a fallback compensates, by name.
fn faults(wire: &str) -> Vec<(&'static str, Reply)> {
    let fault = |fault| Reply::text(TEXT).fault(fault);
    let status = |status, body: &str| fault(Fault::status(status, body));
    let quota = r#"{"error":{"message":"You exceeded your quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let html = "<html><head><title>502 Bad Gateway</title></head></html>";
    let billing = r#"{"type":"error","error":{"type":"billing_error","message":"No credit"}}"#;
    let (quota_status, quota) = if wire == "anthropic" {
        (402, billing)
    } else {
        (429, quota)
    };
    vec![
        ("none", Reply::text(TEXT)),
        ("odd framing", Reply::text(TEXT).oddly_framed()),
        ("cut before headers", fault(Fault::Drop)),
        ("no answer", fault(Fault::Silent)),
        ("cut after headers", fault(Fault::Cut(0))),
        ("clean end after headers", fault(Fault::End(0))),
        ("stall after headers", fault(Fault::Stall(0))),
        ("error as first event", fault(Fault::Error(0))),
        ("malformed first event", fault(Fault::Malformed(0))),
        ("error in mid-answer", fault(Fault::Error(8))),
        ("cut in mid-answer", fault(Fault::Cut(8))),
        ("clean end in mid-answer", fault(Fault::End(8))),
        ("stall in mid-answer", fault(Fault::Stall(8))),
        ("malformed in mid-answer", fault(Fault::Malformed(8))),
        ("500", status(500, "{}")),
        ("503", status(503, r#"{"error":"server busy"}"#)),
        (
            "529",
            status(
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            ),
        ),
        ("502 html", status(502, html)),
        (
            "200 html",
            fault(Fault::status(200, html).header("content-type", "text/html")),
        ),
        (
            "429",
            fault(Fault::status(429, "{}").header("retry-after", "2")),
        ),
        ("429 without a word", status(429, "")),
        ("quota", status(quota_status, quota)),
        (
            "empty balance",
            status(
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            ),
        ),
        (
            "401",
            status(
                401,
                r#"{"error":{"code":"invalid_api_key","message":"Incorrect API key"}}"#,
            ),
        ),
        (
            "404",
            status(
                404,
                r#"{"error":{"code":"model_not_found","message":"No such model"}}"#,
            ),
        ),
    ]
}

#[derive(Default)]
struct Tally {
    cases: usize,
    complete: usize,
    silent: usize,
    /// The number of unexpected outcomes.
    wrong: usize,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let well = FakeProvider::new(|_| Reply::text(TEXT)).spawn().await?;
    let mut tally = Tally::default();
    for (wire, make) in WIRES {
        for (name, reply) in faults(wire) {
            case(
                &mut tally,
                (wire, make),
                (name, reply),
                well.url(),
                arguments.tries,
            )
            .await?;
        }
        refused(&mut tally, (wire, make)).await?;
    }
    dead_beside_healthy(&mut tally, well.url()).await?;
    let Tally {
        cases,
        complete,
        silent,
        wrong,
    } = tally;
    out(&format!(
        "cases={cases} complete={complete} silent_truncations={silent}"
    ));
    let right = complete == cases && silent == 0 && wrong == 0;
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Tests a primary with this fault and a healthy fallback, in a new pool for each try.
async fn case(
    tally: &mut Tally,
    (wire, make): (&str, Make),
    (name, reply): (&str, Reply),
    well: &str,
    tries: usize,
) -> Result<(), Failed> {
    let fake = FakeProvider::new(move |_| reply.clone());
    let server = fake.spawn().await?;
    // Without the pool, no fault may look like an answer.
    let alone = make(server.url()).complete(ask(), &call()).await;
    let alone = match alone {
        Ok(answer) if answer.text() == TEXT => "whole".to_owned(),
        Ok(_) => {
            tally.silent += 1;
            "SILENT TRUNCATION".to_owned()
        }
        Err(error) => format!("{:?}", error.kind()),
    };
    let before = fake.requests().len();
    let (mut complete, mut slowest) = (0, Duration::ZERO);
    for _ in 0..tries {
        let pool = Pool::builder()
            .deployment(Deployment::shared("primary", make(server.url())))
            .deployment(
                Deployment::shared("fallback", make(well))
                    .endpoint("well")
                    .credential("well")
                    .fallback(1),
            )
            .build()?;
        let started = Instant::now();
        match pool.complete(ask(), &call()).await {
            Ok(answer) if answer.text() == TEXT => complete += 1,
            Ok(_) => tally.silent += 1,
            Err(error) => out(&format!("  {error}")),
        }
        slowest = slowest.max(started.elapsed());
    }
    tally.cases += tries;
    tally.complete += complete;
    // Twice the idle time, for slow machines.
    if slowest > IDLE * 2 {
        tally.wrong += 1;
    }
    out(&format!(
        "{wire:<10} {name:<24} complete={complete}/{tries} primary_hits={} slowest_ms={} alone={alone}",
        fake.requests().len() - before,
        slowest.as_millis(),
    ));
    Ok(())
}

/// A request that two providers refuse as invalid is itself at fault: it fails at once, and a third provider is not called.
async fn refused(tally: &mut Tally, (wire, make): (&str, Make)) -> Result<(), Failed> {
    let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"temperature: too high"}}"#;
    let fake = FakeProvider::new(move |_| Reply::default().fault(Fault::status(400, body)));
    let server = fake.spawn().await?;
    let other = FakeProvider::new(move |_| Reply::default().fault(Fault::status(400, body)));
    let other_server = other.spawn().await?;
    let third = FakeProvider::default();
    let third_server = third.spawn().await?;
    let pool = Pool::builder()
        .deployment(Deployment::shared("primary", make(server.url())))
        .deployment(Deployment::shared("fallback", make(other_server.url())).fallback(1))
        .deployment(Deployment::shared("third", make(third_server.url())).fallback(2))
        .build()?;
    let kind = pool
        .complete(ask(), &call())
        .await
        .err()
        .map(|error| error.kind());
    let hits = [&fake, &other, &third].map(|provider| provider.requests().len());
    if kind != Some(ErrorKind::InvalidInput) || hits != [1, 1, 0] {
        tally.wrong += 1;
    }
    out(&format!(
        "{wire:<10} {:<24} error={kind:?} hits={hits:?}",
        "400 of two",
    ));
    Ok(())
}

/// Makes sixty calls to two equal deployments, one of which is dead, for every kind of death.
async fn dead_beside_healthy(tally: &mut Tally, well: &str) -> Result<(), Failed> {
    for (name, fault) in [
        ("500", Fault::status(500, "{}")),
        ("cut before headers", Fault::Drop),
        ("no answer", Fault::Silent),
        ("429", Fault::status(429, "{}")),
        ("cut in mid-answer", Fault::Cut(8)),
    ] {
        let fake = FakeProvider::new(move |_| Reply::text(TEXT).fault(fault.clone()));
        let server = fake.spawn().await?;
        let (_, make) = WIRES[0];
        let pool = Pool::builder()
            .deployment(Deployment::shared("dead", make(server.url())))
            .deployment(
                Deployment::shared("healthy", make(well))
                    .endpoint("well")
                    .credential("well"),
            )
            .build()?;
        let started = Instant::now();
        let mut complete = 0;
        for _ in 0..60 {
            match pool.complete(ask(), &call()).await {
                Ok(answer) if answer.text() == TEXT => complete += 1,
                Ok(_) => tally.silent += 1,
                Err(error) => out(&format!("  {error}")),
            }
        }
        tally.cases += 60;
        tally.complete += complete;
        let hits = fake.requests().len();
        let probes = usize::try_from(started.elapsed().as_secs() / 5)? + 1;
        if hits > 3 + probes {
            tally.wrong += 1;
        }
        out(&format!(
            "one dead ({name}), one healthy: complete={complete}/60 dead_hits={hits} ms={}",
            started.elapsed().as_millis()
        ));
    }
    Ok(())
}

fn ask() -> ModelRequest {
    ModelRequest::default().with(|it| {
        it.messages = vec![ModelMessage::text(Role::User, "When are you open?")];
        it.max_tokens = 200;
    })
}

fn call() -> CallContext {
    CallContext::new(TenantId::new(), "bench.m1", Duration::from_secs(20))
        .on_break(OnBreak::Restart)
}

#[expect(clippy::print_stdout, reason = "its lines are what a bench is for")]
fn out(line: &str) {
    println!("{line}");
}
