//! Retention: erases the words of conversations that are older than their tenant keeps them.
//!
//! A daily job follows the tenant's feed, in which records stand in the order in which they were written, and erases each old record
//! as a person's request to erase a message does: with its passages, summaries, and the facts that only it supports. A record of an
//! open turn, or of one that an open item refers to, is kept until nothing needs it. What a turn decided ([`Action::Finish`]), the
//! open items, the ledger and the conversation itself with its place remain.
//!
//! A step is bounded. The cursor moves after its records were erased, so a process that ends in between repeats harmless erasures.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use konstruct_core::{
    ConversationId, Depth, Erase, ErrorKind, Result, TenantId, Timestamp, TurnId,
    store::Stored,
    turn::{Action, Entry, ItemId},
};

use crate::{
    App,
    directory::{Job, Replaces, Retention, Waiting},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The most records of a step, and the pause after a step that left some.
const STEP: usize = 500;
const PAUSE: Duration = Duration::from_secs(5);
/// The number of open items that are read at a time.
const PAGE: usize = 200;

/// Sets how many days a tenant keeps words; `None`: for as long as the tenant.
///
/// # Errors
/// [`ErrorKind::Conflict`] for another version than the current one, [`ErrorKind::NotFound`], and those of the store.
pub(crate) async fn set(
    app: &App,
    tenant: TenantId,
    days: Option<u16>,
    replaces: Replaces,
    now: Timestamp,
) -> Result<Retention> {
    let changed = app.directory.change_tenant(tenant, |tenant| {
        let version = tenant.retention.map(|it| it.version);
        replaces.check(version)?;
        tenant.retention = Some(Retention {
            version: version.unwrap_or(0) + 1,
            days,
            next_at: now,
        });
        Ok(())
    });
    let changed = changed.await?.retention;
    app.tenant_jobs.wake();
    changed.ok_or_else(|| konstruct_core::Error::internal("the setting was not stored"))
}

/// Erases a bounded number of records that are older than some days, and plans the next step.
///
/// # Errors
/// Those of the store; the job is then left for later.
pub(crate) async fn perform(app: &App, job: &Job, days: u16, now: Timestamp) -> Result<()> {
    let (directory, tenant) = (&app.directory, job.tenant);
    let is_done = Step::new(app, tenant, now, STEP)
        .await?
        .run(days_before(now, days))
        .await?;
    let planned = directory.change_tenant(tenant, |tenant| {
        // The setting may have been changed meanwhile.
        if tenant.has(job)
            && let Some(retention) = &mut tenant.retention
        {
            retention.next_at = now + if is_done { DAY } else { PAUSE };
        }
        Ok(())
    });
    match planned.await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        planned => planned.map(drop),
    }
}

/// Returns the time some days before another.
fn days_before(at: Timestamp, days: u16) -> Timestamp {
    let micros = i64::from(days) * 24 * 3_600 * 1_000_000;
    Timestamp::from_micros(at.as_micros().saturating_sub(micros))
}

struct Step<'a> {
    app: &'a App,
    tenant: TenantId,
    /// What is younger than this is being worked on.
    recent: Timestamp,
    /// The most records to look at.
    most: usize,
    /// The turns that open items refer to.
    asked: HashSet<TurnId>,
    /// Whether a turn was open, or events waited, in the conversations seen so far.
    busy: HashMap<ConversationId, bool>,
}

impl<'a> Step<'a> {
    async fn new(app: &'a App, tenant: TenantId, now: Timestamp, most: usize) -> Result<Self> {
        let (mut asked, mut after) = (HashSet::new(), None::<ItemId>);
        loop {
            let page = app.journal.items(tenant, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|last| last.item.id.clone());
            asked.extend(page.into_iter().map(|entry| entry.item.turn));
            if is_last {
                break;
            }
        }
        Ok(Self {
            app,
            tenant,
            recent: days_before(now, 1),
            most,
            asked,
            busy: HashMap::new(),
        })
    }

    /// Erases records older than a time. Returns whether none is left that can be erased.
    async fn run(mut self, before: Timestamp) -> Result<bool> {
        let (directory, tenant) = (&self.app.directory, self.tenant);
        let mut cursor = directory.retention_cursor(tenant).await?;
        let page = self.app.journal.feed(tenant, cursor, self.most).await?;
        let is_last = page.len() < self.most;
        let mut needed = Vec::new();
        let mut is_done = is_last;
        for entry in page {
            let record = entry.stored.record.as_ref();
            if record.is_some_and(|record| record.at >= before) {
                is_done = true;
                break;
            }
            if !self.erase(entry.conversation, &entry.stored).await? {
                needed.push(Waiting {
                    conversation: entry.conversation,
                    index: entry.stored.index,
                });
            }
            cursor = entry.cursor;
        }
        let moved = directory.move_retention_cursor(tenant, cursor, &needed);
        moved.await?;
        if is_done {
            self.look_again().await?;
        }
        Ok(is_done)
    }

    /// Erases the records that were still needed, unless they still are.
    async fn look_again(&mut self) -> Result<()> {
        let (directory, tenant) = (&self.app.directory, self.tenant);
        for waiting in directory.waiting_records(tenant).await? {
            let range = waiting.index..waiting.index + 1;
            let journal = &self.app.journal;
            let found = journal.read(tenant, waiting.conversation, range).await?;
            let is_gone = match found.first() {
                Some(stored) => self.erase(waiting.conversation, stored).await?,
                None => true,
            };
            if is_gone {
                directory.drop_waiting_record(tenant, &waiting).await?;
            }
        }
        Ok(())
    }

    /// Erases a record, unless it has no words. Returns `false` if something still needs it.
    async fn erase(&mut self, conversation: ConversationId, stored: &Stored) -> Result<bool> {
        let Some(record) = stored.record.as_deref() else {
            return Ok(true);
        };
        if is_end(&record.entry) {
            return Ok(true);
        }
        if self.asked.contains(&record.turn) || self.is_busy(conversation).await? {
            return Ok(false);
        }
        let what = Erase::Message {
            conversation,
            index: stored.index,
        };
        let erased = self.app.memory.forget(self.tenant, what, Depth::Logical);
        erased.await.map(|_| true)
    }

    /// Returns whether a turn was open, or events waited, when the step saw a conversation first. An erasure would take the
    /// conversation away from the worker that processes them.
    async fn is_busy(&mut self, conversation: ConversationId) -> Result<bool> {
        let (journal, tenant) = (&self.app.journal, self.tenant);
        if let Some(seen) = self.busy.get(&conversation) {
            return Ok(*seen);
        }
        let is_busy = match journal.conversation(tenant, conversation).await? {
            None => false,
            // Messages of a connection that cannot be used may wait for ever.
            Some(known) if known.unconsumed > 0 && known.updated_at >= self.recent => true,
            Some(known) => {
                let last = known.len.saturating_sub(1)..known.len;
                let last = journal.read(tenant, conversation, last).await?;
                let last = last.first().and_then(|last| last.record.as_deref());
                // One that cannot be read ended a turn, or belongs to a turn that ends without it.
                last.is_some_and(|record| !is_end(&record.entry))
            }
        };
        self.busy.insert(conversation, is_busy);
        Ok(is_busy)
    }
}

/// Returns whether an entry ends a turn. It contains no words.
fn is_end(entry: &Entry) -> bool {
    matches!(entry, Entry::Action(Action::Finish { .. }))
}
