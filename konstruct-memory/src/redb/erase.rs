//! Erases a message, a conversation, a person, or a whole tenant.

use std::collections::BTreeSet;

use konstruct_core::{
    ConversationId, Depth, Erase, Error, ErrorKind, PersonId, Result, TenantId,
    memory::{ErasureReceipt, Remains, Remnant, Until},
};

use super::{
    Shared,
    head::{self, corrupt},
    index::passages,
    keys::{
        self, DELIVERIES, DELIVERIES_OF, DUE, FEED, FORGOTTEN, HEADS, INBOX, ITEM_LIST, ITEMS,
        KEYS, LOG, MEMORY_HEADS, PENDING, PERSON_KEYS, PLACES, TENANT_KEYS, Table, WORDS,
    },
    linked::unlink,
    log::Row,
    slices::{self, Slices, Unfinished, Whose},
    snapshot::Rows,
    writer::Batch,
};
use crate::rows::OPERATOR;
use crate::seal::KeyId;

/// The erasure from the log, drafted into a batch. The erasure of a person or a tenant continues in [later batches](Slices).
///
/// Of a conversation, two things remain: the keyed hashes of its events' ids, so that a late redelivery does not bring it back,
/// and the tenant's ledger, which is the invoice. Of a tenant, nothing remains.
#[derive(Debug)]
pub(super) struct Erasure {
    pub(super) tenant: TenantId,
    /// The conversations that are blocked until the commit.
    touched: BTreeSet<ConversationId>,
    /// Whether they are erased as a whole.
    whole: bool,
    pub(super) receipt: ErasureReceipt,
    /// The committed progress of an erasure in parts.
    slices: Option<Slices>,
    /// The progress once the current draft is committed.
    drafted: Option<Slices>,
    /// Whether the first part is committed.
    begun: bool,
}

