//! Erases a message, a conversation, a person, or a whole tenant, and fills the receipt.
//!
//! Erased bytes remain in the database's files until they are [rewritten](super::Postgres::rewrite), and in its write-ahead log
//! and backups. They are sealed; those of a person have no key any more.

use konstruct_core::{
    Depth, Erase, Error, ErrorKind, PersonId, Result, TenantId,
    memory::{ErasureReceipt, Remains, Remnant, Until},
};
use uuid::Uuid;

use super::{
    Inner,
    claim::{signed, uuid, void},
    error::stored,
    index::{advance, forget_units},
    tenant::{Mode, TenantTx},
    time::time,
};
use crate::{memory::backend::Plan, rows::OPERATOR};

/// The tables with rows of a conversation.
macro_rules! of_conversation {
    ($($table:literal),+) => {
        &[$(concat!("delete from konstruct.", $table, " where tenant = $1 and conversation = $2")),+]
    };
}

const CONVERSATION: &[&str] = of_conversation![
    "inbox",
    "log",
    "items",
    "deliveries",
    "spoken",
    "conversations"
];

/// All tables of a tenant except those whose rows are counted.
macro_rules! of_tenant {
    ($($table:literal),+) => {
        &[$(concat!("delete from konstruct.", $table, " where tenant = $1")),+]
    };
}

const TENANT: &[&str] = of_tenant![
    "inbox",
    "items",
    "deliveries",
    "spoken",
    "conversations",
    "events",
    "twins",
    "erased_persons",
    "person_names",
    "place_names",
    "ledger",
    "budgets",
    "reservations",
    "shares",
    "counters",
    "memory_heads",
    "rows",
    "unit_persons",
    "passages",
    "sizes",
    "postings",
    "vectors",
    "graphs",
    "moments",
    "app_rows",
    "tenant_keys"
];

impl Inner {
    /// Erases from the log and commits the plan of the memory; `None` if something else was committed since the plan was made.
    pub(super) async fn erase(
        &self,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
        plan: Plan,
    ) -> Result<Option<ErasureReceipt>> {
        if depth == Depth::Physical {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "use a logical erasure, which destroys keys: the owner of the database rewrites its files, for all tenants at once",
            ));
        }
        let mut tx = self.db.tenant(tenant, Mode::Exclusive).await?;
        let prepared = self.prepare(&mut tx, &plan).await?;
        let Some(first) = advance(&mut tx, &plan, None).await? else {
            return Ok(None);
        };
        let now: i64 = sqlx::query_scalar("select coalesce($1, konstruct.now_us())")
            .bind(tx.given())
            .fetch_one(tx.db())
            .await
            .map_err(stored)?;
        let mut receipt = ErasureReceipt::new(what, depth, time(now));
        match what {
            Erase::Message {
                conversation,
                index,
            } => {
                receipt.records = message(&mut tx, uuid(conversation), index).await?;
            }
            Erase::Conversation { conversation } => {
                receipt.records = conversation_whole(&mut tx, uuid(conversation)).await?;
            }
            Erase::Person { person } => {
                receipt.passages = forget_units(&mut tx, person).await?;
                (receipt.records, receipt.keys) = self::person(&mut tx, person, now).await?;
            }
            Erase::Tenant => {
                (receipt.records, receipt.passages, receipt.keys) = all(&mut tx).await?;
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "this store does not support this kind of erasure",
                ));
            }
        }
        if !matches!(what, Erase::Tenant) {
            self.apply(&mut tx, plan, prepared, first).await?;
        }
        tx.commit().await?;
        match what {
            Erase::Person { person } => self.vault.forget(tenant, Some(person)),
            Erase::Tenant => self.vault.forget(tenant, None),
            _ => {}
        }
        self.remains(&mut receipt);
        self.wake.arrived();
        Ok(Some(receipt))
    }

    /// Reports what remains of the erased data.
    fn remains(&self, receipt: &mut ErasureReceipt) {
        let mut left = |what, count, until| receipt.remains.push(Remains { what, count, until });
        let records = Some(receipt.records);
        for until in [Until::Rewritten, Until::BackupsExpire] {
            left(Remnant::SealedRecords, records, until);
        }
        if receipt.keys > 0 {
            let key = self.vault.ring().current_id().to_owned();
            left(
                Remnant::WrappedKeys,
                Some(receipt.keys),
                Until::RingKeyRetired { key },
            );
        }
        if !matches!(receipt.what, Erase::Tenant) {
            left(Remnant::EventHashes, None, Until::TenantErased);
            left(Remnant::Ledger, None, Until::TenantErased);
        }
    }
}

async fn message(tx: &mut TenantTx, conversation: Uuid, index: u64) -> Result<u64> {
    // Waits for an append in progress.
    sqlx::query(
        "select from konstruct.mailboxes where tenant = $1 and conversation = $2 for update",
    )
    .bind(tx.id())
    .bind(conversation)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    let gone = sqlx::query(
        "update konstruct.log set sealed = null
         where tenant = $1 and conversation = $2 and index = $3 and sealed is not null",
    )
    .bind(tx.id())
    .bind(conversation)
    .bind(signed(index))
    .execute(tx.db())
    .await
    .map_err(stored)?;
    if gone.rows_affected() > 0 {
        void(tx, &[conversation]).await?;
    }
    Ok(gone.rows_affected())
}

