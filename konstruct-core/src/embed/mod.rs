//! Embedders, which turn texts into vectors, and their budgets.

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
/// * `embed` returns one vector of [`Embedder::dim`] numbers for each text, in order. Equal texts have equal vectors as long as
///   [`Embedder::id`] is the same.
/// * Requests that cost money call [`EmbedContext::reserve`] before each request to a provider, and the budget's
///   [`settle`](crate::limit::Budget::settle) after it.
///
/// ```
/// use konstruct_core::{Embedder, Result, async_trait, embed::EmbedContext};
///
/// /// Counts letters: enough to see what the trait asks for.
/// #[derive(Debug)]
/// struct Letters;
///
/// #[async_trait]
/// impl Embedder for Letters {
///     fn id(&self) -> &str {
///         "example/letters"
///     }
///
///     fn dim(&self) -> usize {
///         26
///     }
///
///     async fn embed(&self, _: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
///         let vector = |text: &&str| {
///             let mut counts = vec![0.0; 26];
///             for letter in text.bytes().filter(u8::is_ascii_lowercase) {
///                 counts[usize::from(letter - b'a')] += 1.0;
///             }
///             counts
///         };
///         Ok(texts.iter().map(vector).collect())
///     }
/// }
/// assert_eq!(Letters.dim(), 26);
/// ```
#[async_trait]
pub trait Embedder: fmt::Debug + Send + Sync + 'static {
    /// Returns the id under which vectors are stored: `provider/model`, and anything else that changes the vectors.
    fn id(&self) -> &str;

    /// Returns the number of dimensions.
    fn dim(&self) -> usize;

    /// Returns whether the embedder supports a language. It is not used for tenants of other languages.
    fn supports(&self, _language: Language) -> bool {
        true
    }

    /// Returns whether the embedder may be asked for the vectors of single words, because it runs in this process, costs nothing
    /// and takes microseconds. Recall then also compares questions with documents word by word.
    fn embeds_words(&self) -> bool {
        false
    }

    /// Embeds texts.
    ///
    /// # Errors
    /// Those of the backend. No vector is stored then.
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

    fn supports(&self, language: Language) -> bool {
        (**self).supports(language)
    }

    fn embeds_words(&self) -> bool {
        (**self).embeds_words()
    }

    async fn embed(&self, context: &EmbedContext, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        (**self).embed(context, texts).await
    }
}
