//! Invalid configurations: the server names the variable and exits.

use std::process::Stdio;

use tempfile::TempDir;

use crate::office::{Office, Wire, embedded_command, launch};

async fn check(variables: &[(&str, &str)], named: &str) {
    check_code(variables, named, 2).await;
}

/// Starts a server that must fail. Checks the exit code, and that its last line names the variable.
async fn check_code(variables: &[(&str, &str)], named: &str, code: i32) {
    let data = TempDir::new().unwrap();
    let mut command = embedded_command(data.path().join("data"));
    command
        .env("KONSTRUCT_MODEL", "extract")
        .env("RUST_LOG", "off")
        .stderr(Stdio::piped());
    command.envs(variables.iter().copied());
    let ended = command.spawn().unwrap().wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{variables:?}: {said}");
    assert!(said.contains(named), "{variables:?}: {said}");
    assert!(!said.contains('\u{1b}'), "no colours: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn the_variable_is_named() {
    for (name, value) in [
        ("KONSTRUCT_LISTEN", "nowhere"),
        ("KONSTRUCT_METRICS_LISTEN", "127.0.0.1"),
        ("KONSTRUCT_DRAIN_SECS", "soon"),
        ("KONSTRUCT_CONCURRENCY", "0"),
        ("KONSTRUCT_DEMO", "maybe"),
        ("KONSTRUCT_TRUSTED_PROXIES", "proxy.internal"),
        ("KONSTRUCT_PUBLIC_URL", "konstruct.example.com"),
        ("REDIS_URL", "not a url"),
        ("STRIPE_SECRET_KEY", "sk_test"),
    ] {
        check(&[(name, value)], name).await;
    }
}

#[tokio::test]
async fn the_embedded_store_has_one_process() {
    for role in ["web", "worker"] {
        let mut command = embedded_command(TempDir::new().unwrap().path().join("data"));
        command.args(["serve", "--role", role]);
        command.env("RUST_LOG", "off").stderr(Stdio::piped());
        let ended = command.spawn().unwrap().wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains("--role: needs DATABASE_URL"), "{said}");
    }
}

#[tokio::test]
async fn missing_variables_are_named() {
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
    check(
        &[("KONSTRUCT_MODEL", "oracle/delphi")],
        "KONSTRUCT_MODEL (`model`)",
    )
    .await;
    check(
        &[("KONSTRUCT_EMBEDDER", "oracle")],
        "KONSTRUCT_EMBEDDER (`embedder.model`)",
    )
    .await;
    check(
        &[("KONSTRUCT_TRANSCRIBER", "oracle/ears")],
        "KONSTRUCT_TRANSCRIBER (`transcriber.model`): must be `openai/MODEL`",
    )
    .await;
    check(
        &[("KONSTRUCT_TRANSCRIBER", "openai/whisper-1")],
        "OPENAI_API_KEY",
    )
    .await;
    check(&[("KONSTRUCT_PRICES", "/nowhere")], "KONSTRUCT_PRICES").await;
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

#[tokio::test]
async fn an_unavailable_address_is_named_with_the_way_out() {
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    for name in ["KONSTRUCT_LISTEN", "KONSTRUCT_METRICS_LISTEN"] {
        let key = name.strip_prefix("KONSTRUCT_").unwrap().to_lowercase();
        let said = format!("{name} (`{key}`): {address} is in use; stop the other process");
        // Another start may succeed.
        check_code(&[(name, &address)], &said, 1).await;
    }
    let elsewhere = "192.0.2.1:8080";
    check(&[("KONSTRUCT_LISTEN", elsewhere)], "use 0.0.0.0").await;
}

#[tokio::test]
async fn an_unusable_data_directory_is_named_with_the_way_out() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    for path in ["/proc/konstruct", file.to_str().unwrap()] {
        let said = format!("KONSTRUCT_DATA_DIR (`data_dir`): {path} cannot be used");
        check(&[("KONSTRUCT_DATA_DIR", path)], &said).await;
    }
    let store = dir.path().join("broken");
    std::fs::create_dir(&store).unwrap();
    std::fs::write(store.join("konstruct.redb"), "not a store at all").unwrap();
    let store = store.to_str().unwrap();
    let said = format!("KONSTRUCT_DATA_DIR (`data_dir`): the store in {store} cannot be");
    check_code(&[("KONSTRUCT_DATA_DIR", store)], &said, 1).await;
    check(
        &[("KONSTRUCT_MASTER_KEY", "one:two")],
        "KONSTRUCT_MASTER_KEY",
    )
    .await;
}

#[tokio::test]
async fn a_store_in_use_and_a_wrong_key_are_named() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut first = embedded_command(data.clone());
    first.env("KONSTRUCT_MODEL", "extract");
    let server = launch(first).await;
    let path = data.to_str().unwrap();
    let said = format!("KONSTRUCT_DATA_DIR (`data_dir`): {path} is used by another process");
    check_code(&[("KONSTRUCT_DATA_DIR", path)], &said, 1).await;
    assert!(server.terminate().await.success());
    let other = format!("other:{}=", "A".repeat(43));
    let variables = [
        ("KONSTRUCT_DATA_DIR", path),
        ("KONSTRUCT_MASTER_KEY", &*other),
    ];
    check(
        &variables,
        "KONSTRUCT_MASTER_KEY (`master_key`): does not open the store",
    )
    .await;
}

#[tokio::test]
async fn the_start_reports_connections_and_unused_variables() {
    let office = Office::open().await;
    let mut command = office.command(Wire::OpenAi);
    command.env("KONSTRUCT_PLANS", "plans.toml");
    let server = launch(command).await;
    for line in [
        "  slack: connected to T1\n",
        "  whatsapp: connected to 106540352242922\n",
        "KONSTRUCT_PLANS: has no effect in this version\n",
        "Model: openai/fake\n",
    ] {
        assert!(server.printed.contains(line), "{line}: {}", server.printed);
    }
}
