//! The delivery state of a message as the stores keep it: a number in the order of the states.

use konstruct_core::message::DeliveryState;

const STATES: [DeliveryState; 5] = [
    DeliveryState::Accepted,
    DeliveryState::Sent,
    DeliveryState::Failed,
    DeliveryState::Delivered,
    DeliveryState::Read,
];

/// Returns the number of a state; `None` for a state that is not stored.
pub(crate) fn number(state: DeliveryState) -> Option<u8> {
    let at = STATES.iter().position(|known| *known == state)?;
    u8::try_from(at).ok()
}

/// Returns the state with a number.
pub(crate) fn state(number: usize) -> Option<DeliveryState> {
    STATES.get(number).copied()
}
