//! On whose behalf a model is called, what for, and who pays.

use std::{sync::Arc, time::Duration};

use crate::{
    ConversationId, TenantId,
    limit::{Budget, Unmetered},
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// On whose behalf a call is made, how long it may take, and who pays for it.
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
    /// A key that stays the same when the same call is made again after a crash. It names the call in the ledger too.
    pub idempotency_key: String,
    /// The longest that the whole call may take, all its attempts together.
    pub timeout: Duration,
    /// What the answer is for.
    pub purpose: Purpose,
    /// The conversation that it belongs to, if any.
    pub conversation: Option<ConversationId>,
    /// What a pool does when a provider breaks off in mid-answer.
    pub on_break: OnBreak,
    /// Who pays. [`Unmetered`] unless told otherwise.
    pub budget: Arc<dyn Budget>,
}

impl CallContext {
    /// A call that takes a year at most, of the best quality, which fails where a provider breaks off in mid-answer, and which nobody meters.
    pub fn new(tenant: TenantId, idempotency_key: impl Into<String>, timeout: Duration) -> Self {
        Self {
            tenant,
            idempotency_key: idempotency_key.into(),
            // A point in time that cannot be reckoned is none.
            timeout: timeout.min(YEAR),
            purpose: Purpose::Quality,
            conversation: None,
            on_break: OnBreak::Fail,
            budget: Arc::new(Unmetered),
        }
    }

    /// Says what the answer is for.
    #[must_use]
    pub fn for_purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Says which conversation it belongs to.
    #[must_use]
    pub fn in_conversation(mut self, conversation: ConversationId) -> Self {
        self.conversation = Some(conversation);
        self
    }

    /// Says what a pool does when a provider breaks off in mid-answer.
    #[must_use]
    pub fn on_break(mut self, on_break: OnBreak) -> Self {
        self.on_break = on_break;
        self
    }

    /// Says who pays.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<dyn Budget>) -> Self {
        self.budget = budget;
        self
    }
}

/// What an answer is for: a pool chooses its models by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Small work, such as summaries, where speed and price count.
    Fast,
    /// What a person reads.
    #[default]
    Quality,
}

/// What a pool does when a provider breaks off after it has begun to say something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnBreak {
    /// The call fails: what was yielded may have been shown, and a second version must not replace it.
    #[default]
    Fail,
    /// The answer begins anew, after a [`ModelEvent::Restart`](super::ModelEvent::Restart). Only for callers who show nothing before the end.
    Restart,
    /// The answer goes on behind the text that was yielded. Where a tool call had begun, the call fails.
    Continue,
}
