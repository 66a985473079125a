//! Erasing a conversation, or all of a tenant.

use std::collections::BTreeSet;

use konstruct_core::{ConversationId, Erase, Error, ErrorKind, Result, TenantId};

use super::{
    Shared,
    head::{Head, decode},
    keys::{
        self, DELIVERIES, DELIVERIES_OF, DUE, FEED, HEADS, INBOX, LOG, META, PENDING, PLACES,
        POSTINGS, ROWS, SPACES, TENANT_KEYS, UNITS,
    },
    ready::Of,
    rows::OPERATOR,
    snapshot::Rows as _,
    writer::{Batch, Operation},
};

/// Erases what is kept of a tenant. Answers how many records went.
///
/// What remains of a conversation are the keyed hashes of its events' ids, so that a late redelivery does not bring it back,
/// and the tenant's ledger, which is the invoice. Of a tenant nothing remains.
pub(super) struct EraseOf {
    pub(super) tenant: TenantId,
    pub(super) what: Erase,
    pub(super) erased: BTreeSet<ConversationId>,
}

impl Operation for EraseOf {
    type Answer = u64;

    fn apply(&mut self, batch: &mut Batch<'_>, shared: &Shared) -> Result<u64> {
        let tenant = self.tenant;
        let mut heads = Vec::new();
        match self.what {
            Erase::Conversation { conversation: id } => {
                let Some(head) = shared.head(batch, tenant, id)? else {
                    return Ok(0);
                };
                heads.push((id, head));
            }
            Erase::Tenant => batch.scan_prefix(HEADS, tenant.as_bytes(), &mut |key, row| {
                let id = keys::id(key, 16).ok_or_else(super::head::corrupt)?;
                heads.push((ConversationId::from_bytes(id), decode::<Head>(row)?));
                Ok(())
            })?,
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "this store does not know what to erase",
                ));
            }
        }
        for (id, head) in &heads {
            shared.void((tenant, *id));
            self.erased.insert(*id);
            if let Some(when) = head.timer {
                batch.delete(DUE, keys::due(when, tenant, *id));
            }
        }
        match self.what {
            Erase::Conversation { conversation: id } => erase_conversation(batch, (tenant, id))?,
            _ => {
                for table in keys::ALL {
                    let operators = [ROWS, TENANT_KEYS].contains(&table) && tenant == OPERATOR;
                    if table != META && table != DUE && !operators {
                        batch.clear(table, tenant.as_bytes().to_vec());
                    }
                }
            }
        }
        Ok(heads.iter().map(|(_, head)| head.len).sum())
    }

    fn committed(&mut self, shared: &Shared, _: &u64) {
        for id in &self.erased {
            shared.forgotten((self.tenant, *id));
        }
        if matches!(self.what, Erase::Tenant) {
            shared.keys.forget(self.tenant);
        }
    }
}

fn erase_conversation(batch: &mut Batch<'_>, (tenant, id): Of) -> Result<()> {
    let prefix = keys::conversation(tenant, id);
    let mut gone = Vec::new();
    batch.scan_prefix(LOG, &prefix, &mut |_, row| {
        gone.extend(keys::number(row, 0).map(|cursor| (FEED, keys::numbered(tenant, cursor))));
        Ok(())
    })?;
    batch.scan_prefix(DELIVERIES_OF, &prefix, &mut |key, _| {
        gone.extend(keys::id(key, 32).map(|hash| (DELIVERIES, keys::of(tenant, &[&hash]))));
        Ok(())
    })?;
    for (table, key) in gone {
        batch.delete(table, key);
    }
    for table in [HEADS, PLACES, PENDING] {
        batch.delete(table, prefix.clone());
    }
    for table in [INBOX, LOG, DELIVERIES_OF, POSTINGS, UNITS, SPACES] {
        batch.clear(table, prefix.clone());
    }
    Ok(())
}
