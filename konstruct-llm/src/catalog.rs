//! Which models a provider has.

use std::fmt;

use async_trait::async_trait;
use konstruct_core::Result;

/// Lists the models of a provider.
///
/// # Contract
/// The names are those that a backend of the same provider can be made with, in no promised order.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync + 'static {
    /// Returns the names of all models that the credential may use.
    ///
    /// # Errors
    /// What the provider said.
    async fn models(&self) -> Result<Vec<String>>;
}
