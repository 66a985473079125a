//! `kill -9` at any moment loses nothing that was acknowledged: a child process is killed repeatedly.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use konstruct_core::{
    ConnectionId, TenantId,
    id::WorkerId,
    store::{Accepted, ClaimRequest, History as _, Mailbox as _},
};
use konstruct_memory::Redb;

use crate::common::message;

/// The store of the process to be killed; unset in normal runs.
const STORE: &str = "KONSTRUCT_TEST_KILLED_STORE";

const TENANT: TenantId = TenantId::from_bytes([5; 16]);
const CONNECTION: ConnectionId = ConnectionId::from_bytes([6; 16]);

/// The process to be killed: eight callers write endlessly, and each prints what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_killed() {
    let Ok(path) = std::env::var(STORE) else {
        return;
    };
    let store = Redb::open(path).unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let store = store.clone();
        callers.spawn(async move {
            loop {
                let id = WorkerId::new().to_string();
                let event = message(CONNECTION, &format!("C{caller}"), &id, &id);
                let outcome = store.accept(TENANT, vec![event]).await.unwrap();
                assert!(matches!(outcome[..], [Accepted::New { .. }]));
                writeln!(std::io::stdout(), "\nanswered {id}").unwrap();
            }
        });
    }
    callers.join_all().await;
}

/// Runs it until this many events are acknowledged, kills it, and returns all ids that it printed.
fn answered(path: &Path, many: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_killed", "--nocapture"])
        .env(STORE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ids = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = |ids: &mut Vec<String>| {
        let line = lines.next()?.ok()?;
        ids.extend(line.strip_prefix("answered ").map(str::to_owned));
        Some(())
    };
    while ids.len() < many {
        said(&mut ids).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Lines printed before it died count too. The last one may be truncated.
    while said(&mut ids).is_some() {}
    ids.retain(|id| id.parse::<WorkerId>().is_ok());
    ids
}

#[tokio::test]
async fn acknowledged_events_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut all = Vec::new();
    for many in [1, 2, 17, 50, 100, 300] {
        all.extend(answered(&path, many));
        let store = Redb::open(&path).unwrap();
        for id in &all {
            let event = message(CONNECTION, "elsewhere", id, id);
            let outcome = store.accept(TENANT, vec![event]).await.unwrap();
            assert_eq!(outcome, [Accepted::Duplicate], "{id} was answered");
        }
        let listed = store.list(TENANT, None, 100).await.unwrap();
        let kept: u64 = listed
            .iter()
            .map(|conversation| conversation.unconsumed)
            .sum();
        assert!(kept >= all.len() as u64);
        assert!(
            store
                .claim(ClaimRequest::new(
                    WorkerId::new(),
                    std::time::Duration::from_secs(1)
                ))
                .await
                .unwrap()
                .conversation()
                .is_some()
        );
    }
}
