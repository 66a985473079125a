//! The offline backend: it answers by quoting, or says that it does not know.
//!
//! No model runs. [`choose`] decides with words alone: `words` makes a question and a passage comparable, `choose` weighs how
//! much of the question a passage covers, `quote` cuts the sentences, and `talk` knows a greeting from a question.

mod backend;
mod choose;
mod quote;
mod talk;
mod words;

pub use self::{
    backend::Extract,
    choose::{Choice, THRESHOLD, choose},
    words::expand,
};
