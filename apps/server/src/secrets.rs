//! Secrets in the store: those that nobody configured, and those that stand in a tenant's rows.

use konstruct_core::{Error, Result, Secret};
use konstruct_memory::{Expect, Redb, RowChange};
use serde::Serializer;

const TABLE: &str = "secrets";

/// Writes a secret into a row of the store, which encrypts every row. It is the only place where a [`Secret`] is serialised.
pub(crate) fn seal<S: Serializer>(secret: &Secret, row: S) -> std::result::Result<S::Ok, S::Error> {
    row.serialize_str(secret.expose())
}

/// Returns the configured secret, or the one that was made under this name, and whether it was made just now.
///
/// # Errors
/// Those of the store, and of the system's source of randomness.
pub(crate) async fn ensure(
    store: &Redb,
    name: &str,
    configured: &Secret,
) -> Result<(Secret, bool)> {
    if !configured.is_empty() {
        return Ok((configured.clone(), false));
    }
    if let Some(bytes) = store.get_row(None, TABLE, name).await? {
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::internal("a secret is not text").with_source(error))?;
        return Ok((Secret::new(text), false));
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal("no randomness").with_source(error))?;
    let text = hex::encode(bytes);
    let change = RowChange {
        tenant: None,
        table: TABLE.into(),
        key: name.into(),
        expect: Expect::Absent,
        value: Some(text.clone().into_bytes()),
    };
    store.write_rows(vec![change]).await?;
    Ok((Secret::new(text), true))
}
