//! Each backend against its fake provider: successes, and all faults.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    Error, ErrorKind, LlmBackend, NanoUsd, Result, Secret,
    limit::LocalBudget,
    llm::{Finish, LlmBackendExt as _, ModelAnswer},
    money::{Basis, Price, Rates, Usage},
};
use konstruct_llm::{
    Anthropic, Deployment, Ollama, OpenAi, Pool, Timeouts, probe,
    testkit::{FakeProvider, Fault, Reply},
};

use crate::{ask, call, tool};

/// Every backend connected to one fake, with short timeouts.
fn backends(url: &str) -> Vec<Box<dyn LlmBackend>> {
    let patience = Duration::from_millis(200);
    let timeouts = Timeouts::default()
        .with_idle(patience)
        .with_first_content(patience * 5);
    let key = || Secret::new("key-1");
    vec![
        Box::new(
            OpenAi::new(key(), "m")
                .base_url(format!("{url}/v1/"))
                .timeouts(timeouts),
        ),
        Box::new(
            Anthropic::new(key(), "m")
                .base_url(format!("{url}/v1"))
                .timeouts(timeouts),
        ),
        Box::new(
            Ollama::new("m")
                .base_url(format!("{url}/"))
                .timeouts(timeouts),
        ),
    ]
}

/// Sends a request to every backend, with this reply of the fake.
async fn ask_all(reply: Reply, mut check: impl FnMut(&str, Result<ModelAnswer>)) {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    for backend in backends(server.url()) {
        fake.next(reply.clone());
        let mut request = ask("Hi");
        request.tools = vec![tool("look_up")];
        check(
            &backend.describe().provider,
            backend.complete(request, &call()).await,
        );
    }
    assert_eq!(fake.requests().len(), 3, "nothing is retried here");
}

