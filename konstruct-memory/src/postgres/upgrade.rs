//! Upgrades a stored event after a repetition of it mentions the employee.

use std::collections::BTreeSet;

use konstruct_core::{PersonId, Result, message::RoutedEvent};
use uuid::Uuid;

use super::{
    accept::{LogicalEvent, named},
    error::stored,
    tenant::TenantTx,
    vault::{self, Persons, row_in},
};
use crate::seal::TenantKey;

/// The outcome for a stored event after a repetition of it mentions the employee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// The stored event now mentions the employee.
    Upgraded,
    /// The stored event was already consumed by a turn that did not know of the mention.
    Consumed,
    /// The stored event was erased.
    Erased,
}

/// Records on a stored event that it mentions the employee, and that a holder who loaded it earlier has an outdated version.
pub(super) async fn upgrade(
    tx: &mut TenantTx,
    key: &TenantKey,
    routed: &RoutedEvent,
    original: LogicalEvent,
) -> Result<Upgrade> {
    let kept = read(tx, key, routed, original).await?;
    let consumed: Option<i64> = sqlx::query_scalar(
        "select consumed from konstruct.mailboxes where tenant = $1 and conversation = $2 for update",
    )
    .bind(tx.id())
    .bind(original.conversation)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    let (Some(consumed), kept) = (consumed, kept) else {
        return Ok(Upgrade::Erased);
    };
    if original.seq <= consumed {
        return Ok(Upgrade::Consumed);
    }
    let Some(sealed) = kept else {
        return Ok(Upgrade::Erased);
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
    .bind(original.conversation)
    .bind(original.seq)
    .bind(sealed)
    .bind(tx.given())
    .execute(tx.db())
    .await
    .map_err(stored)?;
    Ok(Upgrade::Upgraded)
}

/// Reads the stored event, and seals it again with the mention. `None` if it does not exist.
async fn read(
    tx: &mut TenantTx,
    key: &TenantKey,
    routed: &RoutedEvent,
    original: LogicalEvent,
) -> Result<Option<Vec<u8>>> {
    let row: Option<(Vec<Uuid>, Vec<u8>)> = sqlx::query_as(
        "select persons, sealed from konstruct.inbox where tenant = $1 and conversation = $2 and seq = $3",
    )
    .bind(tx.id())
    .bind(original.conversation)
    .bind(original.seq)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    let Some((persons, sealed)) = row else {
        return Ok(None);
    };
    let place = row_in(original.conversation, original.seq);
    let mut opened = vault::open(tx, key, "inbox", &[(place.clone(), Some(sealed))]).await?;
    let kept: Option<RoutedEvent> = opened.pop().flatten().filter(|kept: &RoutedEvent| {
        // Numbers restart after an erasure, so it may be another event.
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
