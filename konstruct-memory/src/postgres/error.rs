//! Converts the database's errors in one place.

use konstruct_core::{Error, ErrorKind};

/// Converts an error of the database. Its message is kept only in the source because it may contain data of rows.
pub(super) fn stored(error: sqlx::Error) -> Error {
    let (kind, message) = classify(&error);
    Error::new(kind, message).with_source(error)
}

/// Converts an error of a commit. If the connection was lost, it is unknown whether the commit took place.
pub(super) fn committed(error: sqlx::Error) -> Error {
    if matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) {
        return Error::new(
            ErrorKind::Ambiguous,
            "the connection was lost during the commit",
        )
        .with_source(error);
    }
    stored(error)
}

/// A row that this build cannot have written.
pub(super) fn corrupt() -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row is damaged")
}

fn classify(error: &sqlx::Error) -> (ErrorKind, String) {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => (
            ErrorKind::Unavailable,
            "could not reach the database".to_owned(),
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
                    "the database rejected the login: the password is wrong, or `migrate` has not created the role yet"
                        .to_owned(),
                );
            }
            let kind = if transient(&code) {
                ErrorKind::Unavailable
            } else {
                ErrorKind::Internal
            };
            (
                kind,
                format!("the database returned an error (SQLSTATE {code})"),
            )
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            (ErrorKind::Corrupt, "a stored row is damaged".to_owned())
        }
        sqlx::Error::Configuration(_) => (
            ErrorKind::InvalidInput,
            "url: not the URL of a PostgreSQL database".to_owned(),
        ),
        sqlx::Error::Tls(_) => (
            ErrorKind::Unavailable,
            "could not encrypt the connection to the database".to_owned(),
        ),
        _ => (ErrorKind::Internal, "the database failed".to_owned()),
    }
}

/// Returns whether the same statement may succeed later: lost connections, full servers, restarts, timeouts, deadlocks.
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
    fn errors_that_may_succeed_later_are_transient() {
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
