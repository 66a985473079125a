//! Embedders: text to vectors.

use std::fmt;

use async_trait::async_trait;

use crate::{Language, Result};

/// What a text is embedded for; some models want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbedKind {
    /// A question to search with.
    Query,
    /// A text to be found.
    Document,
}

/// Turns texts into vectors.
///
/// # Contract
/// `embed` returns one vector of [`Embedder::dim`] numbers a text, in their order; equal texts give equal vectors for as long
/// as [`Embedder::id`] is the same.
#[async_trait]
pub trait Embedder: fmt::Debug + Send + Sync + 'static {
    /// Returns what the vectors are kept under: provider, model and version.
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
    async fn embed(&self, kind: EmbedKind, texts: &[&str]) -> Result<Vec<Vec<f32>>>;
}
