//! Secrets in the store: generated ones, and those in tenants' rows.

use konstruct_core::{Error, Result, Secret};
use konstruct_memory::{Expect, RowChange, RowStore};
use serde::Serializer;

const TABLE: &str = "secrets";

/// Serializes a secret into a row of the store, which encrypts every row. This is the only place that serializes a [`Secret`].
pub(crate) fn seal<S: Serializer>(secret: &Secret, row: S) -> std::result::Result<S::Ok, S::Error> {
    row.serialize_str(secret.expose())
}

/// Returns the configured secret, or the stored one of this name, which is generated if missing; and whether it was generated
/// now.
///
/// # Errors
/// Those of the store, and of the system's random number generator.
pub(crate) async fn ensure(
    store: &dyn RowStore,
    name: &str,
    configured: &Secret,
) -> Result<(Secret, bool)> {
    if !configured.is_empty() {
        return Ok((configured.clone(), false));
    }
    if let Some(stored) = stored(store, name).await? {
        return Ok((stored, false));
    }
    let text = hex::encode(random::<32>()?);
    let change = RowChange::put(None, TABLE, name, text.clone().into_bytes());
    let change = change.expecting(Expect::Absent);
    if store.write_rows(vec![change]).await? {
        return Ok((Secret::new(text), true));
    }
    // Another process was faster.
    let stored = stored(store, name).await?;
    let stored = stored.ok_or_else(|| Error::internal("a stored secret disappeared"))?;
    Ok((stored, false))
}

/// Returns random bytes.
///
/// # Errors
/// The system's random number generator fails.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::internal("the system's random number generator failed").with_source(error)
    })?;
    Ok(bytes)
}

async fn stored(store: &dyn RowStore, name: &str) -> Result<Option<Secret>> {
    let Some(bytes) = store.get_row(None, TABLE, name).await? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::internal("a stored secret is not UTF-8").with_source(error))?;
    Ok(Some(Secret::new(text)))
}
