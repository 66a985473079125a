//! Distils a sentence encoder into a static table: the steps of `bin/distill`.

mod bert;
mod principal;
mod table;
mod weights;

pub use self::{bert::Encoder, principal::Principal, table::write, weights::Weights};
