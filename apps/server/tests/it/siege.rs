//! Clients that take what they can: connections, descriptors, and memory for bodies.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use konstruct_core::{Clock as _, SystemClock};
use tokio::{io::AsyncWriteExt as _, process::Command, task::JoinSet};

use crate::{
    line::Line,
    office::{CUSTOMER, NUMBER, Office, Server, Wire, eventually, get, launch},
};

/// The begin of a request that never ends.
const SLOW: &[u8] = b"POST /webhooks/whatsapp HTTP/1.1\r\nx-slow: ";
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Returns a command that runs another one within the limits of a shell's `ulimit`.
fn within(limits: &str, command: &Command) -> Command {
    let inner = command.as_std();
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(format!("{limits} && exec \"$0\" \"$@\""))
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    shell
}

#[tokio::test]
async fn idle_connections_do_not_stop_a_server_with_few_descriptors() {
    let office = Office::embedded().await;
    // The soft limit is raised to the hard one.
    let limits = "ulimit -Sn 64 && ulimit -Hn 256";
    let server = launch(within(limits, &office.command(Wire::OpenAi))).await;
    server.vendors_have_confirmed().await;
    let mut idle = Vec::new();
    for nth in 0..400 {
        let first = if nth % 2 == 0 { b"".as_slice() } else { SLOW };
        idle.push(Line::open(&server.url, first).await);
    }
    // Webhooks, the model, the vendor and the metrics are reached.
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
    let closed = "konstruct_connections_closed_total{reason=\"limit\"}";
    eventually(async || server.metric(closed).await >= Some(280.0)).await;
    let open = server.metric("konstruct_connections").await.unwrap();
    assert!((1.0..=128.0).contains(&open), "{open}");
    assert!(server.open_descriptors() < 200);
    assert_eq!(
        server.metric("konstruct_accept_failures_total").await,
        Some(0.0)
    );
    // The oldest were closed, and the youngest are open.
    assert!(idle[0].is_closed().await && idle[1].is_closed().await);
    let open = idle[399].0.try_read(&mut [0; 1]);
    assert!(open.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}

fn log_of(office: &Office, command: &mut Command) -> PathBuf {
    let path = office.data().with_file_name("server.log");
    command.stderr(std::fs::File::create(&path).unwrap());
    path
}

#[tokio::test]
async fn a_lack_of_descriptors_is_survived_counted_and_logged_once() {
    let office = Office::embedded().await;
    let mut command = office.command(Wire::OpenAi);
    let log = log_of(&office, &mut command);
    let server = launch(command).await;
    server.vendors_have_confirmed().await;
    let metrics = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut watch = Line::open(&server.metrics, metrics).await;
    watch.answer().await;
    let mut failures = async || {
        watch.send(metrics).await;
        let text = watch.answer().await.body;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("konstruct_accept_failures_total "));
        value.unwrap().parse::<u64>().unwrap()
    };
    let mut oldest = Line::open(&server.url, SLOW).await;
    let mut busy = Line::open(&server.url, HEALTH).await;
    assert_eq!(busy.answer().await.status, 200);

    // The oldest connection makes room for the next one.
    server.limit_descriptors(Some(server.open_descriptors() as u64));
    let mut next = Line::open(&server.url, HEALTH).await;
    assert_eq!(next.answer().await.status, 200);
    assert!(oldest.is_closed().await);

    // Nothing can make enough room: the accept is tried again until there is some, at its pace.
    server.limit_descriptors(Some(8));
    let begun = std::time::Instant::now();
    let mut waiting = Line::open(&server.url, HEALTH).await;
    let before = failures().await;
    eventually(async || failures().await >= before + 5).await;
    let tried = failures().await - before;
    let at_most = begun.elapsed().as_millis() / 100 + 1;
    assert!(
        u128::from(tried) <= at_most,
        "{tried} in {:?}",
        begun.elapsed()
    );
    server.limit_descriptors(None);
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(get(&format!("{}/readyz", server.url)).await.0, 200);
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("could not accept"))
        .collect();
    assert!(
        lines.len() == 1 && lines[0].contains("LimitNOFILE"),
        "{log}"
    );
}

/// Sends the head of a webhook with a large body, and then the body.
async fn flood(url: String, path: &'static str, headers: String, size: usize) -> Option<u16> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {size}\r\n\r\n"
    );
    let mut line = Line::open(&url, head.as_bytes()).await;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..size / piece.len() {
        // A refused sender may lose its connection.
        line.0.write_all(&piece).await.ok()?;
    }
    Some(line.answer().await.status)
}

/// Sends bodies of 3 MB at the same time. Returns the numbers of their statuses.
async fn flood_of(
    server: &Server,
    bodies: usize,
    path: &'static str,
    headers: &str,
) -> BTreeMap<u16, usize> {
    let mut senders = JoinSet::new();
    for _ in 0..bodies {
        senders.spawn(flood(
            server.url.clone(),
            path,
            headers.to_owned(),
            46 << 16,
        ));
    }
    let mut statuses = BTreeMap::new();
    for status in senders.join_all().await.into_iter().flatten() {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unsigned_bodies_takes_no_memory() {
    let office = Office::embedded().await;
    let server = office.start().await;
    let before = server.peak_memory();
    let time = format!(
        "x-slack-request-timestamp: {}\r\n",
        SystemClock.now().as_secs() - 3_600
    );
    let stale = format!("x-slack-signature: v0={}\r\n{time}", "a".repeat(64));
    for (path, headers) in [
        ("/webhooks/whatsapp", ""),
        ("/webhooks/slack/events", ""),
        ("/webhooks/slack/commands", &stale),
    ] {
        let statuses = flood_of(&server, 600, path, headers).await;
        assert_eq!(
            statuses.keys().collect::<Vec<_>>(),
            [&401],
            "{path}: {statuses:?}"
        );
        assert!(statuses[&401] > 500, "{path}: {statuses:?}");
    }
    let grown = server.peak_memory() - before;
    assert!(grown < 60, "{grown} MB");
    let refused = "konstruct_webhooks_refused_total{reason=\"signature\"}";
    assert!(server.metric(refused).await >= Some(1_500.0));
    assert_eq!(server.metric("konstruct_body_bytes").await, Some(0.0));
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_with_a_forged_signature_share_a_budget() {
    let office = Office::embedded().await;
    let server = office.start().await;
    let before = server.peak_memory();
    let forged = format!("x-hub-signature-256: sha256={}\r\n", "a".repeat(64));
    let flooding = flood_of(&server, 200, "/webhooks/whatsapp", &forged);
    let served = async {
        let mut statuses = Vec::new();
        for _ in 0..50 {
            let message = office.graph.message(NUMBER, CUSTOMER, "hello");
            statuses.push(server.whatsapp(&message).await);
        }
        statuses
    };
    let (statuses, served) = tokio::join!(flooding, served);
    // The vendors' small bodies are never the oldest for long.
    assert!(
        served.iter().filter(|status| **status == 200).count() >= 45,
        "{served:?}"
    );
    assert!(
        served.iter().all(|status| [200, 503].contains(status)),
        "{served:?}"
    );
    let documented = [401, 408, 503];
    assert!(
        statuses.keys().all(|status| documented.contains(status)),
        "{statuses:?}"
    );
    let grown = server.peak_memory() - before;
    assert!(grown < 120, "{grown} MB, {statuses:?}");
    assert_eq!(server.metric("konstruct_body_bytes").await, Some(0.0));
}
