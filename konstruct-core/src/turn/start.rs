//! The first record of a turn, which pins everything that could change while the turn runs.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ConversationState, ENGINE_VERSION, Input, OpenItem, PinnedChannel, PinnedModel, Started,
    driver::{item_of, questions},
    inbox::reply_to,
};
use crate::{Channel, Timestamp, directory::Staff, message::Body, store::Loaded};

/// Returns the open question that the employee retries now, if one is due.
pub(super) fn follow_up(loaded: &Loaded) -> Option<OpenItem> {
    let mut due = loaded.due.iter();
    due.find_map(|timer| item_of(&loaded.items, timer)).cloned()
}

/// Returns the state that earlier turns left. A team member's reply that waits in the inbox already holds the conversation.
fn state(loaded: &Loaded) -> ConversationState {
    let mut state = loaded.state.clone();
    for item in &loaded.inbox {
        let event = item.event.as_ref().map(|routed| &routed.event);
        if let Some(event) = event.filter(|it| matches!(it.body, Body::Proactive { .. })) {
            state.pass(event, item.accepted_at);
        }
    }
    state
}

/// Pins what a turn starts with; `None` if the conversation can no longer be addressed.
pub(super) fn start(
    staff: &Staff,
    channel: &dyn Channel,
    loaded: &Loaded,
    (inputs, follow_up): (&[Input], Option<OpenItem>),
    now: Timestamp,
) -> Option<Started> {
    let (employee, info) = (&staff.employee, staff.model.describe());
    let capabilities = channel.capabilities();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let granted = staff.tools.specs(&employee.tools).into_iter();
    let tools: BTreeMap<_, _> = granted
        .filter_map(|spec| {
            let effect = staff.tools.granted(&employee.tools, &spec.name)?.effect();
            Some((spec.name, effect))
        })
        .collect();
    let patience = Duration::from_secs(u64::from(employee.limits.deadline_secs));
    Some(Started {
        engine: ENGINE_VERSION,
        employee: staff.version,
        first: loaded.len,
        model: PinnedModel {
            provider: info.provider.clone(),
            model: info.model.clone(),
            price: info.price.clone(),
        },
        channel: PinnedChannel {
            kind: channel.kind(),
            find: capabilities.find,
            timeout_ms: millis(capabilities.request_timeout),
            grace_ms: millis(capabilities.grace),
        },
        connection: loaded.connection,
        conversation: reply_to(loaded)?,
        tools,
        closed: employee
            .hours
            .as_ref()
            .is_some_and(|hours| !hours.is_open(now).unwrap_or(true)),
        inputs: u32::try_from(inputs.len()).unwrap_or(u32::MAX),
        state: state(loaded),
        questions: questions(&loaded.items),
        deadline: follow_up.is_none().then(|| now + patience),
        follow_up,
        limited: None,
    })
}
