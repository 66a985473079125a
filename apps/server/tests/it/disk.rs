//! A full disk: no acknowledged event is lost, and the server serves again when there is room.
//!
//! A limit on the process's file size simulates the full disk: a write beyond it fails.

use serde_json::Value;

use crate::office::{CUSTOMER, NUMBER, Office, Server, eventually, get};

/// The file size limit: smaller than the store's file.
const FULL: Option<u64> = Some(8192);

async fn readiness(server: &Server) -> (u16, Value) {
    let (status, body) = get(&format!("{}/readyz", server.url)).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_full_disk_is_survived_and_nothing_is_lost() {
    let office = Office::embedded().await;
    let server = office.start().await;
    assert_eq!(readiness(&server).await.0, 200);
    for round in 1..=2 {
        let before = office.graph.message(NUMBER, CUSTOMER, "before");
        assert_eq!(server.whatsapp(&before).await, 200);
        server.limit_files(FULL);
        // An index write may fail first; in either case the event is not acknowledged.
        let meanwhile = office.graph.message(NUMBER, CUSTOMER, "meanwhile");
        eventually(async || server.whatsapp(&meanwhile).await == 503).await;
        let (status, body) = readiness(&server).await;
        assert_eq!(
            (status, &body["checks"]["store"]),
            (503, &"failed".into()),
            "{body}"
        );
        let problem = body["last_failed_write"]["problem"].as_str();
        assert!(problem.is_some_and(|text| !text.is_empty()), "{body}");
        assert_eq!(get(&format!("{}/healthz", server.url)).await.0, 200);

        server.limit_files(None);
        // The vendor delivers again until the event is acknowledged.
        eventually(async || server.whatsapp(&meanwhile).await == 200).await;
        let after = office.graph.message(NUMBER, CUSTOMER, "after");
        assert_eq!(server.whatsapp(&after).await, 200);
        eventually(async || readiness(&server).await.0 == 200).await;
        let [conversation] = server.wait_until_processed(1).await.try_into().unwrap();
        let messages = conversation.turns.iter().flat_map(|turn| &turn.messages);
        let mut said: Vec<_> = messages
            .filter(|message| message.from == "person")
            .map(|message| message.text.as_str())
            .collect();
        said.sort_unstable();
        said.dedup_by_key(|text| *text);
        assert_eq!(said, ["after", "before", "meanwhile"], "{conversation:?}");
        assert!(office.accepted_count() >= round);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_reopened_ends_the_process() {
    let office = Office::embedded().await;
    let server = office.start().await;
    let moved = office.data().with_file_name("moved");
    std::fs::rename(office.data(), &moved).unwrap();
    server.limit_files(FULL);
    let message = office.graph.message(NUMBER, CUSTOMER, "hello");
    assert_eq!(server.whatsapp(&message).await, 503);
    server.limit_files(None);
    let status = server.ended().await;
    assert_eq!(status.code(), Some(1), "{status}");

    // A supervisor restarts it when the directory is back.
    std::fs::rename(&moved, office.data()).unwrap();
    let server = office.start().await;
    assert_eq!(server.whatsapp(&message).await, 200);
    office.wait_for_accepted(1).await;
}
