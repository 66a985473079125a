//! What a change expects of the row that it replaces.

use konstruct_core::{Error, ErrorKind, Result};

/// The version that a change replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// There is none yet.
    Nothing,
    /// Exactly this version.
    Version(u32),
    /// Whatever there is, or nothing.
    Anything,
}

impl Replaces {
    /// Checks the current version.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`].
    pub(crate) fn check(self, current: Option<u32>) -> Result<()> {
        let fits = match self {
            Self::Nothing => current.is_none(),
            Self::Version(version) => current == Some(version),
            Self::Anything => true,
        };
        fits.then_some(()).ok_or_else(Self::stale)
    }

    /// Returns the error of a change that replaces another version than the current one.
    pub(super) fn stale() -> Error {
        Error::new(ErrorKind::Conflict, "it was changed concurrently")
    }
}