async fn fails(reply: Reply, expected: ErrorKind) {
    ask_all(reply, |provider, answer| {
        let error = answer.expect_err(provider);
        assert_eq!(error.kind(), expected, "{provider}: {error}");
        assert!(
            !format!("{error:?}").contains("key-1"),
            "{provider}: {error:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn text_and_usage() {
    ask_all(
        Reply::text("Hello дear reader").usage(30, 7),
        |provider, answer| {
            let answer = answer.expect(provider);
            assert_eq!(answer.text(), "Hello дear reader", "{provider}");
            assert_eq!(
                (answer.finish, answer.model.as_str()),
                (Finish::Stop, "m"),
                "{provider}"
            );
            let expected = Usage {
                input: 30,
                output: 7,
                ..Usage::default()
            };
            assert_eq!(answer.usage, Some(expected), "{provider}");
        },
    )
    .await;
}

#[tokio::test]
async fn parallel_tool_calls() {
    let reply = Reply::text("Let me see.")
        .call("look_up", r#"{"id":7}"#)
        .call("look_up", "{}");
    ask_all(reply, |provider, answer| {
        let answer = answer.expect(provider);
        let calls: Vec<_> = answer.tool_calls().collect();
        let arguments: Vec<_> = calls.iter().map(|call| call.arguments.as_str()).collect();
        assert_eq!(arguments, [r#"{"id":7}"#, "{}"], "{provider}");
        assert_ne!(calls[0].id, calls[1].id, "{provider}");
        assert_eq!(answer.finish, Finish::ToolCalls, "{provider}");
    })
    .await;
}

#[tokio::test]
async fn streams_that_break() {
    for fault in [
        Fault::End(2),
        Fault::Cut(2),
        Fault::Stall(2),
        Fault::Stall(0),
        Fault::End(0),
    ] {
        fails(
            Reply::text("one two three").fault(fault),
            ErrorKind::Truncated,
        )
        .await;
    }
    fails(
        Reply::text("one two three").fault(Fault::Malformed(2)),
        ErrorKind::Protocol,
    )
    .await;
    for at in [0, 2] {
        ask_all(
            Reply::text("one two three").fault(Fault::Error(at)),
            |provider, answer| {
                let expected = match provider {
                    // OpenAI's fake returns "server_error", the others an overload or no type.
                    "openai" => ErrorKind::Ambiguous,
                    _ => ErrorKind::Unavailable,
                };
                assert_eq!(answer.expect_err(provider).kind(), expected, "{provider}");
            },
        )
        .await;
    }
}

#[tokio::test]
async fn statuses() {
    for (status, kind) in [
        (302, ErrorKind::Protocol),
        (400, ErrorKind::InvalidInput),
        (401, ErrorKind::Unauthorized),
        (402, ErrorKind::QuotaExhausted),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (413, ErrorKind::TooLarge),
        (408, ErrorKind::Ambiguous),
        (500, ErrorKind::Ambiguous),
        (501, ErrorKind::Unsupported),
        (502, ErrorKind::Ambiguous),
        (503, ErrorKind::Unavailable),
        (504, ErrorKind::Ambiguous),
        (520, ErrorKind::Ambiguous),
        (524, ErrorKind::Ambiguous),
        (529, ErrorKind::Unavailable),
    ] {
        // A body in no known format: only the status counts.
        fails(
            Reply::default().fault(Fault::status(status, "<html>503</html>")),
            kind,
        )
        .await;
    }
}

#[tokio::test]
async fn an_empty_balance_leads_to_the_fallback() {
    for (status, body) in [
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        ),
        (
            402,
            r#"{"type":"error","error":{"type":"billing_error","message":"No."}}"#,
        ),
        (
            402,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"No."}}"#,
        ),
        (402, "<html>Payment required</html>"),
        (
            429,
            r#"{"error":{"message":"No.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        ),
        (
            403,
            r#"{"error":{"message":"No.","type":"billing_not_active","code":"billing_not_active"}}"#,
        ),
    ] {
        let (empty, healthy) = (FakeProvider::default(), FakeProvider::default());
        let (one, two) = (empty.spawn().await.unwrap(), healthy.spawn().await.unwrap());
        for first in backends(one.url()) {
            let name = first.describe().provider.clone();
            empty.next(Reply::default().fault(Fault::status(status, body)));
            healthy.next(Reply::text("At your service."));
            let second = backends(two.url()).swap_remove(0);
            let pool = Pool::builder()
                .deployment(Deployment::shared("first", first.into()))
                .deployment(Deployment::shared("second", second.into()).fallback(1))
                .build()
                .unwrap();
            let answer = pool.complete(ask("Hi"), &call()).await;
            assert_eq!(
                answer.unwrap().text(),
                "At your service.",
                "{name} {status}"
            );
        }
        assert_eq!(empty.requests().len(), 3, "{status}: nothing is repeated");
    }
}

#[tokio::test]
async fn an_ambiguous_status_costs_the_worst_case() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let price = || Price::from(Rates::flat(1_000_000_000, 2_000_000_000));
    let worst = price().worst_case(ask("Hi").input_bound(), 100);
    let nothing = NanoUsd(0);
    for (status, cost) in [
        (400, nothing),
        (401, nothing),
        (402, nothing),
        (404, nothing),
        (413, nothing),
        (429, nothing),
        (503, nothing),
        (529, nothing),
        (408, worst),
        (500, worst),
        (502, worst),
        (504, worst),
        (520, worst),
        (522, worst),
        (524, worst),
    ] {
        let model = OpenAi::new(Secret::new("key-1"), "m")
            .base_url(format!("{}/v1", server.url()))
            .price(price());
        let pool = Pool::builder()
            .deployment(Deployment::new("only", model))
            .build()
            .unwrap();
        let refusal = Fault::status(status, "oops").header("x-should-retry", "false");
        fake.next(Reply::default().fault(refusal));
        let budget = Arc::new(LocalBudget::new(None));
        let metered = call().with_budget(Arc::clone(&budget) as _);
        pool.complete(ask("Hi"), &metered).await.unwrap_err();
        let rows = budget.rows();
        let [row] = &*rows else { panic!("{rows:?}") };
        assert_eq!(row.cost, Some(cost), "{status}");
        assert_eq!(row.basis == Basis::WorstCase, cost == worst, "{status}");
    }
}

#[tokio::test]
async fn retry_hints_are_kept() {
    let check = async |headers: &[(&str, &str)], wait: Option<u64>, repeat: Option<bool>| {
        let fault = headers
            .iter()
            .fold(Fault::status(429, "{}"), |fault, (name, value)| {
                fault.header(*name, *value)
            });
        ask_all(Reply::default().fault(fault), |provider, answer| {
            let error = answer.expect_err(provider);
            assert_eq!(error.kind(), ErrorKind::RateLimited, "{provider}");
            let told = error.retry_after();
            assert_eq!(told, wait.map(Duration::from_millis), "{provider}");
            assert_eq!(error.should_retry(), repeat, "{provider}");
        })
        .await;
    };
    check(&[], None, None).await;
    check(&[("retry-after", "7")], Some(7000), None).await;
    let both = [("retry-after", "7"), ("retry-after-ms", "300")];
    check(&both, Some(300), None).await;
    check(&[("x-should-retry", "false")], None, Some(false)).await;
    check(&[("x-should-retry", "true")], None, Some(true)).await;
}

#[tokio::test]
async fn a_whole_answer_instead_of_a_stream_is_read() {
    let documents = [
        r#"{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello",
            "tool_calls":[{"id":"a","type":"function","function":{"name":"look_up","arguments":"{\"id\":7}"}}]},
            "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":30,"completion_tokens":7}}"#,
        r#"{"id":"m1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello"},
            {"type":"tool_use","id":"a","name":"look_up","input":{"id":7}}],"stop_reason":"tool_use","stop_sequence":null,
            "usage":{"input_tokens":30,"output_tokens":7}}"#,
        r#"{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"Hello",
            "tool_calls":[{"id":"a","function":{"name":"look_up","arguments":{"id":7}}}]},
            "done":true,"done_reason":"stop","prompt_eval_count":30,"eval_count":7}"#,
    ];
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    for (backend, document) in backends(server.url()).iter().zip(documents) {
        let provider = &backend.describe().provider;
        let fault =
            Fault::status(200, document).header("content-type", "application/json; charset=utf-8");
        fake.next(Reply::default().fault(fault));
        let answer = backend.complete(ask("Hi"), &call()).await.expect(provider);
        assert_eq!(answer.text(), "Hello", "{provider}");
        let calls: Vec<_> = answer.tool_calls().collect();
        assert_eq!(calls.len(), 1, "{provider}");
        assert_eq!(
            (calls[0].id.as_str(), calls[0].arguments.as_str()),
            ("a", r#"{"id":7}"#),
            "{provider}"
        );
        assert_eq!(
            (answer.finish, answer.model.as_str()),
            (Finish::ToolCalls, "m"),
            "{provider}"
        );
        let usage = answer.usage.expect(provider);
        assert_eq!((usage.input, usage.output), (30, 7), "{provider}");
    }
}

