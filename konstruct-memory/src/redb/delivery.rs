//! Sent messages: the record that sent each, and its delivery state.

use konstruct_core::{ConversationId, Result, message::DeliveryState, store::DeliveryKey};

use super::{
    head::corrupt,
    keys::{self, DELIVERIES, DELIVERIES_OF},
    snapshot::Rows,
    vault::Vault,
    writer::Batch,
};
use crate::delivery;

/// A message that was sent or is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) conversation: ConversationId,
    /// The index of the record that first sent it.
    pub(super) index: u64,
    pub(super) state: Option<DeliveryState>,
    /// Whether the outcome of its send is known.
    pub(super) settled: bool,
}

impl Sent {
    fn to_bytes(self) -> Vec<u8> {
        let mut row = self.conversation.as_bytes().to_vec();
        row.extend_from_slice(&self.index.to_be_bytes());
        let known = self.state.and_then(delivery::number);
        row.push(known.map_or(0, |number| number + 1));
        row.push(u8::from(self.settled));
        row
    }

    pub(super) fn read(row: &[u8]) -> Result<Self> {
        let state = usize::from(*row.get(24).ok_or_else(corrupt)?);
        Ok(Self {
            conversation: keys::id(row, 0)
                .map(ConversationId::from_bytes)
                .ok_or_else(corrupt)?,
            index: keys::number(row, 16).ok_or_else(corrupt)?,
            state: state.checked_sub(1).and_then(delivery::state),
            settled: row.get(25) == Some(&1),
        })
    }
}

impl Vault {
    fn sent_key(&self, key: &str) -> Vec<u8> {
        let hash = self.key.hash("delivery", key.as_bytes());
        keys::of(self.tenant(), &[&hash])
    }

    /// Reads the message of a delivery key.
    pub(super) fn sent(&self, rows: &mut dyn Rows, key: &str) -> Result<Option<Sent>> {
        let row = rows.get(DELIVERIES, &self.sent_key(key))?;
        row.map(|row| Sent::read(&row)).transpose()
    }

    /// Writes the message of a delivery key.
    pub(super) fn put_sent(&self, batch: &mut Batch<'_>, key: &str, sent: Sent) {
        batch.put(DELIVERIES, self.sent_key(key), sent.to_bytes());
    }

    /// Registers a delivery key if it is new.
    pub(super) fn register(
        &self,
        batch: &mut Batch<'_>,
        conversation: ConversationId,
        send: &DeliveryKey,
    ) -> Result<()> {
        let own = self.sent_key(&send.key);
        if batch.get(DELIVERIES, &own)?.is_some() {
            return Ok(());
        }
        let sent = Sent {
            conversation,
            index: send.index,
            state: None,
            settled: false,
        };
        let of = keys::item(self.tenant(), conversation, send.index);
        batch.put(DELIVERIES_OF, [of.as_slice(), &own[16..]].concat(), []);
        batch.put(DELIVERIES, own, sent.to_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_reads_back() {
        for state in [
            None,
            Some(DeliveryState::Accepted),
            Some(DeliveryState::Read),
        ] {
            let sent = Sent {
                conversation: ConversationId::from_bytes([1; 16]),
                index: 7,
                state,
                settled: state.is_some(),
            };
            assert_eq!(Sent::read(&sent.to_bytes()).unwrap(), sent);
        }
        assert!(Sent::read(&[0; 24]).is_err());
    }
}
