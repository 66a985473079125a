//! Fills a store before the test with finished conversations of another tenant.

use std::{fs, path::Path, time::Duration};

use konstruct_channels::slack;
use konstruct_core::{
    Clock as _, ConnectionId, Result, SystemClock, TenantId, Timestamp, TurnId,
    id::WorkerId,
    message::RoutedEvent,
    store::{Append, ClaimRequest, Mailbox as _},
    turn::{Action, Cause, Entry, Event, Outcome, Record, SilenceReason},
};
use konstruct_memory::Redb;

use crate::Failed;

/// The size of a conversation (a record of it fits into 256 KiB, because redb's pages double), and the number written at a time.
const SIZE: usize = 250_000;
const AT_ONCE: u64 = 64;

/// Writes conversations until the file has about this size. Returns their number.
///
/// # Errors
/// Errors of the store.
pub async fn prefill(path: &Path, bytes: u64) -> Result<u64, Failed> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let store = Redb::open(path)?;
    let (tenant, connection) = (TenantId::new(), ConnectionId::new());
    let mut written = 0;
    while written * (SIZE as u64) < bytes {
        let texts = (written..written + AT_ONCE).map(|number| said(number, connection));
        let events = texts.flatten().collect();
        store.accept(tenant, events).await?;
        let worker = WorkerId::new();
        let mut writing = tokio::task::JoinSet::new();
        while let Some(claim) = store
            .claim(ClaimRequest::new(worker, Duration::from_secs(60)))
            .await?
            .conversation()
        {
            let store = store.clone();
            writing.spawn(async move {
                let Some(loaded) = store.load(&claim).await? else {
                    return Ok(());
                };
                let seen = loaded.inbox.last().map_or(0, |item| item.seq);
                let append = Append {
                    records: turn(loaded.now),
                    consume_to: Some(seen),
                    checkpoint: true,
                    ..Append::default()
                };
                store.append(&claim, loaded.len, append).await?;
                store.release(&claim, seen).await
            });
        }
        while let Some(ended) = writing.join_next().await {
            ended??;
        }
        written += AT_ONCE;
    }
    Ok(written)
}

fn said(number: u64, connection: ConnectionId) -> Vec<RoutedEvent> {
    let body = format!(
        r#"{{"type":"event_callback","team_id":"T2","event_id":"Ev{number}","event":{{"type":"message",
            "channel":"D{number}","channel_type":"im","user":"U{number}","ts":"1700000000.{number:06}","text":"hello"}}}}"#
    );
    let events = slack::decode(body.as_bytes(), SystemClock.now()).events;
    let route = |event| RoutedEvent { connection, event };
    events.into_iter().map(route).collect()
}

/// Returns a turn with a large tool result.
fn turn(at: Timestamp) -> Vec<Record> {
    let turn = TurnId::new();
    let record = |cause, entry| Record::new(turn, at, cause, entry);
    vec![
        record(
            Cause::Vendor,
            Entry::Event(Event::ToolReturned {
                id: "c1".into(),
                content: "All that there is to know. ".repeat(SIZE / 27),
                error: false,
            }),
        ),
        record(
            Cause::Employee,
            Entry::Action(Action::Finish {
                outcome: Outcome::Silent {
                    reason: SilenceReason::NotAddressed,
                },
            }),
        ),
    ]
}
