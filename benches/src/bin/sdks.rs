//! Tests our backend against a real LiteLLM proxy, and the official SDKs of OpenAI and Anthropic against our fake provider.
//!
//! Prints a line for each check, and ends with `checks=N failed=0`. The Python environment is that of `pool --peers`.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use konstruct_benches::{
    Failed,
    pool::python::{Python, Server},
    sender,
};
use konstruct_core::{
    ErrorKind, NanoUsd, Secret, TenantId,
    limit::LocalBudget,
    llm::{
        CallContext, LlmBackendExt as _, ModelAnswer, ModelMessage, ModelRequest, Role, ToolSpec,
    },
};
use konstruct_llm::{
    Catalog as _, Deployment, OpenAi, Pool, PriceTable,
    testkit::{FakeProvider, Fault, Reply},
};
use serde_json::{Value, json};

const SCRIPT: &str = include_str!("../../data/sdks.py");
const TEXT: &str = "Grüße! We are open from ten to six.";
/// The proxy's key.
const KEY: &str = "sk-bench";
/// A model with a price in both LiteLLM's table and ours.
const PRICED: &str = "gpt-4.1-mini";

/// The proxy's key check. Without a database its built-in check returns 400 for a wrong key and 500 for none.
const AUTH: &str = "
from litellm.proxy._types import ProxyException, UserAPIKeyAuth
async def check(request, api_key):
    if api_key != 'sk-bench':
        raise ProxyException(message='an unknown key', type='auth_error', param='api_key', code=401)
    return UserAPIKeyAuth(api_key=api_key)
";

/// Tests the compatibility of our wires with other software.
#[derive(Parser)]
struct Arguments {
    /// Folder of the Python environment, which is created if needed.
    #[arg(long, default_value = "target/pool-peers")]
    python: PathBuf,
}

#[derive(Default)]
struct Tally {
    checks: usize,
    failed: usize,
}

impl Tally {
    fn check(&mut self, name: &str, outcome: Result<String, Failed>) {
        self.checks += 1;
        match outcome {
            Ok(saw) => out(&format!("{name} ok {saw}")),
            Err(problem) => {
                self.failed += 1;
                out(&format!("{name} failed {problem}"));
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let python = Python::open(&arguments.python)?;
    let mut tally = Tally::default();
    let fake = FakeProvider::new(script).models(["fake", "other"]);
    let fake = fake.spawn().await?;
    sdks(&mut tally, &python, fake.url()).await?;
    std::fs::write(python.file("bench_auth.py"), AUTH)?;
    let (config, client) = (config(fake.url()), sender::client()?);
    let proxy = python.litellm(&config, &client).await?;
    answers(&mut tally, &proxy).await;
    refusals(&mut tally, &proxy).await;
    pools(&mut tally, &proxy).await;
    let Tally { checks, failed } = tally;
    out(&format!("checks={checks} failed={failed}"));
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the reply of the fake provider, on any wire.
fn script(asked: &str) -> Reply {
    let whole = Reply::text(TEXT);
    if let Some(status) = asked.strip_prefix("fail ") {
        let body = r#"{"type":"error","error":{"type":"some_error","message":"It is so.","code":"some_error","param":null}}"#;
        let fault = Fault::status(status.parse().unwrap_or(500), body);
        return whole.fault(fault.header("content-type", "application/json"));
    }
    match asked {
        "weather" => whole
            .call("weather", r#"{"city":"Graz"}"#)
            .call("time", "{}"),
        "odd" => whole.oddly_framed(),
        "midway" => whole.fault(Fault::Error(5)),
        _ => whole,
    }
}

/// Runs the SDKs, and records the result of each check.
async fn sdks(tally: &mut Tally, python: &Python, url: &str) -> Result<(), Failed> {
    let mut command = tokio::process::Command::from(python.command());
    let output = command.args(["-c", SCRIPT, url]).output().await?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the SDKs did not run: {error}").into());
    }
    for line in String::from_utf8(output.stdout)?.lines() {
        let (name, outcome) = line.split_once(' ').ok_or("malformed output line")?;
        let outcome = match outcome {
            "ok" => Ok(String::new()),
            problem => Err(problem.to_owned().into()),
        };
        tally.check(&format!("sdk {name}"), outcome);
    }
    Ok(())
}

/// Returns the proxy's configuration: models with mock answers, and models with the fake provider behind them.
fn config(fake: &str) -> String {
    let mock = |name: &str, says: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/{PRICED}, api_key: k, mock_response: '{says}'}}\n"
        )
    };
    let mut config = "model_list:\n".to_owned();
    config += &mock("fixed", TEXT);
    config += &mock("limited", "litellm.RateLimitError");
    config += &mock("broken", "litellm.InternalServerError");
    config += &format!(
        "  - model_name: passed\n    litellm_params: {{model: openai/{PRICED}, api_key: k, api_base: '{fake}/v1'}}\n"
    );
    config += &format!("general_settings: {{master_key: {KEY}, custom_auth: bench_auth.check}}\n");
    config += "litellm_settings: {include_cost_in_streaming_usage: true, num_retries: 0}\n";
    config += "router_settings: {num_retries: 0, disable_cooldowns: true}\n";
    config
}

