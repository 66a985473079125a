//! Embedders: text to vectors, and who pays for them.

mod context;
mod paid;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use self::{
    context::{EmbedContext, EmbedKind},
    paid::PaidEmbedder,
};
use crate::{Result, memory::Language};

/// Turns texts into vectors.
///
/// # Contract
/// * `embed` returns one vector of [`Embedder::dim`] numbers a text, in their order; equal texts give equal vectors for as long
///   as [`Embedder::id`] is the same.
/// * What is not free is paid for: [`EmbedContext::reserve`] before each request to a provider, and the budget's
///   [`settle`](crate::limit::Budget::settle) after it.
#[async_trait]
pub trait Embedder: fmt::Debug + Send + Sync + 'static {
    /// Returns what the vectors are kept under: `provider/model`, and what else makes them others.
    fn id(&self) -> &str;

    /// Returns the number of dimensions.
    fn dim(&self) -> usize;

    /// Returns whether it makes sense of a language; one that does not is left out for tenants of that language.
    fn speaks(&self, _language: Language) -> bool {
        true
    }

    /// Embeds texts.
    ///
    /// # Errors
    /// Those of the backend; none is stored.
    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<E: Embedder + ?Sized> Embedder for Arc<E> {
    fn id(&self) -> &str {
        (**self).id()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn speaks(&self, language: Language) -> bool {
        (**self).speaks(language)
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        (**self).embed(context, texts).await
    }
}
