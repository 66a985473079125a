//! Claims: who works a conversation, until when, and what they must know.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use konstruct_core::{
    ConversationId, Result, TenantId, Timestamp, WorkerId,
    turn::{Claim, Loaded},
};
use uuid::Uuid;

use super::{
    Inner,
    error::{corrupt, stored},
    read,
    tenant::{Mode, TenantTx},
    time::time,
};

impl Inner {
    fn served(&self) -> MutexGuard<'_, Uuid> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn claim(&self, worker: WorkerId, lease: Duration) -> Result<Option<Claim>> {
        let (state, after) = (self.wake.state(), *self.served());
        let claimed: Option<(Uuid, Uuid, i64)> = sqlx::query_as(
            "select tenant, conversation, fence from konstruct.claim($1, $2, $3, $4)",
        )
        .bind(Uuid::from_bytes(*worker.as_bytes()))
        .bind(micros(lease))
        .bind(after)
        .bind(self.db.time.given())
        .fetch_optional(&self.db.pool)
        .await
        .map_err(stored)?;
        let Some((tenant, conversation, fence)) = claimed else {
            self.wake.idle(state);
            return Ok(None);
        };
        *self.served() = tenant;
        Ok(Some(Claim {
            tenant: TenantId::from_bytes(*tenant.as_bytes()),
            conversation: ConversationId::from_bytes(*conversation.as_bytes()),
            worker,
            fence: fence.cast_unsigned(),
        }))
    }

    pub(super) async fn load(&self, claim: &Claim) -> Result<Option<Loaded>> {
        let mut tx = self.db.tenant(claim.tenant, Mode::Write).await?;
        // Locked until the inbox is read: an event that is changed afterwards is noted after this.
        let (id, conversation) = (tx.id(), uuid(claim.conversation));
        let held: Option<Held> = sqlx::query_as(
            "select len, coalesce(checkpoint, 0), timer, changed is not null, t.now
             from konstruct.mailboxes, (select coalesce($5, konstruct.now_us()) as now) t
             where tenant = $1 and conversation = $2 and fence = $3 and worker = $4 and lease_until > t.now
             for update of mailboxes",
        )
        .bind(id)
        .bind(conversation)
        .bind(claim.fence.cast_signed())
        .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
        .bind(tx.given())
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        let Some((len, checkpoint, timer, changed, now)) = held else {
            return Ok(None);
        };
        if changed {
            sqlx::query(
                "update konstruct.mailboxes set changed = null where tenant = $1 and conversation = $2",
            )
            .bind(id)
            .bind(conversation)
            .execute(tx.db())
            .await
            .map_err(stored)?;
        }
        let key = self.vault.key(&mut tx).await?.ok_or_else(corrupt)?;
        let place = read::place(&mut tx, &key, conversation).await?;
        let loaded = Loaded {
            connection: place.connection,
            place: place.place,
            len: len.cast_unsigned(),
            records: read::log(&mut tx, &key, conversation, checkpoint..len).await?,
            inbox: read::inbox(&mut tx, &key, conversation).await?,
            due: timer.is_some_and(|when| when <= now),
            now: time(now),
        };
        tx.commit().await?;
        Ok(Some(loaded))
    }

    pub(super) async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool> {
        let mut tx = self.db.tenant(claim.tenant, Mode::Write).await?;
        let renewed = sqlx::query(
            "update konstruct.mailboxes set lease_until = t.now + $6
             from (select coalesce($5, konstruct.now_us()) as now) t
             where tenant = $1 and conversation = $2 and fence = $3 and worker = $4 and lease_until > t.now",
        )
        .bind(tx.id())
        .bind(uuid(claim.conversation))
        .bind(claim.fence.cast_signed())
        .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
        .bind(tx.given())
        .bind(micros(lease))
        .execute(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        Ok(renewed.rows_affected() > 0)
    }

    pub(super) async fn release(&self, claim: &Claim, seen: u64) -> Result<()> {
        let mut tx = self.db.tenant(claim.tenant, Mode::Write).await?;
        let wakes: Option<bool> = sqlx::query_scalar(
            "update konstruct.mailboxes set lease_until = null, worker = null, changed = null,
                 ready_at = case when last > greatest($6, consumed) or timer <= t.now or changed is not null then t.now end
             from (select coalesce($5, konstruct.now_us()) as now) t
             where tenant = $1 and conversation = $2 and fence = $3 and worker = $4 and lease_until > t.now
             returning ready_at is not null or timer is not null",
        )
        .bind(tx.id())
        .bind(uuid(claim.conversation))
        .bind(claim.fence.cast_signed())
        .bind(Uuid::from_bytes(*claim.worker.as_bytes()))
        .bind(tx.given())
        .bind(signed(seen))
        .fetch_optional(tx.db())
        .await
        .map_err(stored)?;
        tx.commit().await?;
        // Also for a timer alone: it may come before the one that others sleep until.
        if wakes == Some(true) {
            self.wake.arrived();
        }
        Ok(())
    }

    pub(super) async fn next_due(&self) -> Result<Option<Timestamp>> {
        let due: Option<i64> = sqlx::query_scalar("select konstruct.next_due()")
            .fetch_one(&self.db.pool)
            .await
            .map_err(stored)?;
        Ok(due.map(time))
    }
}

/// Length, checkpoint, timer, whether something was changed, and the time.
type Held = (i64, i64, Option<i64>, bool, i64);

/// Ends the claims of conversations, whoever holds them. What has something to do is ready, since its oldest event came in.
pub(super) async fn void(tx: &mut TenantTx, conversations: &[Uuid]) -> Result<()> {
    sqlx::query(
        "update konstruct.mailboxes m set lease_until = null, worker = null, changed = null,
             ready_at = case
                 when i.since is not null then i.since
                 when m.timer <= t.now or m.open and m.timer is null then t.now
             end
         from (select coalesce($3, konstruct.now_us()) as now) t,
              unnest($2::uuid[]) w(conversation)
              left join lateral (select min(accepted_at) as since from konstruct.inbox
                                 where tenant = $1 and conversation = w.conversation) i on true
         where m.tenant = $1 and m.conversation = w.conversation",
    )
    .bind(tx.id())
    .bind(conversations)
    .bind(tx.given())
    .execute(tx.db())
    .await
    .map(drop)
    .map_err(stored)
}

/// Writes a conversation as a statement binds it.
pub(super) fn uuid(conversation: ConversationId) -> Uuid {
    Uuid::from_bytes(*conversation.as_bytes())
}

/// Writes a number as the database has it; what is too high is higher than any.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