async fn conversation_whole(tx: &mut TenantTx, conversation: Uuid) -> Result<u64> {
    // First, because it waits for an append in progress and prevents others.
    let len: Option<i64> = sqlx::query_scalar(
        "delete from konstruct.mailboxes where tenant = $1 and conversation = $2 returning len",
    )
    .bind(tx.id())
    .bind(conversation)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    for sql in CONVERSATION {
        sqlx::query(*sql)
            .bind(tx.id())
            .bind(conversation)
            .execute(tx.db())
            .await
            .map_err(stored)?;
    }
    Ok(len.unwrap_or(0).cast_unsigned())
}

/// Returns the number of erased records and events, and of keys.
async fn person(tx: &mut TenantTx, person: PersonId, now: i64) -> Result<(u64, u64)> {
    let (id, person) = (tx.id(), Uuid::from_bytes(*person.as_bytes()));
    // Including the addresses linked to the person, so that late deliveries from each are dropped.
    sqlx::query(
        "with addresses as (
             delete from konstruct.person_names where tenant = $1 and person = $2 returning name
         )
         insert into konstruct.erased_persons (tenant, person, at)
         select $1, a.person, $3 from (select name from addresses union select $2) a(person)
         on conflict (tenant, person) do update set at = excluded.at",
    )
    .bind(id)
    .bind(person)
    .bind(now)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    let key: Option<Uuid> = sqlx::query_scalar(
        "delete from konstruct.person_keys where tenant = $1 and person = $2 returning key",
    )
    .bind(id)
    .bind(person)
    .fetch_optional(tx.db())
    .await
    .map_err(stored)?;
    let conversations: Vec<Uuid> = sqlx::query_scalar(
        "delete from konstruct.spoken where tenant = $1 and person = $2 returning conversation",
    )
    .bind(id)
    .bind(person)
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    // Waits for appends in progress.
    sqlx::query(
        "select from konstruct.mailboxes where tenant = $1 and conversation = any($2) order by conversation for update",
    )
    .bind(id)
    .bind(&conversations)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    // Sealed values have the ids of their keys in the header.
    let touched: Vec<(Uuid, i64)> = sqlx::query_as(
        "with events as (
             delete from konstruct.inbox where tenant = $1 and conversation = any($2) and $3 = any(persons)
             returning conversation
         ), records as (
             update konstruct.log set sealed = null
             where tenant = $1 and conversation = any($2) and exists (select from konstruct.key_ids(sealed) of(id) where of.id = $4)
             returning conversation
         ), places as (
             update konstruct.conversations set sealed = null
             where tenant = $1 and conversation = any($2) and exists (select from konstruct.key_ids(sealed) of(id) where of.id = $4)
             returning conversation
         ), gone as (
             select conversation, count(*) as many from (table events union all table records) g(conversation) group by 1
         )
         select conversation, greatest(coalesce(many, 0), 1) from gone full join places using (conversation)",
    )
    .bind(id)
    .bind(&conversations)
    .bind(person)
    .bind(key)
    .fetch_all(tx.db())
    .await
    .map_err(stored)?;
    sqlx::query(
        "delete from konstruct.rows
         where tenant = $1 and exists (select from konstruct.key_ids(sealed) of(id) where of.id = $2)",
    )
    .bind(id)
    .bind(key)
    .execute(tx.db())
    .await
    .map_err(stored)?;
    let gone = touched.iter().map(|(_, many)| many.cast_unsigned()).sum();
    let touched: Vec<_> = touched.into_iter().map(|(id, _)| id).collect();
    void(tx, &touched).await?;
    Ok((gone, u64::from(key.is_some())))
}

/// Returns the numbers of erased records, units and keys.
async fn all(tx: &mut TenantTx) -> Result<(u64, u64, u64)> {
    let mut counts = [0; 4];
    for (count, sql) in counts.iter_mut().zip([
        "delete from konstruct.mailboxes where tenant = $1",
        "delete from konstruct.log where tenant = $1",
        "delete from konstruct.units where tenant = $1",
        "delete from konstruct.person_keys where tenant = $1",
    ]) {
        *count = sqlx::query(sql)
            .bind(tx.id())
            .execute(tx.db())
            .await
            .map_err(stored)?
            .rows_affected();
    }
    let mut keys = 0;
    // The operator keeps its rows and its key, the last two tables.
    let kept = if tx.tenant() == OPERATOR { 2 } else { 0 };
    for sql in &TENANT[..TENANT.len() - kept] {
        // The last one is the tenant's key.
        keys = sqlx::query(*sql)
            .bind(tx.id())
            .execute(tx.db())
            .await
            .map_err(stored)?
            .rows_affected();
    }
    let [_, records, units, persons] = counts;
    let keys = if kept > 0 { 0 } else { keys };
    Ok((records, units, persons + keys))
}
