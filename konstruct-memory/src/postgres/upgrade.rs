//! An event that is kept, once its twin is known to name the employee.

use std::collections::BTreeSet;

use konstruct_core::{PersonId, Result, message::RoutedEvent};
use uuid::Uuid;

use super::{
    accept::{Twin, named},
    error::stored,
    tenant::TenantTx,
    vault::{self, Persons, row_in},
};
use crate::seal::TenantKey;

/// What became of an event whose twin names the employee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// The stored twin names the employee now.
    Done,
    /// The stored twin was input to a turn that did not know.
    Consumed,
    /// The stored twin was erased.
    Gone,
}

/// Notes on a stored event that it names the employee, and that whoever loaded it before knows it no longer.
pub(super) async fn upgrade(
    tx: &mut TenantTx,
    key: &TenantKey,
    routed: &RoutedEvent,
    twin: Twin,
) -> Result<Upgrade> {
    let kept = read(tx, key, routed, twin).await?;
    let consumed: Option<i64> = sqlx::query_scalar(
        "select consumed from konstruct.mailboxes where tenant = $1 and conversation = $2 for update",
    )
    .bind(tx.id())
    .bind(twin.conversation)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    let (Some(consumed), kept) = (consumed, kept) else {
        return Ok(Upgrade::Gone);
    };
    if twin.seq <= consumed {
        return Ok(Upgrade::Consumed);
    }
    let Some(sealed) = kept else {
        return Ok(Upgrade::Gone);
    };
    sqlx::query(
        "with item as (
             update konstruct.inbox set sealed = $4 where tenant = $1 and conversation = $2 and seq = $3
         )
         update konstruct.mailboxes set
             changed = case when lease_until is not null then least(changed, $3) end,
             ready_at = case when lease_until is null then coalesce(ready_at, $5, konstruct.now_us()) end
         where tenant = $1 and conversation = $2",
    )
    .bind(tx.id())
    .bind(twin.conversation)
    .bind(twin.seq)
    .bind(sealed)
    .bind(tx.given())
    .execute(tx.db())
    .await
    .map_err(stored)?;
    Ok(Upgrade::Done)
}

/// Reads the stored event, and seals it anew as one that names the employee. `None` if it is not there.
async fn read(
    tx: &mut TenantTx,
    key: &TenantKey,
    routed: &RoutedEvent,
    twin: Twin,
) -> Result<Option<Vec<u8>>> {
    let row: Option<(Vec<Uuid>, Vec<u8>)> = sqlx::query_as(
        "select persons, sealed from konstruct.inbox where tenant = $1 and conversation = $2 and seq = $3",
    )
    .bind(tx.id())
    .bind(twin.conversation)
    .bind(twin.seq)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    let Some((persons, sealed)) = row else {
        return Ok(None);
    };
    let place = row_in(twin.conversation, twin.seq);
    let mut opened = vault::open(tx, key, "inbox", &[(place.clone(), Some(sealed))]).await?;
    let kept: Option<RoutedEvent> = opened.pop().flatten().filter(|kept: &RoutedEvent| {
        // After an erasure, numbers begin again: it may be another event.
        kept.connection == routed.connection && kept.event.logical_id == routed.event.logical_id
    });
    let Some(mut kept) = kept else {
        return Ok(None);
    };
    kept.event.addressed = named(&kept, routed);
    let persons: BTreeSet<_> = persons
        .iter()
        .map(|person| PersonId::from_bytes(*person.as_bytes()))
        .collect();
    let keys = Persons::of(tx, key, &persons).await?;
    keys.seal(key, persons, ("inbox", &place), &kept).map(Some)
}
