//! Erasing a message, a conversation, a person, or all of a tenant.

use std::collections::BTreeSet;

use konstruct_core::{
    ConversationId, Depth, Erase, ErasureReceipt, Error, ErrorKind, PersonId, Remains, Remnant,
    Result, TenantId, Until,
};

use super::{
    Shared,
    head::{self, Head, corrupt},
    keys::{
        self, DELIVERIES, DELIVERIES_OF, DUE, FEED, FORGOTTEN, HEADS, INBOX, ITEM_LIST, ITEMS,
        KEYS, LOG, META, PENDING, PERSON_KEYS, PLACES, ROWS, TENANT_KEYS, Table, WORDS,
    },
    linked::unlink,
    log::Row,
    rows::OPERATOR,
    snapshot::Rows as _,
    writer::Batch,
};
use crate::seal::KeyId;

/// How much of a log is looked at in one go.
const PAGE: usize = 256;

/// What an erasure does to the journal, drafted into a batch.
///
/// What remains of a conversation are the keyed hashes of its events' ids, so that a late redelivery does not bring it back,
/// and the tenant's ledger, which is the invoice. Of a tenant nothing remains.
#[derive(Debug)]
pub(super) struct Erasure {
    tenant: TenantId,
    /// The conversations that nobody may work until it is committed.
    touched: BTreeSet<ConversationId>,
    /// Whether these go whole.
    whole: bool,
    pub(super) receipt: ErasureReceipt,
}

impl Erasure {
    /// Drafts it. [`Erasure::committed`] or [`Erasure::undone`] must follow.
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
        };
        // What it knows of keys and of words is not true any more.
        drop(batch.take_vault(tenant));
        match what {
            Erase::Message {
                conversation,
                index,
            } => erasure.message(batch, shared, conversation, index)?,
            Erase::Conversation { conversation } => {
                erasure.conversation(batch, shared, conversation)?;
            }
            Erase::Person { person } => erasure.person(batch, shared, person)?,
            Erase::Tenant => erasure.all(batch)?,
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "this store does not know what to erase",
                ));
            }
        }
        for id in &erasure.touched {
            shared.hold_back((tenant, *id));
        }
        erasure.remains(shared.keys.current_id());
        Ok(erasure)
    }

    /// Lets go of what was held back, or forgets it.
    pub(super) fn committed(&self, shared: &Shared) {
        shared.keys.forget_persons();
        for id in &self.touched {
            shared.let_go((self.tenant, *id), !self.whole);
        }
        if matches!(self.receipt.what, Erase::Tenant) {
            shared.keys.forget(self.tenant);
        }
    }

    /// Lets go of what was held back.
    pub(super) fn undone(&self, shared: &Shared) {
        for id in &self.touched {
            shared.let_go((self.tenant, *id), true);
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

    fn person(&mut self, batch: &mut Batch<'_>, shared: &Shared, person: PersonId) -> Result<()> {
        let own = keys::of(self.tenant, &[person.as_bytes()]);
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
        batch.delete(PERSON_KEYS, own.clone());
        batch.delete(KEYS, keys::of(self.tenant, &[id.as_bytes()]));
        self.receipt.keys = 1;
        for (key, _) in batch.all(WORDS, &own)? {
            let conversation = keys::id(&key, 32).ok_or_else(corrupt)?;
            let conversation = ConversationId::from_bytes(conversation);
            batch.delete(WORDS, key);
            self.words(batch, shared, conversation, (person, id))?;
            self.touched.insert(conversation);
        }
        Ok(())
    }

    /// Takes a person's words out of a conversation.
    fn words(
        &mut self,
        batch: &mut Batch<'_>,
        shared: &Shared,
        conversation: ConversationId,
        (person, key): (PersonId, KeyId),
    ) -> Result<()> {
        let Some(mut head) = shared.head(batch, self.tenant, conversation)? else {
            return Ok(());
        };
        let prefix = keys::conversation(self.tenant, conversation);
        let (mut from, end) = (prefix.clone(), keys::end(&prefix));
        loop {
            let page = batch.page(LOG, &from, &end, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for (at, row) in page {
                if let Some((left, gone)) = Row::read(&row)?.without(key)? {
                    batch.put(LOG, at, left);
                    self.receipt.records += gone;
                }
            }
        }
        for (at, row) in batch.all(INBOX, &prefix)? {
            if head::inbox_persons(&row)?.contains(&person) {
                batch.delete(INBOX, at);
                self.receipt.records += 1;
                head.gone += 1;
            }
        }
        if head.unconsumed() == 0 {
            (head.consumed, head.gone) = (head.last, 0);
        }
        shared.keep_pending(batch, (self.tenant, conversation), &mut head);
        batch.put(HEADS, prefix, head.to_bytes());
        Ok(())
    }

    fn all(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        let tenant = self.tenant;
        for (key, row) in batch.all(HEADS, tenant.as_bytes())? {
            let id = keys::id(&key, 16).ok_or_else(corrupt)?;
            let (id, head) = (ConversationId::from_bytes(id), Head::read(&row)?);
            self.touched.insert(id);
            self.receipt.records += head.len;
            if let Some(when) = head.first_due() {
                batch.delete(DUE, keys::due(when, tenant, id));
            }
        }
        for table in [TENANT_KEYS, KEYS] {
            batch.scan_prefix(table, tenant.as_bytes(), &mut |_, _| {
                self.receipt.keys += u64::from(tenant != OPERATOR);
                Ok(())
            })?;
        }
        for table in keys::ALL {
            let operators = [ROWS, TENANT_KEYS].contains(&table) && tenant == OPERATOR;
            if table != META && table != DUE && !operators {
                batch.clear(table, tenant.as_bytes().to_vec());
            }
        }
        Ok(())
    }

    /// Says what remains, and until when.
    fn remains(&mut self, ring_key: &str) {
        let (records, keys) = (self.receipt.records, self.receipt.keys);
        let retired = Until::RingKeyRetired {
            key: ring_key.to_owned(),
        };
        if self.receipt.depth == Depth::Logical {
            self.left(Remnant::SealedRecords, records, Until::Rewritten);
            self.left(Remnant::WrappedKeys, keys, Until::Rewritten);
        }
        // An older copy of the file has the records too; whoever has it and the ring of its time can read them.
        if keys > 0 {
            self.left(Remnant::SealedRecords, records, retired.clone());
            self.left(Remnant::WrappedKeys, keys, retired);
        } else {
            self.left(Remnant::SealedRecords, records, Until::BackupsExpire);
        }
        if records > 0 && !matches!(self.receipt.what, Erase::Tenant) {
            for what in [Remnant::EventHashes, Remnant::Ledger] {
                self.receipt.remains.push(Remains {
                    what,
                    count: None,
                    until: Until::TenantErased,
                });
            }
        }
    }

    fn left(&mut self, what: Remnant, count: u64, until: Until) {
        if count > 0 {
            let count = Some(count);
            self.receipt.remains.push(Remains { what, count, until });
        }
    }
}
