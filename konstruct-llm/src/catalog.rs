//! The models that a provider offers.

use std::fmt;

use async_trait::async_trait;
use konstruct_core::Result;

/// Lists the models of a provider.
///
/// # Contract
/// The returned names are valid for creating a backend of the same provider. Their order is unspecified.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync + 'static {
    /// Returns the names of all models available to the credential.
    ///
    /// # Errors
    /// The error that the provider returned.
    async fn models(&self) -> Result<Vec<String>>;
}
