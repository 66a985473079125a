//! The conformance suite for implementations of [`MemoryStore`].

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

/// An empty memory to test, with the store whose feed it follows and their common clock.
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
        /// The violated requirement, or the error that the memory returned.
        pub async fn memory_case(
            name: &str,
            make: &impl AsyncFn() -> MemorySubject,
        ) -> Result<(), Failed> {
            match name {
                $($(stringify!($case) => Box::pin($module::$case(&make().await)).await,)+)+
                _ => Err(format!("unknown case: {name}").into()),
            }
        }
    };
}

cases! {
    recall: messages_are_found, scopes_are_ranked_independently, limits_and_times_apply, edited_and_deleted_messages_are_not_found,
        each_language_has_its_stems, progress_is_reported;
    knowledge: documents_are_found_until_they_are_deleted, documents_with_keys_share_titles, bad_documents_are_refused,
        expired_documents_do_not_reduce_hits, unanswered_questions_are_listed;
    fact: facts_are_stored_and_superseded, facts_without_sources_are_refused, summaries_are_replaced;
    sight: audiences_see_their_own_content, audiences_see_nothing_else, a_new_thread_sees_its_channel;
    forget: a_message_is_forgotten, a_conversation_is_forgotten, a_person_is_forgotten, a_tenant_is_forgotten,
        late_writes_do_not_restore_erased_content, unknown_persons_are_refused, an_imported_export_returns_the_same_results;
}

/// Runs every case, each on a fresh memory.
///
/// # Panics
/// If a case fails. The message lists all failures.
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