#[tokio::test]
async fn another_document_instead_of_a_stream_is_an_error() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let backends = backends(server.url());
    let check = async |backend: usize, media: &str, body: &str, kind| {
        let fault = Fault::status(200, body).header("content-type", media);
        fake.next(Reply::default().fault(fault));
        let answer = backends[backend].complete(ask("Hi"), &call()).await;
        let error = answer.expect_err(body);
        assert_eq!(error.kind(), kind, "{body}: {error}");
    };
    let json = "application/json";
    for backend in 0..3 {
        check(
            backend,
            "text/html; charset=utf-8",
            "<html>log in</html>",
            ErrorKind::Protocol,
        )
        .await;
        check(backend, json, r#"{"ok":true}"#, ErrorKind::Protocol).await;
        check(backend, json, "", ErrorKind::Protocol).await;
    }
    let quota = r#"{"error":{"message":"m","code":"insufficient_quota"}}"#;
    check(0, json, quota, ErrorKind::QuotaExhausted).await;
    let cut = r#"{"id":"c","choices":[{"message":{"content":"x"},"finish_reason":null}]}"#;
    check(0, json, cut, ErrorKind::Truncated).await;
    let busy = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
    check(1, json, busy, ErrorKind::Unavailable).await;
    let marked = format!("\u{feff}{busy}");
    check(1, json, &marked, ErrorKind::Unavailable).await;
    let cut = r#"{"type":"message","id":"m","model":"m","content":[{"type":"text","text":"x"}],"stop_reason":null}"#;
    check(1, json, cut, ErrorKind::Truncated).await;
    let cut = r#"{"model":"m","message":{"content":"x"},"done":true}"#;
    check(2, json, cut, ErrorKind::Truncated).await;
}

