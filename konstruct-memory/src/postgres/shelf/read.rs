//! All that the hits of a recall show, in one transaction.

use konstruct_core::{ConversationId, Result, TenantId, turn::Stored};
use uuid::Uuid;

use super::{
    super::{
        Inner,
        claim::{signed, uuid},
        error::{corrupt, stored},
        tenant::{Mode, TenantTx},
        vault::{self, row_in},
    },
    Kind, Read, Wanted,
    rows::place,
};
use crate::seal::TenantKey;

/// Each row by its key, by the place where it is wanted.
const ROWS: &str = "
select w.i, r.sealed from unnest($2::smallint[], $3::bytea[]) with ordinality w(kind, key, i) cross join lateral (
    select r.sealed from konstruct.rows r where r.tenant = $1 and r.kind = w.kind and r.key = w.key offset 0) r";

/// Each part of a log, by the place where it is wanted and the index.
const LOGS: &str = "
select w.i, l.index, l.sealed
from unnest($2::uuid[], $3::bigint[], $4::bigint[]) with ordinality w(conversation, first, last, i) cross join lateral (
    select l.index, l.sealed from konstruct.log l
    where l.tenant = $1 and l.conversation = w.conversation and l.index >= w.first and l.index < w.last offset 0) l
order by w.i, l.index";

impl Inner {
    /// Reads rows and parts of logs.
    pub(super) async fn read_all(&self, tenant: TenantId, wanted: &Wanted) -> Result<Read> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            let logs = wanted.logs.iter().map(|_| Vec::new()).collect();
            return Ok((vec![None; wanted.rows.len()], logs));
        };
        let rows = rows(&mut tx, &key, &wanted.rows).await?;
        let logs = logs(&mut tx, &key, wanted).await?;
        Ok((rows, logs))
    }
}

/// The place of something that is counted from 1.
fn at(number: i64) -> Result<usize> {
    usize::try_from(number - 1).map_err(|_| corrupt())
}

async fn rows(
    tx: &mut TenantTx,
    key: &TenantKey,
    wanted: &[(Kind, Vec<u8>)],
) -> Result<Vec<Option<Vec<u8>>>> {
    let mut sealed: Vec<_> = wanted
        .iter()
        .map(|(kind, key)| (place(*kind, key), None))
        .collect();
    if !sealed.is_empty() {
        let kinds: Vec<i16> = wanted.iter().map(|(kind, _)| *kind as i16).collect();
        let keys: Vec<&[u8]> = wanted.iter().map(|(_, key)| key.as_slice()).collect();
        let found: Vec<(i64, Vec<u8>)> = sqlx::query_as(ROWS)
            .bind(tx.id())
            .bind(kinds)
            .bind(keys)
            .fetch_all(tx.db())
            .await
            .map_err(stored)?;
        for (number, bytes) in found {
            sealed.get_mut(at(number)?).ok_or_else(corrupt)?.1 = Some(bytes);
        }
    }
    let opened = vault::open_bytes(tx, key, "rows", &sealed).await?;
    Ok(opened.into_iter().map(|row| row.map(Into::into)).collect())
}

async fn logs(tx: &mut TenantTx, key: &TenantKey, wanted: &Wanted) -> Result<Vec<Vec<Stored>>> {
    let mut logs: Vec<Vec<Stored>> = wanted.logs.iter().map(|_| Vec::new()).collect();
    if logs.is_empty() {
        return Ok(logs);
    }
    let of = |conversation: &ConversationId| uuid(*conversation);
    let conversations: Vec<Uuid> = wanted.logs.iter().map(|(id, _)| of(id)).collect();
    let first = wanted.logs.iter().map(|(_, range)| signed(range.start));
    let last = wanted.logs.iter().map(|(_, range)| signed(range.end));
    let found: Vec<(i64, i64, Option<Vec<u8>>)> = sqlx::query_as(LOGS)
        .bind(tx.id())
        .bind(&conversations)
        .bind(first.collect::<Vec<_>>())
        .bind(last.collect::<Vec<_>>())
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
    let (mut places, mut sealed) = (Vec::with_capacity(found.len()), Vec::new());
    for (number, index, bytes) in found {
        let number = at(number)?;
        let conversation = conversations.get(number).ok_or_else(corrupt)?;
        sealed.push((row_in(*conversation, index), bytes));
        places.push((number, index));
    }
    let records = vault::open(tx, key, "log", &sealed).await?;
    for ((number, index), record) in places.into_iter().zip(records) {
        let index = index.cast_unsigned();
        logs[number].push(Stored { index, record });
    }
    Ok(logs)
}
