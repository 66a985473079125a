//! The offline backend: it answers by quoting, or replies that it does not know.
//!
//! No model runs; [`choose`] works with words only. `words` makes a question and a passage comparable, `choose` scores how much
//! of the question a passage covers, `quote` selects the sentences, and `small_talk` tells small talk from a question.

mod backend;
mod choose;
mod quote;
mod small_talk;
mod words;

pub use self::{
    backend::Extract,
    choose::{Choice, THRESHOLD, choose},
    words::expand,
};
