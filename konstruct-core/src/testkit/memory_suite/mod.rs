//! The conformance suite of [`MemoryStore`]: what any memory must do, whoever wrote it.

mod agree;
mod fact;
mod forget;
mod knowledge;
mod office;
mod recall;
mod sight;

use std::sync::Arc;

pub use self::agree::memories_agree;

use super::{
    VirtualClock,
    store_suite::{Failed, Outcome, ensure, ensure_eq},
};
use crate::{MemoryStore, store::Store};

/// A memory to try, empty, with the store whose feed it follows and the clock that both take the time from.
#[derive(Clone, Debug)]
pub struct MemorySubject {
    /// The store of the conversations.
    pub store: Arc<dyn Store>,
    /// The memory.
    pub memory: Arc<dyn MemoryStore>,
    /// Their clock.
    pub clock: VirtualClock,
}

macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        /// The names of the suite's cases.
        pub const MEMORY_CASES: &[&str] = &[$($(stringify!($case),)+)+];

        /// Runs one case of the suite on a fresh memory.
        ///
        /// # Errors
        /// What the memory did that it must not do, or the error that it returned.
        pub async fn memory_case(
            name: &str,
            make: &impl AsyncFn() -> MemorySubject,
        ) -> Result<(), Failed> {
            match name {
                $($(stringify!($case) => Box::pin($module::$case(&make().await)).await,)+)+
                _ => Err(format!("there is no case {name}").into()),
            }
        }
    };
}

cases! {
    recall: what_was_said_is_found, scopes_are_ranked_by_themselves, limits_and_times_are_kept, what_was_taken_back_is_not_found,
        each_language_has_its_stems, progress_is_told;
    knowledge: documents_are_found_until_they_are_deleted, bad_documents_are_refused,
        what_expired_costs_no_hit, what_found_nothing_is_listed;
    fact: facts_are_remembered_and_superseded, facts_without_grounds_are_refused, summaries_roll_on;
    sight: each_sees_their_own, nobody_sees_what_is_not_theirs, a_new_thread_sees_its_channel;
    forget: a_message_is_forgotten, a_conversation_is_forgotten, a_person_is_forgotten, a_tenant_is_forgotten,
        late_writers_do_not_bring_it_back, nobody_unheard_is_named, an_export_answers_alike;
}

/// Runs every case, each on a fresh memory.
///
/// # Panics
/// If any case fails; the message lists all that did.
pub async fn memory_suite(make: impl AsyncFn() -> MemorySubject) {
    let mut failures = Vec::new();
    for name in MEMORY_CASES {
        if let Err(error) = memory_case(name, &make).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        MEMORY_CASES.len(),
        failures.join("\n")
    );
}
