//! The source of the store's time.

use std::sync::Arc;

use konstruct_core::{Clock, Timestamp};

/// The store's time: that of the database, which all processes share, or that of a given clock in tests.
#[derive(Clone, Debug, Default)]
pub(super) struct Time(Option<Arc<dyn Clock>>);

impl Time {
    pub(super) fn of(clock: Arc<dyn Clock>) -> Self {
        Self(Some(clock))
    }

    /// Returns the time as a parameter for `coalesce($1, konstruct.now_us())`.
    pub(super) fn given(&self) -> Option<i64> {
        self.0.as_ref().map(|clock| clock.now().as_micros())
    }
}

/// Converts a time of the database.
pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}
