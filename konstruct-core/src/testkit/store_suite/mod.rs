//! The conformance suite for implementations of [`Store`](crate::store::Store).

mod accept;
mod append;
mod budget;
mod claim;
mod forget;
mod identity;
mod model;
mod read;
mod restart;
mod world;

use std::sync::Arc;

pub use self::restart::{Restart, store_restart_suite};
use super::VirtualClock;
use crate::store::Store;

/// The reason why a case failed.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Outcome = Result<(), Failed>;

/// Fails a case unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        let holds: bool = $holds;
        if !holds {
            return Err(format!($($message)+).into());
        }
    };
}
pub(super) use ensure;

/// Fails a case unless two values are equal.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($what:tt)+) => {
        let (found, expected) = (&$found, &$expected);
        if found != expected {
            let what = format!($($what)+);
            return Err(format!("{what}: found {found:?}, expected {expected:?}").into());
        }
    };
}
pub(super) use ensure_eq;

/// An empty store to test, and its clock.
#[derive(Clone, Debug)]
pub struct StoreSubject {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: VirtualClock,
}

macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        /// The names of the suite's cases.
        pub const STORE_CASES: &[&str] = &[$($(stringify!($case),)+)+ "agrees_with_a_model"];

        /// Runs one case of the suite on a fresh store.
        ///
        /// # Errors
        /// The violated requirement, or the error that the store returned.
        pub async fn store_case(
            name: &str,
            make: &impl AsyncFn() -> StoreSubject,
        ) -> Result<(), Failed> {
            match name {
                $($(stringify!($case) => Box::pin($module::$case(&make().await)).await,)+)+
                "agrees_with_a_model" => Box::pin(model::agrees(make)).await,
                _ => Err(format!("unknown case: {name}").into()),
            }
        }
    };
}

cases! {
    accept: redelivery_is_accepted_once, logical_duplicates_fold, a_consumed_duplicate_does_not_hide_a_mention,
        empty_ids_are_no_keys, a_batch_is_deduped_within, ids_belong_to_one_connection,
        numbers_count_up_in_order, events_are_stored_unchanged, an_event_without_a_place_gets_one,
        statuses_are_folded, decisions_find_their_conversation, reactions_wait;
    claim: a_conversation_has_one_holder, a_lease_ends, a_lease_is_renewed, a_release_reports_what_was_seen,
        a_timer_makes_ready, timers_have_names, every_timer_is_moved_at_once, skipped_tenants_wait, a_tenant_keeps_to_its_share, weights_count, changes_wake, tenants_take_turns, nothing_is_lost_under_load;
    append: a_wrong_length_changes_nothing, over_budget_changes_nothing, money_adds_up,
        a_cap_holds_under_concurrency, months_have_their_own_budget, consumed_events_are_removed,
        loading_begins_at_the_checkpoint, an_append_extends_the_lease, conversation_state_is_kept,
        an_unknown_person_is_refused, loading_is_bounded;
    read: ranges_are_truncated, a_conversation_is_found, messages_are_read, the_feed_is_in_order, conversations_are_listed, items_are_listed, an_export_is_complete,
        a_conversation_is_erased, a_tenant_is_erased, tenants_do_not_see_each_other;
    forget: a_persons_conversations_are_listed, a_message_is_forgotten, a_person_is_forgotten, content_of_others_is_kept, a_direct_place_is_forgotten, messages_in_the_second_of_an_erasure_are_kept,
        an_import_restores, a_bad_import_changes_nothing,
        a_charge_counts_against_the_cap, a_refused_charge_settles;
    budget: every_cap_holds, a_refusal_is_marked_until_the_cap_is_raised, a_short_period_starts_again, sums_move_with_the_tenant;
    identity: a_linked_address_belongs_to_the_person, a_person_is_found_by_address, a_link_belongs_to_one_tenant, two_known_persons_are_not_merged,
        a_link_applies_within_a_batch, a_link_may_come_from_the_new_address,
        a_person_is_forgotten_under_all_addresses, a_link_moves_with_the_tenant, two_ids_are_one_person_and_conversation,
        a_changed_identity_keeps_its_conversation, two_known_conversations_are_not_merged;
}

/// Runs every case, each on a fresh store.
///
/// # Panics
/// If a case fails. The message lists all failures.
pub async fn store_suite(make: impl AsyncFn() -> StoreSubject) {
    let mut failures = Vec::new();
    for name in STORE_CASES {
        if let Err(error) = store_case(name, &make).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        STORE_CASES.len(),
        failures.join("\n")
    );
}
