//! Secrets that nobody configured: made once, kept in the store.

use konstruct_core::{Error, Result, Secret};
use konstruct_memory::{Expect, Redb, RowChange};

const TABLE: &str = "secrets";

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