fn backend(proxy: &Server, key: &str, model: &str) -> OpenAi {
    let backend = OpenAi::new(Secret::new(key), model).base_url(proxy.url());
    match PriceTable::built_in().price("openai", PRICED) {
        Some(price) => backend.price(price),
        None => backend,
    }
}

fn ask(text: &str) -> ModelRequest {
    ModelRequest::default().with(|it| {
        it.messages = vec![ModelMessage::text(Role::User, text)];
        it.max_tokens = 200;
    })
}

fn call() -> CallContext {
    CallContext::new(TenantId::new(), "bench.m1", Duration::from_secs(30))
}

fn expect_equal<T: PartialEq + std::fmt::Debug>(has: T, wants: &T) -> Result<String, Failed> {
    if has == *wants {
        Ok(format!("{has:?}"))
    } else {
        Err(format!("{has:?} instead of {wants:?}").into())
    }
}

/// Checks the proxy's answers with only the backend.
async fn answers(tally: &mut Tally, proxy: &Server) {
    let fixed = backend(proxy, KEY, "fixed");
    let text = |answer: ModelAnswer| expect_equal(answer.text().as_str(), &TEXT);
    let answer = fixed.complete(ask("hello"), &call()).await;
    tally.check(
        "litellm streamed",
        answer.map_err(Into::into).and_then(text),
    );
    let passed = backend(proxy, KEY, "passed");
    for (name, model) in [
        ("litellm passes on", passed.clone()),
        ("litellm passes on, responses", passed.clone().responses()),
    ] {
        let answer = model.complete(ask("hello"), &call()).await;
        let outcome = answer.map_err(Into::into).and_then(|answer: ModelAnswer| {
            expect_equal(answer.text().as_str(), &TEXT)?;
            let usage = answer.usage.map(|usage| (usage.input, usage.output));
            expect_equal(usage, &Some((10, 5)))
        });
        tally.check(name, outcome);
        let request = ask("weather").with(|it| it.tools = ["weather", "time"].map(tool).to_vec());
        let answer = model.complete(request, &call()).await;
        let outcome = answer.map_err(Into::into).and_then(|answer: ModelAnswer| {
            let calls = answer.tool_calls();
            let calls: Vec<(String, Value)> = calls
                .map(|call| Ok((call.name.clone(), serde_json::from_str(&call.arguments)?)))
                .collect::<Result<_, Failed>>()?;
            let wants = [("weather", json!({"city": "Graz"})), ("time", json!({}))];
            expect_equal(
                calls,
                &wants
                    .map(|(name, arguments)| (name.into(), arguments))
                    .to_vec(),
            )
        });
        tally.check(&format!("{name}, tools"), outcome);
    }
    let listed = fixed.models().await.map_err(Into::into);
    let wants = ["fixed", "limited", "broken", "passed"].map(str::to_owned);
    let outcome = listed.and_then(|mut listed: Vec<String>| {
        let mut wants = wants.to_vec();
        listed.sort();
        wants.sort();
        expect_equal(listed, &wants)
    });
    tally.check("litellm models", outcome);
    for model in ["fixed", "passed"] {
        tally.check(&format!("litellm plain {model}"), plain(proxy, model).await);
    }
}

fn tool(name: &str) -> ToolSpec {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    ToolSpec {
        name: name.into(),
        description: "Tells.".into(),
        parameters,
    }
}

/// Decodes a whole answer in one document, which the backend never requests, and compares LiteLLM's cost with that of our price
/// table.
async fn plain(proxy: &Server, model: &str) -> Result<String, Failed> {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    let request = sender::client()?.post(format!("{}/chat/completions", proxy.url()));
    let response = request.bearer_auth(KEY).json(&body).send().await?;
    let cost = response.headers().get("x-litellm-response-cost");
    let cost: f64 = cost.ok_or("no cost in the header")?.to_str()?.parse()?;
    let body = response.bytes().await?;
    let events = konstruct_llm::OpenAiDecoder::document(&body)?;
    let mut collector = konstruct_core::llm::Collector::default();
    let mut answer = None;
    for event in events {
        answer = collector.push(event)?.or(answer);
    }
    let answer = answer.ok_or("no finish")?;
    expect_equal(answer.text().as_str(), &TEXT)?;
    let price = PriceTable::built_in().price("openai", PRICED);
    let price = price.ok_or("no price")?;
    let ours = answer.usage.map(|usage| price.of(&usage));
    expect_equal(ours, &Some(nano(cost)))
}

