//! The conformance suite of [`Journal`](crate::store::Store): what any store must do, whoever wrote it.

mod accept;
mod append;
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

/// Why a case failed.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Outcome = Result<(), Failed>;

/// Fails a case unless something holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        let holds: bool = $holds;
        if !holds {
            return Err(format!($($message)+).into());
        }
    };
}
pub(super) use ensure;

/// Fails a case unless two things are equal.
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

/// A store to try, empty, and the clock that it takes the time from.
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
        /// What the store did that it must not do, or the error that it returned.
        pub async fn store_case(
            name: &str,
            make: &impl AsyncFn() -> StoreSubject,
        ) -> Result<(), Failed> {
            match name {
                $($(stringify!($case) => Box::pin($module::$case(&make().await)).await,)+)+
                "agrees_with_a_model" => Box::pin(model::agrees(make)).await,
                _ => Err(format!("there is no case {name}").into()),
            }
        }
    };
}

cases! {
    accept: redelivery_is_taken_once, twins_fold, a_consumed_twin_does_not_hide_a_mention,
        empty_ids_are_no_keys, a_batch_is_deduped_within, ids_are_a_connections_own,
        numbers_count_up_in_order, events_are_kept_whole, what_has_no_place_has_one,
        statuses_are_folded, decisions_find_their_conversation, reactions_wait;
    claim: one_holds_at_a_time, a_lease_ends, a_lease_is_renewed, a_release_tells_what_was_seen,
        a_timer_makes_ready, timers_have_names, every_timer_is_moved_at_once, skipped_tenants_wait, changes_wake, tenants_take_turns, nothing_is_lost_under_load;
    append: a_wrong_length_changes_nothing, over_budget_changes_nothing, money_adds_up,
        a_cap_holds_under_concurrency, months_have_their_own_budget, what_is_consumed_is_gone,
        loading_begins_at_the_checkpoint, an_append_extends_the_lease, what_outlives_a_turn_is_kept,
        a_stranger_is_refused, loading_has_a_bound;
    read: ranges_are_cut, a_conversation_is_found, what_was_said_is_read, the_feed_is_in_order, conversations_are_listed, items_are_listed, an_export_is_whole,
        a_conversation_is_erased, a_tenant_is_erased, tenants_do_not_see_each_other;
    forget: a_message_is_forgotten, a_person_is_forgotten, others_are_kept, a_place_is_forgotten, the_second_of_an_erasure,
        an_import_restores, a_bad_import_changes_nothing,
        a_charge_is_money, a_refused_charge_settles;
    identity: a_linked_address_is_the_persons, a_person_is_found_by_address, a_link_is_the_tenants, two_who_were_heard_stay_two_persons,
        a_link_holds_within_a_batch, a_link_may_come_from_the_new_address,
        a_person_is_forgotten_under_all_addresses, a_link_moves_with_the_tenant;
}

/// Runs every case, each on a fresh store.
///
/// # Panics
/// If any case fails; the message lists all that did.
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
