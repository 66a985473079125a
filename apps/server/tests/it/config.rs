//! A configuration that cannot be: the server says which variable, and ends.

use std::process::Stdio;

use tempfile::TempDir;

use crate::office::command;

async fn check(variables: &[(&str, &str)], named: &str) {
    let data = TempDir::new().unwrap();
    let mut command = command(data.path().join("data"));
    command
        .env("KONSTRUCT_MODEL", "extract")
        .stderr(Stdio::piped());
    command.envs(variables.iter().copied());
    let ended = command.spawn().unwrap().wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{variables:?}: {said}");
    assert!(said.contains(named), "{variables:?}: {said}");
}

#[tokio::test]
async fn the_variable_is_named() {
    for (name, value) in [
        ("KONSTRUCT_LISTEN", "nowhere"),
        ("KONSTRUCT_METRICS_LISTEN", "127.0.0.1"),
        ("KONSTRUCT_DRAIN_SECS", "soon"),
        ("KONSTRUCT_CONCURRENCY", "0"),
        ("KONSTRUCT_SANDBOX", "maybe"),
        ("DATABASE_URL", "postgres://127.0.0.1/konstruct"),
        ("REDIS_URL", "redis://127.0.0.1"),
        ("STRIPE_SECRET_KEY", "sk_test"),
    ] {
        check(&[(name, value)], name).await;
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    check(
        &[("WHATSAPP_PHONE_NUMBER_ID", "1")],
        "WHATSAPP_ACCESS_TOKEN",
    )
    .await;
    check(&[("KONSTRUCT_MODEL", "openai/gpt")], "OPENAI_API_KEY").await;
    check(
        &[("KONSTRUCT_MODEL", "anthropic/claude")],
        "ANTHROPIC_API_KEY",
    )
    .await;
    check(&[("KONSTRUCT_MODEL", "oracle/delphi")], "model").await;
    check(&[("KONSTRUCT_EMBEDDER", "oracle")], "embedder.model").await;
    check(&[("KONSTRUCT_EMBEDDER", "openai/m")], "OPENAI_API_KEY").await;
    let key = ("OPENAI_API_KEY", "sk-1");
    check(&[("KONSTRUCT_EMBEDDER", "openai/m"), key], "embedder.dim").await;
    let nobody = ("OLLAMA_HOST", "127.0.0.1:9");
    check(
        &[("KONSTRUCT_EMBEDDER", "ollama/m"), nobody],
        "embedder.dim",
    )
    .await;
}
