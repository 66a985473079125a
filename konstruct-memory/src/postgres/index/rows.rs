//! Sealed rows by kind and key.

use konstruct_core::{Result, TenantId};

use super::{
    super::{
        Inner,
        claim::signed,
        error::stored,
        tenant::{Mode, TenantTx},
        vault::{self, Persons},
    },
    Plan, RowKind,
};
use crate::{memory::backend::RowPut, seal::TenantKey};

impl Inner {
    pub(super) async fn row(
        &self,
        tenant: TenantId,
        kind: RowKind,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let found: Option<(Option<Vec<u8>>, Vec<u8>)> = sqlx::query_as(
            "select (select wrapped from konstruct.tenant_keys where tenant = $1), sealed
             from konstruct.rows where tenant = $1 and kind = $2 and key = $3",
        )
        .bind(tx.id())
        .bind(kind as i16)
        .bind(key)
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        let Some((Some(wrapped), sealed)) = found else {
            return Ok(None);
        };
        let of = self.vault.unwrap(tenant, wrapped)?;
        let rows = [(place(kind, key), Some(sealed))];
        let opened = vault::open_bytes(&mut tx, &of, "rows", &rows).await?.pop();
        // Nothing was written; do not wait for the end of the transaction.
        drop(tx);
        Ok(opened.flatten().map(Into::into))
    }

    pub(super) async fn rows(
        &self,
        tenant: TenantId,
        kind: RowKind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut tx = self.db.tenant(tenant, Mode::Read).await?;
        let Some(of) = self.vault.key(&mut tx).await? else {
            return Ok(Vec::new());
        };
        let found = scan(&mut tx, &of, kind, (prefix, after), limit).await?;
        tx.commit().await?;
        Ok(found)
    }
}

/// Reads one row.
pub(super) async fn get(
    tx: &mut TenantTx,
    of: &TenantKey,
    kind: RowKind,
    key: &[u8],
) -> Result<Option<Vec<u8>>> {
    let sealed: Option<Vec<u8>> = sqlx::query_scalar(
        "select sealed from konstruct.rows where tenant = $1 and kind = $2 and key = $3",
    )
    .bind(tx.id())
    .bind(kind as i16)
    .bind(key)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    let Some(sealed) = sealed else {
        return Ok(None);
    };
    let rows = [(place(kind, key), Some(sealed))];
    let opened = vault::open_bytes(tx, of, "rows", &rows).await?.pop();
    Ok(opened.flatten().map(Into::into))
}

/// Reads rows whose keys have a prefix and come after a key.
pub(super) async fn scan(
    tx: &mut TenantTx,
    of: &TenantKey,
    kind: RowKind,
    (prefix, after): (&[u8], Option<&[u8]>),
    limit: usize,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let (mut found, mut after) = (Vec::new(), after.map(<[u8]>::to_vec));
    // Unreadable rows are skipped, so continue until the page is full: a shorter page means that there are no more.
    while found.len() < limit {
        let wanted = limit - found.len();
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "select key, sealed from konstruct.rows
                 where tenant = $1 and kind = $2 and key >= $3 and ($4::bytea is null or key < $4)
                     and ($5::bytea is null or key > $5) order by key limit $6",
        )
        .bind(tx.id())
        .bind(kind as i16)
        .bind(prefix)
        .bind(end(prefix))
        .bind(&after)
        .bind(signed(wanted as u64))
        .fetch_all(tx.db())
        .await
        .map_err(stored)?;
        let last = rows.len() < wanted;
        after = rows.last().map(|(key, _)| key.clone());
        let (keys, sealed): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .map(|(key, sealed)| {
                let at = place(kind, &key);
                (key, (at, Some(sealed)))
            })
            .unzip();
        let opened = vault::open_bytes(tx, of, "rows", &sealed).await?;
        let readable = keys
            .into_iter()
            .zip(opened)
            .filter_map(|(key, opened)| Some((key, opened?.into())));
        found.extend(readable);
        if last {
            break;
        }
    }
    Ok(found)
}

/// Returns the row id that a value is sealed to.
pub(super) fn place(kind: RowKind, key: &[u8]) -> Vec<u8> {
    [[kind as u8].as_slice(), key].concat()
}

/// Returns the least key after all keys with a prefix; `None` if there is none.
fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Removes rows.
pub(super) async fn remove(tx: &mut TenantTx, plan: &Plan) -> Result<()> {
    if !plan.remove.is_empty() {
        let kinds: Vec<i16> = plan.remove.iter().map(|(kind, _)| *kind as i16).collect();
        let keys: Vec<&[u8]> = plan.remove.iter().map(|(_, key)| key.as_slice()).collect();
        sqlx::query(
            "delete from konstruct.rows where ctid = any(array(
                 select r.at from unnest($2::smallint[], $3::bytea[]) g(kind, key) cross join lateral (
                     select r.ctid as at from konstruct.rows r
                     where r.tenant = $1 and r.kind = g.kind and r.key = g.key offset 0) r))",
        )
        .bind(tx.id())
        .bind(kinds)
        .bind(keys)
        .execute(tx.db())
        .await
        .map_err(stored)?;
    }
    for (kind, prefix) in &plan.clear {
        sqlx::query(
            "delete from konstruct.rows
             where tenant = $1 and kind = $2 and key >= $3 and ($4::bytea is null or key < $4)",
        )
        .bind(tx.id())
        .bind(*kind as i16)
        .bind(prefix)
        .bind(end(prefix))
        .execute(tx.db())
        .await
        .map_err(stored)?;
    }
    Ok(())
}

/// Writes rows. Of two with the same key, the last one counts.
pub(super) async fn put(
    tx: &mut TenantTx,
    key: &TenantKey,
    persons: &Persons,
    rows: &[RowPut],
) -> Result<()> {
    let mut last = std::collections::BTreeMap::new();
    for row in rows {
        last.insert((row.kind, &row.key), row);
    }
    if last.is_empty() {
        return Ok(());
    }
    let (mut kinds, mut keys, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    for row in last.into_values() {
        let place = place(row.kind, &row.key);
        let of = row.persons.iter().copied();
        sealed.push(persons.seal_bytes(key, of, ("rows", &place), &row.value)?);
        kinds.push(row.kind as i16);
        keys.push(row.key.as_slice());
    }
    sqlx::query(
        "insert into konstruct.rows (tenant, kind, key, sealed)
         select $1, r.kind, r.key, r.sealed from unnest($2::smallint[], $3::bytea[], $4::bytea[]) r(kind, key, sealed)
         on conflict (tenant, kind, key) do update set sealed = excluded.sealed",
    )
    .bind(tx.id())
    .bind(kinds)
    .bind(keys)
    .bind(sealed)
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_prefix() {
        for (prefix, expected) in [
            (&b""[..], None),
            (b"a", Some(&b"b"[..])),
            (b"a\xff", Some(b"b")),
            (b"\xff\xff", None),
        ] {
            assert_eq!(end(prefix).as_deref(), expected, "{prefix:?}");
        }
    }
}