fn nano(usd: f64) -> NanoUsd {
    NanoUsd((usd * 1e9).round() as u64)
}

/// Checks the proxy's errors.
async fn refusals(tally: &mut Tally, proxy: &Server) {
    for (name, key, model, wants) in [
        (
            "litellm unknown model",
            KEY,
            "nope",
            ErrorKind::InvalidInput,
        ),
        (
            "litellm wrong key",
            "sk-wrong",
            "fixed",
            ErrorKind::Unauthorized,
        ),
        ("litellm no key", "", "fixed", ErrorKind::Unauthorized),
        ("litellm 429", KEY, "limited", ErrorKind::RateLimited),
        ("litellm 500", KEY, "broken", ErrorKind::Ambiguous),
    ] {
        let error = backend(proxy, key, model)
            .complete(ask("hello"), &call())
            .await;
        let kind = error.err().map(|error| error.kind());
        tally.check(name, expect_equal(kind, &Some(wants)));
    }
    for asked in ["fail 401", "fail 429", "fail 500", "fail 529", "midway"] {
        let answer = backend(proxy, KEY, "passed")
            .complete(ask(asked), &call())
            .await;
        let kind = answer.err().map(|error| error.kind());
        let wants = match asked {
            "fail 401" => ErrorKind::Unauthorized,
            "fail 429" => ErrorKind::RateLimited,
            "fail 500" => ErrorKind::Ambiguous,
            _ => ErrorKind::Unavailable,
        };
        tally.check(
            &format!("litellm passes on, {asked}"),
            expect_equal(kind, &Some(wants)),
        );
    }
}

/// Checks a pool of models behind the proxy: a fault of one is compensated by another, and the ledger equals LiteLLM's cost.
async fn pools(tally: &mut Tally, proxy: &Server) {
    for (first, key, asked) in [
        ("fixed", KEY, "hello"),
        ("passed", KEY, "hello"),
        ("limited", KEY, "hello"),
        ("broken", KEY, "hello"),
        ("fixed", "sk-wrong", "hello"),
        ("passed", KEY, "fail 529"),
        ("passed", KEY, "midway"),
    ] {
        let name = format!("litellm pool {first} {key} {asked}");
        tally.check(&name, pool(proxy, (first, key), asked).await);
    }
}

async fn pool(proxy: &Server, (first, key): (&str, &str), asked: &str) -> Result<String, Failed> {
    let pool = Pool::builder()
        .deployment(Deployment::new("first", backend(proxy, key, first)))
        .deployment(Deployment::new("second", backend(proxy, KEY, "fixed")).fallback(1))
        .build()?;
    let budget = Arc::new(LocalBudget::new(Some(NanoUsd(1_000_000_000))));
    let call = call()
        .with_budget(budget.clone())
        .on_break(konstruct_core::llm::OnBreak::Restart);
    let answer = pool.complete(ask(asked), &call).await?;
    expect_equal(answer.text().as_str(), &TEXT)?;
    expect_equal(budget.reserved(), &NanoUsd(0))?;
    // The last attempt is the one that answered.
    let rows = budget.rows();
    let row = rows.last().ok_or("no row in the ledger")?;
    let last = if rows.len() > 1 { "fixed" } else { first };
    expect_equal(row.cost, &Some(billed(proxy, last, asked).await?))?;
    Ok(format!("attempts={} usd={}", rows.len(), budget.spent()))
}

/// Returns the cost that LiteLLM reports at the end of a stream.
async fn billed(proxy: &Server, model: &str, asked: &str) -> Result<NanoUsd, Failed> {
    let body = json!({"model": model, "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 200,
        "messages": [{"role": "user", "content": asked}]});
    let request = sender::client()?.post(format!("{}/chat/completions", proxy.url()));
    let text = request
        .bearer_auth(KEY)
        .json(&body)
        .send()
        .await?
        .text()
        .await?;
    let chunks = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let costs: Vec<f64> = chunks
        .filter_map(|chunk| {
            let chunk: Value = serde_json::from_str(chunk).ok()?;
            chunk["usage"]["cost"].as_f64()
        })
        .collect();
    Ok(nano(*costs.last().ok_or("LiteLLM reported no cost")?))
}

#[expect(clippy::print_stdout, reason = "its lines are what a bench is for")]
fn out(line: &str) {
    println!("{line}");
}
