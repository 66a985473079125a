//! Reads the content of all hits of a recall in one transaction.

use konstruct_core::{Result, TenantId, store::Stored, turn::Record};
use uuid::Uuid;

use super::{
    super::{
        Inner,
        claim::{signed, uuid},
        error::{corrupt, stored},
        tenant::{Mode, TenantTx},
        vault::{KeysById, row_in},
    },
    Read, ReadRequest,
    rows::place,
};
use crate::seal::TenantKey;

/// Each row by its key, each range of a log, by its position in the request, and the keys that they are sealed with.
const ALL: &str = "
with wanted_rows as materialized (
    select w.i, r.sealed from unnest($2::smallint[], $3::bytea[]) with ordinality w(kind, key, i) cross join lateral (
        select r.sealed from konstruct.rows r where r.tenant = $1 and r.kind = w.kind and r.key = w.key offset 0) r
), wanted_logs as materialized (
    select w.i, l.index, l.sealed
    from unnest($4::uuid[], $5::bigint[], $6::bigint[]) with ordinality w(conversation, first, last, i) cross join lateral (
        select l.index, l.sealed from konstruct.log l
        where l.tenant = $1 and l.conversation = w.conversation and l.index >= w.first and l.index < w.last offset 0) l
), ids as (
    select k.id from wanted_rows, konstruct.key_ids(sealed) k(id)
    union select k.id from wanted_logs, konstruct.key_ids(sealed) k(id)
)
select 0, 0::bigint, 0::bigint, k.wrapped, k.person, k.key
from konstruct.person_keys k where k.tenant = $1 and k.key = any(array(select id from ids))
union all
select 1, i, 0, sealed, null, null from wanted_rows
union all
select * from (select 2, i, index, sealed, null::uuid, null::uuid from wanted_logs order by i, index) logs";

type Row = (i32, i64, i64, Option<Vec<u8>>, Option<Uuid>, Option<Uuid>);

impl Inner {
    /// Reads rows and ranges of logs.
    pub(super) async fn read_all(&self, tenant: TenantId, wanted: &ReadRequest) -> Result<Read> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(key) = self.vault.key(&mut tx).await? else {
            let logs = wanted.logs.iter().map(|_| Vec::new()).collect();
            return Ok((vec![None; wanted.rows.len()], logs));
        };
        all(&mut tx, &key, wanted).await
    }
}

/// Converts a position that is counted from 1.
fn at(number: i64) -> Result<usize> {
    usize::try_from(number - 1).map_err(|_| corrupt())
}

/// Reads rows and ranges of logs.
pub(super) async fn all(tx: &mut TenantTx, key: &TenantKey, wanted: &ReadRequest) -> Result<Read> {
    let mut rows = vec![None; wanted.rows.len()];
    let mut logs: Vec<Vec<Stored>> = wanted.logs.iter().map(|_| Vec::new()).collect();
    if rows.is_empty() && logs.is_empty() {
        return Ok((rows, logs));
    }
    let kinds: Vec<i16> = wanted.rows.iter().map(|(kind, _)| *kind as i16).collect();
    let row_keys: Vec<&[u8]> = wanted.rows.iter().map(|(_, key)| key.as_slice()).collect();
    let conversations: Vec<Uuid> = wanted.logs.iter().map(|(id, _)| uuid(*id)).collect();
    let first = wanted.logs.iter().map(|(_, range)| signed(range.start));
    let last = wanted.logs.iter().map(|(_, range)| signed(range.end));
    let found: Vec<Row> = sqlx::query_as(ALL)
        .bind(tx.id())
        .bind(kinds)
        .bind(row_keys)
        .bind(&conversations)
        .bind(first.collect::<Vec<_>>())
        .bind(last.collect::<Vec<_>>())
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
    let mut keys = KeysById::default();
    for row in found {
        match row {
            (0, _, _, Some(wrapped), Some(person), Some(id)) => {
                keys.add(key, (person, id, &wrapped))?;
            }
            (1, number, _, Some(sealed), ..) => {
                let number = at(number)?;
                let (kind, of) = wanted.rows.get(number).ok_or_else(corrupt)?;
                let opened = keys.open_bytes(key, ("rows", &place(*kind, of)), &sealed)?;
                rows[number] = opened.map(Into::into);
            }
            (2, number, index, sealed, ..) => {
                let number = at(number)?;
                let conversation = conversations.get(number).ok_or_else(corrupt)?;
                let row = row_in(*conversation, index);
                let opened = sealed.map(|sealed| keys.open(key, ("log", &row), &sealed));
                let record: Option<Record> = opened.transpose()?.flatten();
                logs[number].push(Stored::new(index.cast_unsigned(), record));
            }
            _ => return Err(corrupt()),
        }
    }
    Ok((rows, logs))
}