#[tokio::test]
async fn typed_errors() {
    let openai = |code: &str, kind: &str| {
        format!(r#"{{"error":{{"message":"m 503","type":"{kind}","param":null,"code":{code}}}}}"#)
    };
    let anthropic =
        |kind: &str| format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#);
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    let backends = backends(server.url());
    for (backend, status, body, kind) in [
        (
            0,
            429,
            openai(r#""insufficient_quota""#, "insufficient_quota"),
            ErrorKind::QuotaExhausted,
        ),
        (
            0,
            429,
            openai("null", "insufficient_quota"),
            ErrorKind::QuotaExhausted,
        ),
        (
            0,
            400,
            openai(r#""400""#, "no_db_connection"),
            ErrorKind::Unauthorized,
        ),
        (
            0,
            429,
            openai(r#""rate_limit_exceeded""#, "tokens"),
            ErrorKind::RateLimited,
        ),
        (
            0,
            400,
            openai(r#""context_length_exceeded""#, "invalid_request_error"),
            ErrorKind::TooLarge,
        ),
        (
            0,
            400,
            openai(r#""model_not_found""#, "invalid_request_error"),
            ErrorKind::NotFound,
        ),
        (
            0,
            501,
            openai("501", "not_supported_error"),
            ErrorKind::Unsupported,
        ),
        (0, 418, openai("null", "who_knows"), ErrorKind::Protocol),
        (
            1,
            529,
            anthropic("overloaded_error"),
            ErrorKind::Unavailable,
        ),
        (
            1,
            400,
            anthropic("billing_error"),
            ErrorKind::QuotaExhausted,
        ),
        (1, 504, anthropic("who_knows"), ErrorKind::Ambiguous),
        (
            0,
            503,
            openai("null", "server_error"),
            ErrorKind::Unavailable,
        ),
        (0, 500, openai("null", "server_error"), ErrorKind::Ambiguous),
        (
            2,
            503,
            r#"{"error":"server busy"}"#.into(),
            ErrorKind::Unavailable,
        ),
    ] {
        // OpenAI's 401 is declared as text; the content type is never trusted.
        let fault = Fault::status(status, body.clone()).header("content-type", "text/plain");
        fake.next(Reply::default().fault(fault));
        let error = backends[backend]
            .complete(ask("Hi"), &call())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}: {error}");
    }
}

#[tokio::test]
async fn the_total_time_limits_a_slow_stream() {
    let fake = FakeProvider::default();
    let server = fake.spawn().await.unwrap();
    fake.next(Reply::text("late").delay(Duration::from_secs(5)));
    let mut short = call();
    short.timeout = Duration::from_millis(100);
    let error = Ollama::new("m")
        .base_url(server.url())
        .complete(ask("Hi"), &short)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for backend in backends(&format!("{}/hidden", url.replace("://", "://me:hunter2@"))) {
        let error: Error = backend.complete(ask("Hi"), &call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let told = format!("{error:?}");
        for secret in ["key-1", "hunter2", "hidden"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
    assert_eq!(
        probe(&url).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    let nonsense = OpenAi::new(Secret::new("k"), "m").base_url("no url");
    let error = nonsense.complete(ask("Hi"), &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test]
async fn a_probe_names_the_models() {
    let server = FakeProvider::default()
        .models(["llama3.2", "qwen3"])
        .spawn()
        .await
        .unwrap();
    assert_eq!(probe(server.url()).await.unwrap(), ["llama3.2", "qwen3"]);
}
