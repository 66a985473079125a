//! The database's errors, turned into ours once.

use konstruct_core::{Error, ErrorKind};

/// Turns an error of the database into ours. What it says stays in the source: it may name rows.
pub(super) fn stored(error: sqlx::Error) -> Error {
    let (kind, message) = classify(&error);
    Error::new(kind, message).with_source(error)
}

/// The same for a commit, of which nobody knows whether it took place once the connection is gone.
pub(super) fn committed(error: sqlx::Error) -> Error {
    if matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) {
        return Error::new(
            ErrorKind::Ambiguous,
            "the database was lost while it committed",
        )
        .with_source(error);
    }
    stored(error)
}

/// A row that is not what this build writes.
pub(super) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row cannot be read back")
}

fn classify(error: &sqlx::Error) -> (ErrorKind, String) {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => (
            ErrorKind::Unavailable,
            "the database is not reached".to_owned(),
        ),
        sqlx::Error::PoolTimedOut => (
            ErrorKind::Unavailable,
            "no connection to the database became free in time".to_owned(),
        ),
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            if code.starts_with("28") {
                return (
                    ErrorKind::Unauthorized,
                    "the database does not let this role in: its password is wrong, or `migrate` has not made it yet"
                        .to_owned(),
                );
            }
            let kind = if transient(&code) {
                ErrorKind::Unavailable
            } else {
                ErrorKind::Internal
            };
            (kind, format!("the database refused (SQLSTATE {code})"))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => (
            ErrorKind::Corrupt,
            "a stored row cannot be read back".to_owned(),
        ),
        sqlx::Error::Configuration(_) => (
            ErrorKind::InvalidInput,
            "url: it is not one of a PostgreSQL database".to_owned(),
        ),
        sqlx::Error::Tls(_) => (
            ErrorKind::Unavailable,
            "the connection to the database cannot be encrypted".to_owned(),
        ),
        _ => (ErrorKind::Internal, "the database failed".to_owned()),
    }
}

/// Whether the same may succeed later: lost connections, full servers, restarts, time-outs, deadlocks.
fn transient(code: &str) -> bool {
    ["08", "40", "53", "57"]
        .iter()
        .any(|class| code.starts_with(class))
        || code == "55P03"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_transient() {
        for (code, later) in [
            ("08006", true),  // the connection failed
            ("40001", true),  // serialization
            ("40P01", true),  // deadlock
            ("53300", true),  // too many connections
            ("57014", true),  // the statement took too long
            ("57P01", true),  // the server shuts down
            ("55P03", true),  // a lock was not had
            ("42501", false), // not allowed
            ("23505", false), // not unique
            ("22P02", false), // no such value
        ] {
            assert_eq!(transient(code), later, "{code}");
        }
    }

    #[test]
    fn a_lost_commit_is_ambiguous() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(committed(lost()).kind(), ErrorKind::Ambiguous);
        assert_eq!(stored(lost()).kind(), ErrorKind::Unavailable);
        assert_eq!(
            committed(sqlx::Error::PoolTimedOut).kind(),
            ErrorKind::Unavailable
        );
    }
}