impl Erasure {
    /// Drafts the erasure, or its first part. [`Erasure::committed`] or [`Erasure::aborted`] must follow.
    pub(super) fn draft(
        batch: &mut Batch<'_>,
        shared: &Shared,
        tenant: TenantId,
        what: Erase,
        depth: Depth,
    ) -> Result<Self> {
        let mut erasure = Self {
            tenant,
            touched: BTreeSet::new(),
            whole: matches!(what, Erase::Conversation { .. } | Erase::Tenant),
            receipt: ErasureReceipt::new(what, depth, shared.clock.now()),
            slices: None,
            drafted: None,
            begun: false,
        };
        // Its cached keys are outdated.
        drop(batch.take_vault(tenant));
        let drafted = match what {
            Erase::Message {
                conversation,
                index,
            } => erasure.message(batch, shared, conversation, index),
            Erase::Conversation { conversation } => {
                erasure.conversation(batch, shared, conversation)
            }
            Erase::Person { person } => erasure.person(batch, shared, person),
            Erase::Tenant => erasure.all(batch, shared),
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "this store does not support this kind of erasure",
            )),
        };
        for id in &erasure.touched {
            shared.block((tenant, *id));
        }
        match drafted {
            Ok(()) => Ok(erasure),
            Err(error) => {
                erasure.aborted(shared);
                Err(error)
            }
        }
    }

    /// Unblocks its conversations, or drops their state.
    pub(super) fn committed(&self, shared: &Shared) {
        self.destroyed(shared);
        self.unblock(shared, !self.whole);
    }

    /// Unblocks its conversations, unless the first part is committed: the next process then finishes the erasure.
    pub(super) fn aborted(&self, shared: &Shared) {
        if !self.begun {
            self.unblock(shared, true);
        }
    }

    fn unblock(&self, shared: &Shared, is_left: bool) {
        for id in &self.touched {
            shared.unblock((self.tenant, *id), is_left);
        }
        if let Some(slices) = &self.slices {
            shared.unblock_for(slices.of, is_left);
        }
    }

    fn message(
        &mut self,
        batch: &mut Batch<'_>,
        shared: &Shared,
        conversation: ConversationId,
        index: u64,
    ) -> Result<()> {
        let Some(mut vault) = shared.vault(batch, self.tenant)? else {
            return Ok(());
        };
        if let Some((key, row)) = vault.without(batch, conversation, index)? {
            batch.put(LOG, key, row);
            self.receipt.records = 1;
            self.touched.insert(conversation);
        }
        Ok(())
    }

    fn conversation(
        &mut self,
        batch: &mut Batch<'_>,
        shared: &Shared,
        id: ConversationId,
    ) -> Result<()> {
        let tenant = self.tenant;
        let Some(head) = shared.head(batch, tenant, id)? else {
            return Ok(());
        };
        self.touched.insert(id);
        self.receipt.records = head.len;
        if let Some(when) = head.first_due() {
            batch.delete(DUE, keys::due(when, tenant, id));
        }
        let prefix = keys::conversation(tenant, id);
        let mut gone: Vec<(Table, Vec<u8>)> = Vec::new();
        let (mut held, mut persons) = (BTreeSet::new(), BTreeSet::new());
        batch.scan_prefix(LOG, &prefix, &mut |_, row| {
            let row = Row::read(row)?;
            gone.push((FEED, keys::numbered(tenant, row.cursor)));
            held.extend(row.sealed_to()?);
            Ok(())
        })?;
        batch.scan_prefix(INBOX, &prefix, &mut |_, row| {
            persons.extend(head::inbox_persons(row)?);
            Ok(())
        })?;
        batch.scan_prefix(DELIVERIES_OF, &prefix, &mut |key, _| {
            gone.extend(keys::id(key, 40).map(|hash| (DELIVERIES, keys::of(tenant, &[&hash]))));
            Ok(())
        })?;
        batch.scan_prefix(ITEMS, &prefix, &mut |key, _| {
            gone.push((ITEM_LIST, keys::of(tenant, &[&key[32..]])));
            Ok(())
        })?;
        for key in held {
            let row = batch.get(KEYS, &keys::of(tenant, &[key.as_bytes()]))?;
            persons.extend(row.and_then(|row| keys::id(&row, 0).map(PersonId::from_bytes)));
        }
        for person in persons {
            let row = keys::of(tenant, &[person.as_bytes(), id.as_bytes()]);
            gone.push((WORDS, row));
        }
        for (table, key) in gone {
            batch.delete(table, key);
        }
        for table in [HEADS, PLACES, PENDING] {
            batch.delete(table, prefix.clone());
        }
        for table in [INBOX, LOG, DELIVERIES_OF, ITEMS] {
            batch.clear(table, prefix.clone());
        }
        Ok(())
    }

    /// Destroys a person's key. From this commit on, nothing that is sealed with it can be read.
    fn person(&mut self, batch: &mut Batch<'_>, shared: &Shared, person: PersonId) -> Result<()> {
        let own = keys::of(self.tenant, &[person.as_bytes()]);
        slices::is_erased(batch, (self.tenant, person));
        if batch.get(TENANT_KEYS, self.tenant.as_bytes())?.is_none() {
            return Ok(());
        }
        let when = self.receipt.at.as_micros().to_be_bytes();
        batch.put(FORGOTTEN, own.clone(), when);
        unlink(batch, self.tenant, person, self.receipt.at)?;
        let Some(row) = batch.get(PERSON_KEYS, &own)? else {
            return Ok(());
        };
        let id = KeyId::from_bytes(keys::id(&row, 0).ok_or_else(corrupt)?);
        self.begin(batch, shared, Whose::Person(person, id))?;
        batch.delete(PERSON_KEYS, own);
        batch.delete(KEYS, keys::of(self.tenant, &[id.as_bytes()]));
        self.receipt.keys = 1;
        self.next_part(batch, shared)
    }

    /// Destroys a tenant's key. From this commit on, nothing of the tenant can be read.
    fn all(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<()> {
        let tenant = self.tenant;
        self.begin(batch, shared, Whose::Tenant)?;
        if tenant == OPERATOR {
            // The operator keeps its key, so everything is deleted at once.
            batch.part = usize::MAX;
        } else if batch.get(TENANT_KEYS, tenant.as_bytes())?.is_some() {
            batch.delete(TENANT_KEYS, tenant.as_bytes().to_vec());
            self.receipt.keys = 1;
        }
        self.receipt.passages = passages(batch, tenant)?;
        batch.delete(MEMORY_HEADS, tenant.as_bytes().to_vec());
        self.next_part(batch, shared)
    }

    /// Begins an erasure in parts.
    fn begin(&mut self, batch: &mut Batch<'_>, shared: &Shared, whose: Whose) -> Result<()> {
        let of = Unfinished {
            tenant: self.tenant,
            whose,
        };
        self.slices = Some(Slices::new(of));
        self.touched = touched(batch, of)?;
        shared.erasing.begin(of);
        shared.block_for(of);
        of.put(batch, self.receipt.depth);
        Ok(())
    }

    /// Returns the erasures that the last process, or a commit that seemed to fail, has left unfinished. Blocks their
    /// conversations.
    pub(super) fn unfinished(shared: &Shared) -> Result<Vec<Self>> {
        let mut snapshot = shared.snapshot()?;
        let mut all = Vec::new();
        for (of, depth) in Unfinished::all(&mut snapshot)? {
            if shared.erasing.has(of) {
                continue;
            }
            let erasure = Self {
                tenant: of.tenant,
                touched: touched(&mut snapshot, of)?,
                whole: of.whose == Whose::Tenant,
                receipt: ErasureReceipt::new(of.what(), depth, shared.clock.now()),
                slices: Some(Slices::new(of)),
                drafted: None,
                begun: true,
            };
            shared.erasing.begin(of);
            shared.block_for(of);
            for id in &erasure.touched {
                shared.block((of.tenant, *id));
            }
            all.push(erasure);
        }
        Ok(all)
    }

    /// Returns whether the first transaction is committed.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Drafts the next part.
    pub(super) fn next_part(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<()> {
        if let Some(mut slices) = self.slices.clone() {
            slices.next_part(batch, shared)?;
            self.drafted = Some(slices);
        }
        Ok(())
    }

    /// Returns whether more parts follow the last draft.
    pub(super) fn has_more(&self) -> bool {
        let last = self.drafted.as_ref().or(self.slices.as_ref());
        last.is_some_and(|slices| !slices.is_done())
    }

    /// Called after the commit of a part that is not the last.
    pub(super) fn after_part(&mut self, shared: &Shared) {
        if !self.begun {
            self.begun = true;
            self.destroyed(shared);
        }
        self.slices = self.drafted.take();
    }

    /// Called when a later part was not written. Returns whether it is retried.
    pub(super) fn retries(&mut self) -> bool {
        self.drafted = None;
        self.begun
    }

    /// Restarts from the first part after the keys were destroyed, because written parts may be lost.
    pub(super) fn restart(&mut self) {
        if self.begun
            && let Some(slices) = &mut self.slices
        {
            slices.restart();
        }
    }

    /// Drops cached content that can no longer be read.
    fn destroyed(&self, shared: &Shared) {
        shared.keys.forget_persons();
        if matches!(self.receipt.what, Erase::Tenant) {
            shared.keys.forget(self.tenant);
            shared.rows.clear();
        }
    }

    /// Returns the receipt as of the current progress.
    pub(super) fn current_receipt(&self, shared: &Shared) -> ErasureReceipt {
        let mut receipt = self.receipt.clone();
        if let Some(slices) = self.drafted.as_ref().or(self.slices.as_ref()) {
            receipt.records += slices.records;
            receipt.keys += slices.keys;
        }
        remains(&mut receipt, shared.keys.current_id());
        receipt
    }
}

/// Returns the conversations that contain a person's words.
fn touched(rows: &mut dyn Rows, of: Unfinished) -> Result<BTreeSet<ConversationId>> {
    let mut touched = BTreeSet::new();
    if let Whose::Person(person, _) = of.whose {
        let own = keys::of(of.tenant, &[person.as_bytes()]);
        rows.scan_prefix(WORDS, &own, &mut |key, _| {
            let id = keys::id(key, 32).ok_or_else(corrupt)?;
            touched.insert(ConversationId::from_bytes(id));
            Ok(())
        })?;
    }
    Ok(touched)
}

impl Shared {
    /// Blocks what is being erased: the conversations of a tenant, or the cached records of a person's tenant.
    fn block_for(&self, of: Unfinished) {
        match of.whose {
            Whose::Tenant => self.block_tenant(of.tenant),
            Whose::Person(..) => self.keys.close_records(of.tenant),
        }
    }

    /// Undoes [`Shared::block_for`].
    fn unblock_for(&self, of: Unfinished, is_left: bool) {
        match of.whose {
            Whose::Tenant => self.unblock_tenant(of.tenant, is_left),
            Whose::Person(..) => self.keys.open_records(of.tenant),
        }
        self.erasing.end(of);
    }
}

/// Reports what remains, and until when.
fn remains(receipt: &mut ErasureReceipt, ring_key: &str) {
    let (records, keys) = (receipt.records, receipt.keys);
    let retired = Until::RingKeyRetired {
        key: ring_key.to_owned(),
    };
    if receipt.depth == Depth::Logical {
        left(receipt, Remnant::SealedRecords, records, Until::Rewritten);
        left(receipt, Remnant::WrappedKeys, keys, Until::Rewritten);
    }
    // An older copy of the file has the records too, and can be read with the key ring of its time.
    if keys > 0 {
        left(receipt, Remnant::SealedRecords, records, retired.clone());
        left(receipt, Remnant::WrappedKeys, keys, retired);
    } else {
        left(
            receipt,
            Remnant::SealedRecords,
            records,
            Until::BackupsExpire,
        );
    }
    if records > 0 && !matches!(receipt.what, Erase::Tenant) {
        for what in [Remnant::EventHashes, Remnant::Ledger] {
            receipt.remains.push(Remains {
                what,
                count: None,
                until: Until::TenantErased,
            });
        }
    }
}

fn left(receipt: &mut ErasureReceipt, what: Remnant, count: u64, until: Until) {
    if count > 0 {
        let count = Some(count);
        receipt.remains.push(Remains { what, count, until });
    }
}
