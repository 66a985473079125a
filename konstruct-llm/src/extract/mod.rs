//! The offline backend: it answers by quoting, offers what may be meant, or replies that it does not know.
//!
//! No model runs. `assess` judges the passages by their words and, with an [`Embedder`](konstruct_core::Embedder), by their
//! meaning; `quote` selects the sentences, `talk` tells small talk from a question, and `phrases` contains what it says in seven
//! languages.

mod assess;
mod backend;
mod phrases;
mod quote;
mod talk;

pub use self::{assess::Assessment, backend::Extract};
