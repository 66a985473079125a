//! The context of a model call: the tenant, the purpose, the timeout and the budget.

use std::{sync::Arc, time::Duration};

use crate::{
    ConversationId, TenantId,
    limit::{Budget, Unmetered},
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The context of a model call: the tenant, the purpose, the timeout and the budget.
///
/// ```
/// use std::time::Duration;
/// use konstruct_core::{TenantId, llm::{CallContext, Purpose}};
///
/// let call = CallContext::new(TenantId::new(), "trn_1.m1", Duration::from_secs(30)).for_purpose(Purpose::Fast);
/// assert_eq!(call.purpose, Purpose::Fast);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallContext {
    /// The tenant.
    pub tenant: TenantId,
    /// A key that stays the same when the same call is repeated after a crash. It is also the call's key in the ledger.
    pub idempotency_key: String,
    /// The timeout of the whole call with all of its attempts.
    pub timeout: Duration,
    /// The purpose of the answer.
    pub purpose: Purpose,
    /// The conversation that the call belongs to, if any.
    pub conversation: Option<ConversationId>,
    /// What a pool does if a provider fails in the middle of an answer.
    pub on_break: OnBreak,
    /// The budget that pays for the call; [`Unmetered`] by default.
    pub budget: Arc<dyn Budget>,
}

impl CallContext {
    /// Creates the context of a call of the highest quality that is not metered and fails if a provider fails in the middle of an
    /// answer. The timeout is limited to a year.
    pub fn new(tenant: TenantId, idempotency_key: impl Into<String>, timeout: Duration) -> Self {
        Self {
            tenant,
            idempotency_key: idempotency_key.into(),
            // Prevents an overflow when the deadline is computed.
            timeout: timeout.min(YEAR),
            purpose: Purpose::Quality,
            conversation: None,
            on_break: OnBreak::Fail,
            budget: Arc::new(Unmetered),
        }
    }

    /// Sets the purpose of the answer.
    #[must_use]
    pub fn for_purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Sets the conversation that the call belongs to.
    #[must_use]
    pub fn in_conversation(mut self, conversation: ConversationId) -> Self {
        self.conversation = Some(conversation);
        self
    }

    /// Sets what a pool does if a provider fails in the middle of an answer.
    #[must_use]
    pub fn on_break(mut self, on_break: OnBreak) -> Self {
        self.on_break = on_break;
        self
    }

    /// Sets the budget that pays for the call.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<dyn Budget>) -> Self {
        self.budget = budget;
        self
    }
}

/// The purpose of an answer, by which a pool selects models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Small tasks, such as summaries, where speed and price matter.
    Fast,
    /// Answers that a person reads.
    #[default]
    Quality,
}

/// What a pool does if a provider fails after it has yielded part of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnBreak {
    /// The call fails. The partial answer may have been shown, and must not be replaced by a second version.
    #[default]
    Fail,
    /// The answer starts over after a [`ModelEvent::Restart`](super::ModelEvent::Restart). Only for callers that show nothing
    /// before the end.
    Restart,
    /// The answer continues after the text that was yielded. If a tool call had begun, the call fails.
    Continue,
}
