//! From a sentence encoder to a static table: what `bin/distill` does, in its steps.

mod bert;
mod principal;
mod table;
mod weights;

pub use self::{bert::Encoder, principal::Principal, table::write, weights::Weights};
