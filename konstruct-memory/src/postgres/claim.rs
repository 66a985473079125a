//! Claims: which worker holds a conversation, and until when.

use std::{
    num::NonZeroU32,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use konstruct_core::{
    ConversationId, Result, TenantId,
    store::{Claim, ClaimRequest, Claimed},
};
use uuid::Uuid;

use super::{
    Inner,
    error::stored,
    tenant::{Mode, TenantTx},
    time::time,
};

impl Inner {
    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        let (state, served) = (self.wake.state(), *self.served());
        let skip = request.skip.iter();
        let skip: Vec<_> = skip.map(|of| Uuid::from_bytes(*of.as_bytes())).collect();
        let (tenant, conversation, fence, weight, next_due): Found = sqlx::query_as(
            "select tenant, conversation, fence, weight, next_due from konstruct.claim($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(Uuid::from_bytes(*request.worker.as_bytes()))
        .bind(micros(request.lease))
        .bind(served.tenant)
        .bind(served.left > 0)
        .bind(self.db.time.given())
        .bind(skip)
        .bind(number(request.share.weight))
        .bind(request.share.most.map(number))
        .fetch_one(&self.db.pool)
        .await
        .map_err(stored)?;
        let (Some(tenant), Some(conversation), Some(fence)) = (tenant, conversation, fence) else {
            self.wake.idle(state);
            let next_due = next_due.map(time);
            return Ok(Claimed::Nothing { next_due });
        };
        let weight = weight.and_then(|weight| u32::try_from(weight).ok());
        let weight = weight.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let left = if tenant == served.tenant && served.left > 0 {
            served.left
        } else {
            weight.get()
        };
        *self.served() = Served {
            tenant,
            left: left.saturating_sub(1),
        };
        Ok(Claimed::Conversation(Claim {
            tenant: TenantId::from_bytes(*tenant.as_bytes()),
            conversation: ConversationId::from_bytes(*conversation.as_bytes()),
            worker: request.worker,
            fence: fence.cast_unsigned(),
            weight,
        }))
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
                 ready_at = case when last > greatest($6, consumed) or due <= t.now or changed is not null then t.now end
             from (select coalesce($5, konstruct.now_us()) as now) t
             where tenant = $1 and conversation = $2 and fence = $3 and worker = $4 and lease_until > t.now
             returning ready_at is not null or due is not null",
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
        self.to_index.notify_if_announced(claim.tenant);
        // For a timer too: it may be earlier than the one that waiters sleep until.
        if wakes == Some(true) {
            self.wake.arrived();
        }
        Ok(())
    }
}

/// The tenant that was served last. The next claim prefers the tenants after it, or itself while its turn lasts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    tenant: Uuid,
    /// How many conversations it may still get in its turn.
    left: u32,
}

/// A claimed conversation with the weight of its tenant, or the time when the next one is due.
type Found = (
    Option<Uuid>,
    Option<Uuid>,
    Option<i64>,
    Option<i32>,
    Option<i64>,
);

/// Converts a count for the database; larger ones saturate.
pub(super) fn number(count: NonZeroU32) -> i32 {
    i32::try_from(count.get()).unwrap_or(i32::MAX)
}

/// Ends the claims of conversations of any holder. Conversations with pending work become ready, as of their oldest event.
pub(super) async fn void(tx: &mut TenantTx, conversations: &[Uuid]) -> Result<()> {
    sqlx::query(
        "update konstruct.mailboxes m set lease_until = null, worker = null, changed = null,
             ready_at = case
                 when i.since is not null then i.since
                 when m.due <= t.now or m.open and not m.timers ? 'turn' then t.now
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

/// Converts a conversation id for a statement.
pub(super) fn uuid(conversation: ConversationId) -> Uuid {
    Uuid::from_bytes(*conversation.as_bytes())
}

/// Converts a number for the database; larger ones saturate.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
