//! The conformance suite of [`Journal`](crate::turn::Journal): what any store must do, whoever wrote it.

mod accept;
mod append;
mod claim;
mod forget;
mod model;
mod read;
mod restart;
mod world;

use std::sync::Arc;

pub use self::restart::{Restart, journal_restart_suite};
use super::VirtualClock;
use crate::turn::Journal;

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

/// A journal to try, empty, and the clock that it takes the time from.
#[derive(Clone, Debug)]
pub struct JournalSubject {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// Its clock.
    pub clock: VirtualClock,
}

macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        /// The names of the suite's cases.
        pub const JOURNAL_CASES: &[&str] = &[$($(stringify!($case),)+)+ "agrees_with_a_model"];

        /// Runs one case of the suite on a fresh journal.
        ///
        /// # Errors
        /// What the journal did that it must not do, or the error that it returned.
        pub async fn journal_case(
            name: &str,
            make: &impl AsyncFn() -> JournalSubject,
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
        delivery_keys_route_events;
    claim: one_holds_at_a_time, a_lease_ends, a_lease_is_renewed, a_release_tells_what_was_seen,
        a_timer_makes_ready, changes_wake, tenants_take_turns, nothing_is_lost_under_load;
    append: a_wrong_length_changes_nothing, over_budget_changes_nothing, money_adds_up,
        a_cap_holds_under_concurrency, months_have_their_own_budget, what_is_consumed_is_gone,
        loading_begins_at_the_checkpoint;
    read: ranges_are_cut, the_feed_is_in_order, conversations_are_paged, an_export_is_whole,
        a_conversation_is_erased, a_tenant_is_erased, tenants_do_not_see_each_other;
    forget: a_message_is_forgotten, a_person_is_forgotten, an_import_restores, a_bad_import_changes_nothing,
        a_charge_is_money;
}

/// Runs every case, each on a fresh journal.
///
/// # Panics
/// If any case fails; the message lists all that did.
pub async fn journal_suite(make: impl AsyncFn() -> JournalSubject) {
    let mut failures = Vec::new();
    for name in JOURNAL_CASES {
        if let Err(error) = journal_case(name, &make).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        JOURNAL_CASES.len(),
        failures.join("\n")
    );
}
