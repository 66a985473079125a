//! Where the store's time comes from.

use std::sync::Arc;

use konstruct_core::{Clock, Timestamp};

/// The store's time: the database's, of which there is one for all processes, or that of a clock that is given for tests.
#[derive(Clone, Debug, Default)]
pub(super) struct Time(Option<Arc<dyn Clock>>);

impl Time {
    pub(super) fn of(clock: Arc<dyn Clock>) -> Self {
        Self(Some(clock))
    }

    /// Returns the time as statements take it: `coalesce($1, konstruct.now_us())`.
    pub(super) fn given(&self) -> Option<i64> {
        self.0.as_ref().map(|clock| clock.now().as_micros())
    }
}

/// Reads a time.
pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}
